"""The partition table at a disk's start, whichever kind it is.

Called by `planning.wiping`, `planning.lived` and `flash.check`. Pure.
"""

from __future__ import annotations

from imagesmith.errors import ContentMalformed
from imagesmith.formats import gpt, mbr
from imagesmith.model import Partition
from imagesmith.planning.flash import gpt_sector
from imagesmith.units import SECTOR


def partitions_of(head: bytes, size: int) -> tuple[Partition, ...]:
    """The partitions of a disk of `size` bytes, given its first MiB (or all); none where no table can be read."""
    sector = gpt_sector(head)
    try:
        return gpt.parse(head, size, sector).partitions if sector else mbr.parse(head[:SECTOR], size).partitions
    except ContentMalformed:
        return ()


def end_of_table(head: bytes, size: int) -> int:
    """Where a GPT's second copy ends: in mid-card where a smaller image was copied to it; 0 = there is no GPT."""
    sector = gpt_sector(head)
    try:
        return gpt.parse(head, size, sector).disk_size if sector else 0
    except ContentMalformed:
        return 0


def without_table(head: bytes) -> bytes:
    """A disk's first bytes with everything zeroed that belongs to its table: what is left are loaders and gaps."""
    kept = bytearray(head)
    kept[440:510] = bytes(len(kept[440:510]))
    sector = gpt_sector(head)
    if sector:
        # Header and entries; 16 KiB of those in every table that tools make by themselves.
        end = 2 * sector + 16 * 1024
        kept[sector:end] = bytes(len(kept[sector:end]))
    return bytes(kept)
