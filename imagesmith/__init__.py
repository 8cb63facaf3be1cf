"""imagesmith: from a small inventory to verified, bootable node images."""

__version__ = "0.1.0"
RELEASED = 1795392000
"""When this version was made (2026-11-23), seconds since 1970: the epoch of an image whose base has no date."""
