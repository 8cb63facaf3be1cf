"""Which bytes of an image are wanted, in order, and where they must not be joined. A value; called by `feeder`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

from imagesmith.errors import ContentMalformed
from imagesmith.messages import Deliver, Place, Promised

OPEN = 1 << 62
"""The end of an image whose size is not known."""


class Wanted:
    """`segments` are the (start, end) of what is wanted, in rising order, cut wherever pieces must not reach across.

    With `Deliver.everything` the last one ends at OPEN, whatever the image's size.
    """

    def __init__(self, order: Deliver) -> None:
        self.everything = order.everything
        self.promised = not order.everything and all(sha256 for _, _, sha256 in order.spans)
        """Every wanted byte is compared with a digest that came with the image."""
        spans: tuple[Promised, ...] = ((0, OPEN, ""),) if order.everything else order.spans
        cuts = sorted(set(order.cuts))
        self.segments: list[Place] = []
        for offset, size, _ in spans:
            end = offset + size
            inside = cuts[bisect_right(cuts, offset) : bisect_right(cuts, end - 1)]
            borders = [offset, *inside, end]
            self.segments += [(a, b) for a, b in pairwise(borders) if a < b]
        self._starts = [start for start, _ in self.segments]
        self._borders = frozenset(self._starts)

    def begins_at(self, offset: int) -> bool:
        """Whether what is wanted at `offset` must not be joined to what is before it."""
        return offset in self._borders

    def within(self, start: int, end: int) -> Iterator[Place]:
        """The (start, end) of what is wanted between two offsets, cut as the segments are."""
        at = max(bisect_right(self._starts, start) - 1, 0)
        while at < len(self.segments) and self.segments[at][0] < end:
            first, last = self.segments[at]
            if last > start:
                yield max(first, start), min(last, end)
            at += 1

    def reaches(self) -> int:
        """Where the last wanted byte ends, which the image must have; 0 when it may end anywhere."""
        return 0 if self.everything or not self.segments else self.segments[-1][1]


def check_reach(wanted: Wanted, size: int, where: str) -> None:
    """Raise ContentMalformed when the image has not all that is wanted."""
    if wanted.reaches() > size:
        raise ContentMalformed(
            f"the image ends at byte {size}, but its block map goes on to {wanted.reaches()}: one of them is damaged",
            where=where,
            hint="fetch or copy the image again, with its block map",
        )
