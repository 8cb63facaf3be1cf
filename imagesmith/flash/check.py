"""Compares a card with an image, without writing: every delivered byte, tables and boot sector included.

Called by `workflow.verify`. Talks to a feeder and the card's writer, which opens the card for reading only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from imagesmith.events import Listener, Noted
from imagesmith.flash.cards import PATIENT, Card, Patience
from imagesmith.flash.delivery import Delivery, Inbox, delivered_to_one
from imagesmith.flash.feed import Feed
from imagesmith.flash.voice import Voice
from imagesmith.flash.withheld import Withheld
from imagesmith.messages import OWN, Check, Compare, Deliver, Found, Laid, Open, Place, Sample
from imagesmith.planning.flash import BOOT_SIZE, FlashPlan, delivery

_CHECK = "check image"
_AT_ONCE = 256
"""So many withheld pieces fit into the slot OWN, whatever their sizes: a map of small blocks may have thousands."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared, and where the card differs (empty = nowhere); for that case, a look at both."""

    compared: int
    places: tuple[Place, ...]
    of_image: Mapping[int, bytes] = field(default_factory=dict)
    """What lies at the places `to_keep` in the image, by offset."""
    of_card: Mapping[int, bytes] = field(default_factory=dict)
    """The same on the card; only where it differs somewhere."""


async def check_card(
    plan: FlashPlan,
    card: Card,
    feed: Feed,
    *,
    again: bool,
    listener: Listener,
    patience: Patience = PATIENT,
    to_keep: Sequence[Place] = (),
) -> Comparison:
    """Read the card back past all caches and compare it with what the plan would write.

    The image's own promises are checked first, so that a difference is the card's. A card whose table was not moved to
    its end (bmaptool, dd) is as good. `to_keep`: places, under 4 MiB in all, whose bytes are told of the image and of a
    card that differs. Raises DeviceRefused, IOFailed, and the feeder's errors.
    """
    voice = Voice(listener, card.path, False)
    checking = _Checking(plan, card, feed if again else None, voice, listener, patience, to_keep)
    try:
        return await checking.run(feed, again)
    finally:
        card.leave()
        await asyncio.sleep(0)


class _Checking:
    def __init__(
        self, plan: FlashPlan, card: Card, again: Feed | None, voice: Voice, listener: Listener, patience: Patience,
        to_keep: Sequence[Place],
    ) -> None:  # fmt: skip
        self._plan = plan
        self._card = card
        self._again = again
        self._voice = voice
        self._listener = listener
        self._patience = patience
        self._withheld = Withheld(plan)
        self._kept = [(offset, bytearray(size)) for offset, size in to_keep]

    async def run(self, feed: Feed, again: bool) -> Comparison:
        await self._card.connect()
        await self._card_says(Open(writing=False))
        digests = await self._digest_image(feed, again)
        # No digest reaches across the border of what is withheld.
        held = [(one.offset, one.size) for one in digests.digests if self._withheld.holds(one.offset)]
        spans = tuple(
            (one.offset, one.size, one.sha256) for one in digests.digests if not self._withheld.holds(one.offset)
        )
        total = sum(one.size for one in digests.digests)
        self._voice.begin("read back", self._card.path, sum(size for _, size, _ in spans))
        places = list(await self._head_differs(held))
        wrong = set((await self._card_says(Check(spans))).places)
        differing = tuple(span for span in spans if span[:2] in wrong)
        if differing and self._again:
            async with delivered_to_one(self._again, Deliver(spans=differing)) as batches:
                async for batch in batches:
                    places += (await self._card_says(Compare(batch.slot, batch.pieces))).places
        elif differing:
            places += [(offset, size) for offset, size, _ in differing]
        self._voice.end()
        of_image = {offset: bytes(data) for offset, data in self._kept}
        return Comparison(total, tuple(sorted(places)), of_image, await self._of_card() if places else {})

    async def _of_card(self) -> dict[int, bytes]:
        """What the card has where the image's bytes were kept."""
        laid = self._card.lay((offset, bytes(len(data))) for offset, data in self._kept)
        await self._card_says(Sample(laid))
        memory = self._card.own.slot(0)
        return {offset: bytes(memory[at : at + size]) for offset, at, size in laid}

    async def _card_says(self, order: object) -> Found:
        self._card.send(order)
        answer = await self._card.answer(self._patience, self._voice.tick, self._voice.silence)
        return answer if isinstance(answer, Found) else Found(())

    async def _digest_image(self, feed: Feed, again: bool) -> Delivery:
        """Have the image read once, keeping what is withheld and nothing else."""
        self._voice.begin(_CHECK, str(self._plan.image.path), self._plan.body_bytes)
        inbox = Inbox()
        first = Delivery(feed, delivery([self._plan], again=again), [inbox])
        pump = asyncio.create_task(first.run())
        try:
            async for batch in inbox.batches():
                self._keep(batch.pieces, first.memory(batch))
                for _, _, size in self._withheld.sift(batch.pieces, first.memory(batch)):
                    self._voice.tick(size)
                first.taken(batch)
            await first.outcome
        finally:
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump
        self._voice.end()
        return first

    def _keep(self, pieces: Iterable[Laid], memory: memoryview) -> None:
        for offset, at, size in pieces:
            for start, data in self._kept:
                first, last = max(offset, start), min(offset + size, start + len(data))
                if first < last:
                    data[first - start : last - start] = memory[at + first - offset : at + last - offset]

    async def _head_differs(self, held: Sequence[Place]) -> tuple[Place, ...]:
        """Compare tables and boot sector: all that we would have written, or only what the image has.

        `held` = where the image has something to say of them: not behind its end, nor where its map is silent. Other
        tools leave there what the card had, and without a table to move nothing tells whose card it is.
        """
        if self._plan.patches:
            if await self._differ([place for place in held if place[0] < BOOT_SIZE], self._withheld.source):
                whole = [(span.offset, span.size) for span in self._plan.withheld]
                return await self._differ(whole, self._withheld.final)
            self._listener(
                Noted("the partition table's second copy is not at the card's end (written by another tool)")
            )
        return await self._differ(held, self._withheld.source)

    async def _differ(self, places: Sequence[Place], version: Callable[[int, int], bytes]) -> tuple[Place, ...]:
        found: list[Place] = []
        for start in range(0, len(places), _AT_ONCE):
            some = places[start : start + _AT_ONCE]
            laid = self._card.lay((offset, version(offset, size)) for offset, size in some)
            found += (await self._card_says(Compare(OWN, laid))).places
        return tuple(found)
