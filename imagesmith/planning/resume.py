"""What an interrupted run need not write again: which bytes of which image are on which card. Pure.

Called by `flash.writing`, which fills it, and `workflow.journals`, which keeps it between runs. Only the writing is
spared: a run that goes on reads the whole card back all the same, so a record that is wrong can't make a card good.
"""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Iterable

from imagesmith.messages import Place
from imagesmith.model import Device
from imagesmith.planning.flash import SourceImage


class Written:
    """Places of a card that hold the image's bytes, joined and in rising order."""

    def __init__(self, places: Iterable[Place] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for offset, size in places:
            self.add(offset, size)

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple((start, end - start) for start, end in zip(self._starts, self._ends, strict=True))

    @property
    def size(self) -> int:
        return sum(size for _, size in self.places)

    def add(self, offset: int, size: int) -> None:
        """Join a place with what it touches."""
        start, end = offset, offset + size
        first = bisect.bisect_left(self._ends, start)
        last = bisect.bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def holds(self, offset: int, size: int) -> bool:
        """Whether every byte of a place is there."""
        at = bisect.bisect_right(self._starts, offset) - 1
        return at >= 0 and offset + size <= self._ends[at]

    def without(self, offset: int, size: int) -> Written:
        """The same without one place: it was written over."""
        end = offset + size
        kept: list[Place] = []
        for start, length in self.places:
            stop = start + length
            kept += [(start, min(stop, offset) - start)] if start < offset else []
            kept += [(max(start, end), stop - max(start, end))] if stop > end else []
        return Written(place for place in kept if place[1] > 0)


def resume_key(image: SourceImage, version: str, device: Device) -> str:
    """A name for "this image on this card", hex; "" where one of the two could not be told again.

    `version` tells one image from another of the same name: a digest, or a file's size and time. A card is known by its
    stable name or serial number; a loop device or file by the insertion alone (`diskseq`), which ends with it.
    """
    card = device.by_id or ((device.serial,) if device.serial else ())
    if not card and device.diskseq:
        card = (f"{device.number} {device.diskseq}",)
    mapped = [[part.first, part.last, part.sha256] for part in image.block_map.ranges] if image.block_map else []
    if not card or not (version or any(sha256 for *_, sha256 in mapped)):
        return ""
    told = json.dumps([sorted(card), device.size, version, mapped])
    return hashlib.sha256(told.encode()).hexdigest()
