"""The small base and the workshop of tests/building.py, and the loopback server of tests/sources."""

from building import base_disk, built, shop
from sources.conftest import listening, server

__all__ = ["base_disk", "built", "listening", "server", "shop"]
