"""Tests a card by itself, over what is on it: bytes that tell their place are written all over it and read back.

Called by `workflow.probe`. Talks to the card's writer; touches no device itself.
The order matters: markers are written rising, so that what starts over lands on what is there already; everything is
read only when all is written; the first things written are read first, since a card may remember the last ones.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from imagesmith.errors import ReadbackDiffers
from imagesmith.events import Listener
from imagesmith.flash import verdict
from imagesmith.flash.alone import SLOTS, STEP, Alone, alone
from imagesmith.flash.cards import PATIENT, Card, Patience
from imagesmith.flash.findings import judge, look
from imagesmith.flash.pattern import Pattern
from imagesmith.messages import Compare, Flush, Laid, Place, Promised, Put
from imagesmith.planning.probing import MARK, ProbePlan
from imagesmith.ring import Ring
from imagesmith.units import MiB

_TOGETHER = 32
"""Markers in one order: on a poor card a second's work, so that its signs of life come often."""
_LOOKED_INTO = 4096
"""So many wrong places are looked into: what is there instead."""
_MOST_COMPARED = 256 * MiB
"""Of a card that was wrong so far, that is enough to know; the rest counts as wrong as a whole."""


@dataclass(frozen=True, slots=True)
class Probed:
    """A card that kept all that was written to it, and is blank at both ends now."""

    plan: ProbePlan
    write_rate: float
    """Bytes a second, in sequence, with the flush at the end."""
    read_rate: float


async def probe_card(
    plan: ProbePlan, key: bytes, card: Card, ring: Ring, *, listener: Listener, patience: Patience = PATIENT
) -> Probed:
    """Carry the plan out. `key`: `pattern.KEY_SIZE` bytes, drawn anew for each run.

    Raises ReadbackDiffers, which tells the true size of a fake card as far as it shows; DeviceRefused, IOFailed,
    Interrupted.
    """
    async with alone(card, ring, plan.device, blanked=plan.blanked, listener=listener, patience=patience) as one:
        probing = _Probing(plan, Pattern(key), one)
        # A card that keeps nothing, or too little, shows that here already; but not how.
        await one.blank()
        rates = await probing.samples()
        if plan.full:
            rates = await probing.everything()
        if wrong := await one.blank():
            raise verdict.differs(wrong, plan.device.path)
        await one.settle()
    return Probed(plan, *rates)


class _Probing:
    def __init__(self, plan: ProbePlan, pattern: Pattern, card: Alone) -> None:
        self._plan = plan
        self._size = plan.device.size
        self._pattern = pattern
        self._card = card
        self._voice = card.voice

    async def samples(self) -> tuple[float, float]:
        """The window and the markers. Rates of writing and reading the window."""
        markers = self._plan.markers
        self._voice.begin("write", f"markers all over {self._plan.device.path}", self._plan.window + _sum(markers))
        write_rate = await self._fill(self._plan.window)
        await self._card.each(self._laid(markers, Put))
        await self._card.ask(Flush())
        self._voice.end()
        self._voice.begin("read back", self._plan.device.path, self._plan.window + _sum(markers))
        wrong, read_rate = await self._wrong_up_to(self._plan.window)
        order = list(markers)
        random.Random(self._pattern.at(0, 16)).shuffle(order)
        wrong += await self._card.each(self._laid(order, Compare))
        self._voice.end()
        if wrong:
            raise await self._judged(sorted(wrong), [(0, self._plan.window), *markers])
        return write_rate, read_rate

    async def everything(self) -> tuple[float, float]:
        """Every byte. Rates of writing and reading."""
        self._voice.begin("write everything", self._plan.device.path, self._size)
        write_rate = await self._fill(self._size)
        self._voice.end()
        self._voice.begin("read everything", self._plan.device.path, self._size)
        wrong, read_rate = await self._wrong_up_to(self._size)
        self._voice.end()
        if wrong:
            raise await self._judged(sorted(wrong), [(0, self._size)])
        return write_rate, read_rate

    async def _fill(self, end: int) -> float:
        """Write everything from 0 to `end` and flush; bytes a second."""
        begun = time.monotonic()
        await self._card.put_start(self._pattern.at(0, min(MARK, end)))
        await self._card.each(self._laid(_steps(end), Put, together=1))
        await self._card.ask(Flush())
        return end / max(time.monotonic() - begun, 1e-6)

    async def _wrong_up_to(self, end: int) -> tuple[list[Place], float]:
        """Read everything from 0 to `end`: where it differs, to 4 KiB, and bytes a second."""
        begun = time.monotonic()
        wrong = await self._card.differing(self._promised(end))
        rate = end / max(time.monotonic() - begun, 1e-6)
        closely = wrong[: _MOST_COMPARED // STEP]
        found = await self._card.each(self._laid((span[:2] for span in closely), Compare, together=1))
        return found + [(offset, size) for offset, size, _ in wrong[len(closely) :]], rate

    def _promised(self, end: int) -> Iterator[Promised]:
        for offset, size in _steps(end):
            yield offset, size, hashlib.sha256(self._pattern.at(offset, size)).hexdigest()

    def _laid(
        self, places: Iterable[Place], order: Callable[[int, tuple[Laid, ...]], Put | Compare], *,
        together: int = _TOGETHER,
    ) -> Iterator[Put | Compare]:  # fmt: skip
        """Orders for the pattern at the places, laid into the ring's slots in turn."""
        coming = list(places)
        for turn, first in enumerate(range(0, len(coming), together)):
            slot = turn % SLOTS
            memory = self._card.ring.slot(slot)
            pieces: list[Laid] = []
            at = 0
            for offset, size in coming[first : first + together]:
                memory[at : at + size] = self._pattern.at(offset, size)
                pieces.append((offset, at, size))
                at += MARK if size < MARK else size
            yield order(slot, tuple(pieces))

    async def _judged(self, wrong: Sequence[Place], tested: Sequence[Place]) -> ReadbackDiffers:
        marks = [mark for place in wrong for mark in _marks(place)]
        # A choice from everywhere: some places tell more of the true size than others.
        marks = marks[:: -(-len(marks) // _LOOKED_INTO)]
        found = await self._card.sample(marks)
        looked = [look(self._pattern, mark, data, self._size) for mark, data in zip(marks, found, strict=True)]
        return judge(self._plan.device.path, self._size, looked, wrong, _good_end(wrong, tested))


def _steps(end: int) -> Iterator[Place]:
    for offset in range(0, end, STEP):
        yield offset, min(STEP, end - offset)


def _marks(place: Place) -> Iterator[Place]:
    offset, size = place
    for at in range(offset, offset + size, MARK):
        yield at, min(MARK, offset + size - at)


def _sum(places: Iterable[Place]) -> int:
    return sum(size for _, size in places)


def _good_end(wrong: Sequence[Place], tested: Sequence[Place]) -> int:
    """The end of the last byte that was right, of the places that were tested; both rising."""
    bad = list(wrong)
    for offset, size in reversed(tested):
        end = offset + size
        while bad and sum(bad[-1]) > offset:
            first, last = bad[-1][0], sum(bad[-1])
            if first < end <= last:
                end = max(first, offset)
            elif first < end:
                break
            if first < offset:
                break
            bad.pop()
        if end > offset:
            return end
    return 0
