"""The small base and the workshop of tests/building.py, and the loopback server of tests/publishers."""

from building import base_disk, built, shop
from publishers.fixtures import key, listening, publisher, server, signer

__all__ = ["base_disk", "built", "key", "listening", "publisher", "server", "shop", "signer"]
