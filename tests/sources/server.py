"""The server of tests/publishers, under the name that it had here."""

from publishers.server import Request, Server

__all__ = ["Request", "Server"]
