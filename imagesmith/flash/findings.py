"""What a probe's wrong places say of a card: a fake, one that loses writes, one that changes bits. Pure.

Called by `flash.probe`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from imagesmith.errors import ReadbackDiffers
from imagesmith.flash import verdict
from imagesmith.flash.pattern import Pattern
from imagesmith.messages import Place
from imagesmith.units import SECTOR, show_size

_OWN_SHARE = 8
"""Of bytes that have nothing to do with the pattern every second bit is wrong; up to one in so many, they decayed."""
_FAKE = "it is a fake (or its reader is broken): whatever goes beyond its true size is lost; give it back"
_WORN = "the card is worn out, or its reader or port is bad: try another reader, and don't trust this card"


@dataclass(frozen=True, slots=True)
class Wrong:
    """One place that did not hold its pattern, and what is there when it is read once more."""

    offset: int
    size: int
    moved: int
    """How far from here the place lies whose pattern is here; 0 = it is no other place's."""
    flipped: int
    """Bits that differ, where it is the place's own pattern but for some; else 0."""
    right: bool
    """It is what it should be now."""


def look(pattern: Pattern, place: Place, found: bytes, limit: int) -> Wrong:
    """What was `found` at a place, on a card of `limit` bytes."""
    offset, size = place
    wanted = pattern.at(offset, size)
    differing = (int.from_bytes(found, "big") ^ int.from_bytes(wanted, "big")).bit_count()
    own = differing * _OWN_SHARE < size * 8
    return Wrong(offset, size, 0 if own else _moved(pattern, offset, found, limit), own * differing, not differing)


def _moved(pattern: Pattern, offset: int, found: bytes, limit: int) -> int:
    # By sectors, since a true size need not be a multiple of a marker's.
    for at in range(0, len(found), SECTOR):
        origin = pattern.origin(found[at : at + SECTOR], limit)
        if origin is not None and origin != offset + at:
            return origin - offset - at
    return 0


def judge(device: str, size: int, looked: Sequence[Wrong], lost: Sequence[Place], good_end: int) -> ReadbackDiffers:
    """The failure in words. `looked`: wrong places that were looked into; `lost`: all wrong ones, rising.

    `good_end`: the end of the last place that was right, 0 = none was.
    """
    fleeting = [(one.offset, one.size) for one in looked if one.right]
    if fleeting:
        return ReadbackDiffers(
            f"what it reads changes: {show_size(_sum(fleeting))} came back wrong and right the next time, at byte"
            f" {verdict.told(fleeting)}",
            where=device,
            hint=_WORN,
        )
    displaced = [one for one in looked if one.moved]
    if displaced:
        # Every such distance is a multiple of the true size, and one of them, once around, is that size.
        real = math.gcd(*(one.moved for one in displaced))
        shown = displaced[0]
        return ReadbackDiffers(
            f"it claims {show_size(size)} and has {show_size(real)} ({real} bytes), then it starts over:"
            f" what was written at byte {shown.offset + shown.moved} is found at byte {shown.offset}",
            where=device,
            hint=_FAKE,
        )
    flipped = sum(one.flipped for one in looked)
    if flipped and all(one.flipped for one in looked):
        bits = f"{flipped} bit{'s' if flipped != 1 else ''}"
        return ReadbackDiffers(
            f"{bits} of what was written came back changed, at byte {verdict.told(lost)}", where=device, hint=_WORN
        )
    if lost[0][0] >= good_end:
        if not good_end:
            return ReadbackDiffers("it keeps nothing of what is written to it", where=device, hint=_WORN)
        return ReadbackDiffers(
            f"it claims {show_size(size)} and keeps nothing from byte {lost[0][0]} on: it has"
            f" {show_size(good_end)} or little more (the last byte that was kept is {good_end - 1})",
            where=device,
            hint=_FAKE,
        )
    return ReadbackDiffers(
        f"{show_size(_sum(lost))} of what was written did not stay, at byte {verdict.told(lost)}",
        where=device,
        hint=_WORN,
    )


def _sum(places: Sequence[Place]) -> int:
    return sum(size for _, size in places)
