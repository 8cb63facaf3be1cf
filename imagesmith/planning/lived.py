"""Tells a card that was booted (or mounted) since it was written from one that does not keep its bytes.

Called by `workflow.verify`, for a card that differs from its image. Pure: looks at the first bytes of both, and of all
partitions. File systems note their own mounts; what differs inside those that were mounted is taken for their life,
what differs elsewhere is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from imagesmith.formats.ext4_superblock import Ext4Life, parse_life
from imagesmith.formats.fat_state import parse_state
from imagesmith.model import Partition
from imagesmith.planning.flash import TAIL_SIZE
from imagesmith.planning.tables import partitions_of, without_table
from imagesmith.units import KiB, align_down, align_up

LOOK = 64 * KiB
"""Bytes that are looked at where a disk and its partitions begin."""
GRAIN = 4 * KiB
"""As `flash.card_writer.GRAIN`."""
_MOST = 32
"""Partitions that are looked at."""
Place = tuple[int, int]
"""Offset and size."""


@dataclass(frozen=True, slots=True)
class Starts:
    """The first LOOK bytes of a disk's partitions, by offset; at 0 of the disk itself. Fewer bytes at its end."""

    size: int
    """Of the disk."""
    bytes_at: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Life:
    """A card that was used since it was written."""

    told: str
    """What tells so, as `partition 2 was mounted 3 times, last on 2026-11-23 14:05 UTC`."""
    unexplained: tuple[Place, ...]
    """Where it differs although nothing that was mounted lies there."""


def looked_at(head: bytes, size: int) -> tuple[Place, ...]:
    """Which places of an image, and of its card, tell of their life. `head`: the image's first MiB."""
    starts = [part.start for part in partitions_of(head, size)][:_MOST]
    return tuple((at, min(LOOK, size - at)) for at in (0, *starts) if at < size)


def life_of(image: Starts, card: Starts, differing: Sequence[Place]) -> Life | None:
    """What the card's own notes say; None when they do not say that it was used since. `differing`: rising."""
    partitions = partitions_of(image.bytes_at.get(0, b""), image.size)
    told: list[str] = []
    used: list[Partition] = []
    rooted = False
    for part in partitions:
        before, after = image.bytes_at.get(part.start, b""), card.bytes_at.get(part.start, b"")
        mounts = _ext4_life(parse_life(before), parse_life(after))
        rooted = rooted or bool(mounts)
        if words := mounts or _fat_life(before, after):
            told.append(f"partition {part.number} {words}")
            used.append(part)
    if not told:
        return None
    if rooted:
        # A system that was booted writes to its boot partition, too, and FATs keep no note of being mounted.
        used += [part for part in partitions if parse_state(card.bytes_at.get(part.start, b""))]
    explained = [*_rooms(used, card), *(_table(image, card) if rooted else ())]
    return Life("; ".join(told), tuple(_outside(differing, explained)))


def _ext4_life(before: Ext4Life | None, after: Ext4Life | None) -> str:
    """What became of a root file system, in words that follow its name; "" = nothing, or nothing that is sure."""
    if not before or not after or (before.uuid, before.made) != (after.uuid, after.made):
        return ""
    signs = (after.mounted != before.mounted, after.mounts != before.mounts)
    # One changed figure may be a changed bit, where no checksum speaks for it.
    if not after.mounted or not (all(signs) or (after.proven and any(signs))):
        return ""
    count = after.mounts - before.mounts if after.mounts > before.mounts else after.mounts
    times = f"{count} time{'s' if count != 1 else ''}" if count else "at least once"
    open_now = ", and is in use or was not shut down properly" if after.in_use else ""
    return f"was mounted {times}, last on {_date(after.mounted)}{open_now}"


def _fat_life(before: bytes, after: bytes) -> str:
    old, new = parse_state(before), parse_state(after)
    if not old or not new or old.serial != new.serial:
        return ""
    if new.dirty and not old.dirty:
        return "is in use or was not unmounted properly"
    if None not in (old.free, new.free) and (old.free, old.next_free) != (new.free, new.next_free):
        return "had files written to it"
    return ""


def _rooms(used: Sequence[Partition], card: Starts) -> Iterator[Place]:
    """The partitions as large as they are now: the last one may have grown at the first boot."""
    now = {part.start: part.size for part in partitions_of(card.bytes_at.get(0, b""), card.size)}
    for part in used:
        yield part.start, max(part.size, now.get(part.start, 0))


def _table(image: Starts, card: Starts) -> Iterator[Place]:
    """Where the table lies, if it is a good one that still begins every partition where the image does.

    The first boot lets the last partition grow, and gives the disk an id of its own.
    """
    before, after = image.bytes_at.get(0, b""), card.bytes_at.get(0, b"")
    starts = [part.start for part in partitions_of(before, image.size)]
    if [part.start for part in partitions_of(after, card.size)] != starts:
        return
    if without_table(before) == without_table(after):
        yield 0, min([LOOK, *starts])
        yield max(0, card.size - TAIL_SIZE), TAIL_SIZE


def _outside(places: Sequence[Place], rooms: Iterable[Place]) -> Iterator[Place]:
    """What of the places lies in no room. Differences are told in grains, so a grain at a room's edge is inside."""
    taken = sorted((align_down(offset, GRAIN), align_up(offset + size, GRAIN)) for offset, size in rooms)
    for offset, size in places:
        at, end = offset, offset + size
        for first, last in taken:
            if at < first < end:
                yield at, first - at
            if first < end and at < last:
                at = max(at, last)
        if at < end:
            yield at, end - at


def _date(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError):
        return "a date that makes no sense"
