"""Room in the root for large files that are put into it. Called by `workflow.build`; may grow the image."""

from __future__ import annotations

from collections.abc import Sequence

from imagesmith.errors import EditFailed
from imagesmith.events import Listener, unheard
from imagesmith.image.grow import grow_root
from imagesmith.image.raw import RawImage
from imagesmith.units import MiB, align_up, show_size

LEFT = 64 * MiB
"""What stays free beside them, for the other files and for the first boot until it has grown the root."""


def make_room(raw: RawImage, sizes: Sequence[int], *, epoch: int, listener: Listener = unheard) -> bool:
    """See that files of `sizes` bytes fit into the root, grown by what is missing; True when it was grown.

    Raises EditFailed, with how much is missing, where the root can't be grown, NoSpace where the disk is full.
    """
    root = raw.volume("root")
    block = root.filesystem.ext4
    if not sizes or block is None:
        return False
    needed = sum(align_up(size, block.block_size) for size in sizes)
    free = block.free_blocks * block.block_size
    missing = needed + LEFT - free
    if missing <= 0:
        return False
    # What grows needs tables for itself: inodes and bitmaps, less than 2 % of it.
    try:
        return grow_root(raw, root.filesystem.size + missing + missing // 40 + MiB, epoch=epoch, listener=listener)
    except EditFailed as error:
        error.hint = "use a base whose root is the last partition, or have the files fetched at the first boot"
        said = f"which has {show_size(free)} free for {show_size(needed)} and {show_size(LEFT)} to spare"
        raise error.within(f"while making room in the root, {said}") from error
