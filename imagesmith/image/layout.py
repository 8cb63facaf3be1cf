"""What the readers of on-disk layouts (`ext4_layout`, `fat_layout`) share."""

from __future__ import annotations

from collections.abc import Callable

Reader = Callable[[int, int], bytes]
"""`read(offset, size)` relative to a file system's start; fewer bytes only at the image's end."""


class Unsure(Exception):
    """Which blocks are free can't be told for certain; the text says why. Never leaves `image.allocation`."""
