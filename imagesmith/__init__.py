"""imagesmith: from a small inventory to verified, bootable node images."""

__version__ = "0.1.0"
