"""The small base and the workshop of tests/building.py."""

from building import base_disk, built, shop

__all__ = ["base_disk", "built", "shop"]
