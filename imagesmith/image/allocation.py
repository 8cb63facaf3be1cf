"""Which bytes of an image are in use: all that is not provably free. Zeros are not holes.

Called by `workflow.build` before sealing and by `inspect`. A card that is written with only these bytes is as good
as one written whole, whatever was on it before: so tables, gaps between partitions (boot loaders live there) and
everything that is not understood are in use, and merely being zero does not make a block free.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from imagesmith.events import Listener, Noted, unheard
from imagesmith.image import ext4_layout, fat_layout
from imagesmith.image.layout import Unsure
from imagesmith.image.raw import RawImage
from imagesmith.image.roles import Volume
from imagesmith.units import KiB, align_down, align_up

BLOCK = 4 * KiB
_CLOSE = 64 * KiB
"""Ranges nearer than this are joined: mapping more is always safe, and many small writes are slow."""

Range = tuple[int, int]
"""First byte, and the byte after the last."""


def used_ranges(raw: RawImage, listener: Listener = unheard) -> tuple[Range, ...]:
    """The bytes in use, in order, apart, each start and end a multiple of BLOCK (or the image's end).

    Notes every volume that had to be taken whole, and why. Raises ContentMalformed when there is no usable table.
    """
    size = raw.size
    volumes = sorted(raw.volumes(), key=lambda volume: volume.partition.start)
    used: list[Range] = []
    at = 0
    for volume in volumes:
        start, end = volume.partition.start, volume.partition.start + volume.partition.size
        used.append((at, start))
        used.extend((start + first, start + last) for first, last in _in_volume(raw, volume, listener))
        at = end
    used.append((at, size))
    return tuple(_joined(used, size))


def _in_volume(raw: RawImage, volume: Volume, listener: Listener) -> list[Range]:
    """The bytes in use, relative to the partition's start."""
    filesystem, room = volume.filesystem, volume.partition.size
    whole: list[Range] = [(0, room)]
    try:
        if filesystem.size > room:
            raise Unsure(filesystem.trouble)
        read = raw.reader(volume.partition)
        if filesystem.ext4:
            block = filesystem.ext4.block_size
            used = [(first * block, end * block) for first, end in ext4_layout.used_blocks(filesystem.ext4, read)]
        elif filesystem.fat:
            used = list(fat_layout.used_ranges(filesystem.fat, read))
        else:
            raise Unsure(filesystem.trouble or "what it holds is not known")
    except Unsure as reason:
        listener(Noted(f"{volume.name} is taken whole: {reason}"))
        return whole
    return [*used, (filesystem.size, room)]


def _joined(ranges: Iterable[Range], size: int) -> Iterator[Range]:
    """Ranges aligned outwards, those that touch or nearly do made one."""
    pending: Range | None = None
    for start, end in ranges:
        if start >= end:
            continue
        start, end = align_down(start, BLOCK), min(align_up(end, BLOCK), size)
        if pending and start - pending[1] < _CLOSE:
            pending = pending[0], max(pending[1], end)
            continue
        if pending:
            yield pending
        pending = start, end
    if pending:
        yield pending
