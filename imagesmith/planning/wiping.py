"""Which places of a card are blanked so that nothing finds a table or a file system on it any more.

Called by `flash.wipe`. Pure. The bytes of files in between stay: only overwriting everything ends those.
"""

from __future__ import annotations

from collections.abc import Iterable

from imagesmith.model import Device
from imagesmith.planning.probing import ends
from imagesmith.planning.tables import end_of_table, partitions_of
from imagesmith.units import KiB, MiB, align_down, align_up

_START = MiB
"""Of each partition: the first superblocks of every file system, LUKS' header, LVM's."""
_END = 128 * KiB
"""Of each partition: RAID's and ZFS' labels, a table's second copy."""


def places_of(head: bytes, device: Device) -> tuple[tuple[int, int], ...]:
    """Offset and size of all that is blanked, rising, given the device's first bytes (1 MiB, or all of it)."""
    sector = device.logical_sector
    found = list(ends(device))
    for part in partitions_of(head, device.size):
        first, last = part.start, part.start + part.size
        found += [(first, min(_START, part.size)), (max(first, last - _END), min(_END, part.size))]
    copy_ends = end_of_table(head, device.size)
    found.append((max(0, copy_ends - _END), min(_END, copy_ends)))
    return _joined((align_down(at, sector), min(align_up(at + size, sector), device.size)) for at, size in found)


def _joined(places: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Offset and size for (first, end), none twice and none empty."""
    joined: list[tuple[int, int]] = []
    for first, end in sorted(places):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif first < end:
            joined.append((first, end))
    return tuple((first, end - first) for first, end in joined)
