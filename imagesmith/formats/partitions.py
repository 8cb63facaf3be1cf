"""What holds for the partitions of any table: no two share bytes, none reaches outside. Used by `mbr` and `gpt`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from imagesmith.errors import ContentMalformed
from imagesmith.model import Partition
from imagesmith.units import show_size


def resize_in(
    partitions: tuple[Partition, ...], number: int, size: int, where: str, *, end: int | None = None
) -> tuple[Partition, ...]:
    """The partitions with one's size changed; ValueError when it is absent or would run into another or past `end`."""
    if number not in [partition.number for partition in partitions]:
        raise ValueError(f"{where}: there is no partition {number}")
    changed = tuple(replace(part, size=size) if part.number == number else part for part in partitions)
    try:
        refuse_overlap(changed, where, first=0, end=end)
    except ContentMalformed as error:
        raise ValueError(f"partition {number} can't have {size} bytes: {error.what}") from error
    return changed


def refuse_overlap(partitions: Iterable[Partition], where: str, *, first: int, end: int | None) -> None:
    """Raise ContentMalformed when partitions share bytes, or reach outside `first`..`end` (bytes; None = unknown)."""
    before: Partition | None = None
    for part in sorted(partitions, key=lambda part: part.start):
        if part.start < first:
            raise ContentMalformed(
                f"partition {part.number} starts at byte {part.start}, inside the table (first free byte {first})",
                where=where,
            )
        if before and part.start < before.start + before.size:
            raise ContentMalformed(
                f"partitions {before.number} and {part.number} overlap: {before.number} ends at byte"
                f" {before.start + before.size}, {part.number} starts at {part.start}",
                where=where,
                hint="the image is damaged or was made wrongly; get it again",
            )
        before = part
    if before and end is not None and before.start + before.size > end:
        raise ContentMalformed(
            f"partition {before.number} ends at byte {before.start + before.size}, the space for partitions ends at"
            f" {end} ({show_size(end)})",
            where=where,
            hint="the image is truncated; get it again",
        )
