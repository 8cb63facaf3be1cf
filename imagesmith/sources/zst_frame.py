"""The raw size of a .zst file that is exactly one frame, without decoding it (RFC 8878, 3.1.1)."""

from __future__ import annotations

import os

_MAGIC = b"\x28\xb5\x2f\xfd"
_MOST_BLOCKS = 1 << 20
"""128 GiB as encoders cut them; what has more is told no size, for walking over it would take too long."""


def raw_size_of(descriptor: int, size: int) -> int:
    """What the only frame of a file of `size` bytes says that it holds; 0 when it does not say, or is not the only one.

    Reads the headers of the frame and of its blocks. libzstd itself compares what comes out with this size.
    """
    header = os.pread(descriptor, 18, 0)
    if len(header) < 18 or not header.startswith(_MAGIC):
        return 0
    flags = header[4]
    single = flags >> 5 & 1
    width = (single, 2, 4, 8)[flags >> 6]
    at = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
    held = int.from_bytes(header[at : at + width], "little") + (256 if width == 2 else 0)
    end = _end_of_blocks(descriptor, at + width) + 4 * (flags >> 2 & 1)
    return held if width and end == size else 0


def window_of(descriptor: int) -> int:
    """Bytes that the first frame wants to look back over: what decoding it holds in memory."""
    header = os.pread(descriptor, 18, 0)
    flags, window = header[4], header[5]
    if not flags >> 5 & 1:
        base = 1 << (10 + (window >> 3))
        return base + base // 8 * (window & 7)
    # A single segment: all that it holds.
    width = (1, 2, 4, 8)[flags >> 6]
    at = 5 + (0, 1, 2, 4)[flags & 3]
    return int.from_bytes(header[at : at + width], "little") + (256 if width == 2 else 0)


def _end_of_blocks(descriptor: int, at: int) -> int:
    """Where the last block of the frame ends; -1 when it is not found."""
    for _ in range(_MOST_BLOCKS):
        header = os.pread(descriptor, 3, at)
        if len(header) < 3:
            break
        told = int.from_bytes(header, "little")
        last, kind, held = told & 1, told >> 1 & 3, told >> 3
        at += 3 + (1 if kind == 1 else held)  # kind 1: one byte, repeated
        if last:
            return at
    return -(1 << 62)
