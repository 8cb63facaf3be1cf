"""Words for what became of a card: what was found wrong on it, and in which state it is now. Pure.

Called by `flash.writing` and `flash.check`.
"""

from __future__ import annotations

from collections.abc import Sequence

from imagesmith.errors import DeviceRefused, ReadbackDiffers
from imagesmith.messages import Place
from imagesmith.units import show_size

BLANK = "The card is not bootable: its start is blank"
UNTOUCHED = "Nothing was written to the card"
WHOLE = "The card was written and read back whole before that"
UNKNOWN = "Don't use the card: its start could not be blanked, so it may still hold what was on it before"
_SHOWN = 8
_ANOTHER = "the card does not keep what is written to it (worn out, fake or a bad reader): take another one"


def differs(places: Sequence[Place], device: str, *, mended: int = 0) -> ReadbackDiffers:
    """The error that names the places, at most eight of them. `mended`: bytes that were written again in vain."""
    total = sum(size for _, size in places)
    again = f" (also after {show_size(mended)} were written again)" if mended else ""
    return ReadbackDiffers(
        f"{show_size(total)} of what was read back differ{again}, at byte {told(places)}", where=device, hint=_ANOTHER
    )


def too_large(device: str, size: int) -> DeviceRefused:
    """The error for an image whose size was not known before."""
    return DeviceRefused(
        f"is too small: the image goes on after the device's end at {size} bytes ({show_size(size)})",
        where=device,
        hint="take a larger card",
    )


def told(places: Sequence[Place]) -> str:
    """Places as `first-last`, both included, at most eight."""
    shown = ", ".join(f"{offset}-{offset + size - 1}" for offset, size in places[:_SHOWN])
    more = len(places) - _SHOWN
    return f"{shown}{f' and {more} places more' * (more > 0)}"
