"""One card by itself, without an image: opened, given orders, and left without a boot sector whatever happens.

Called by `flash.probe` and `flash.wipe`. Talks to the card's writer; touches no device itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from imagesmith.errors import ImagesmithError, Interrupted
from imagesmith.events import Listener
from imagesmith.flash import verdict
from imagesmith.flash.card_writer import STOP
from imagesmith.flash.cards import Card, Patience, Stuck, uncancelled
from imagesmith.flash.voice import Voice
from imagesmith.messages import OWN, Blank, Check, Done, Found, Laid, Open, Place, Promised, Put, Sample, Settle
from imagesmith.model import Device
from imagesmith.ring import Ring
from imagesmith.units import KiB, MiB, align_up

AHEAD = 2
"""Orders that the card may have before it answered: one to work at, one to begin without waiting for us."""
SLOTS = AHEAD + 1
"""Slots of the ring that may be used in turn, so that none is filled again while an order still needs it."""
STEP = 4 * MiB
"""Bytes that are written, and digested, as one."""
_BATCH = 16
"""Digests in one order."""
_PAGE = 4 * KiB


class Alone:
    """The card, opened for writing. Made by `alone`."""

    def __init__(
        self, card: Card, ring: Ring, device: Device, blanked: Sequence[Place], listener: Listener, patience: Patience
    ) -> None:
        self.device = device
        self.ring = ring
        self.voice = Voice(listener, device.path, False)
        self.state = verdict.UNTOUCHED
        self._card = card
        self._blanking = Blank(tuple(blanked))
        self._patience = patience

    async def ask(self, order: object) -> Done | Found:
        """Say one order, when no other is owed, and wait for its answer."""
        self._card.send(order)
        return await self._answer()

    async def found(self, order: object) -> tuple[Place, ...]:
        answer = await self.ask(order)
        assert isinstance(answer, Found)
        return answer.places

    async def each(self, orders: Iterable[object]) -> list[Place]:
        """Say the orders one after the other; each is made when at most AHEAD before it are not answered yet."""
        found: list[Place] = []
        owed = 0
        for order in orders:
            self._card.send(order)
            owed += 1
            if owed > AHEAD:
                found += await self._places()
                owed -= 1
        for _ in range(owed):
            found += await self._places()
        return found

    async def blank(self) -> tuple[Place, ...]:
        """Zero head and tail: from here on nothing old boots. Where they are not zeros afterwards."""
        self.state = verdict.UNKNOWN
        wrong = await self.found(self._blanking)
        self.state = verdict.UNKNOWN if wrong else verdict.BLANK
        return wrong

    async def put_start(self, data: bytes) -> None:
        """Write the card's first bytes; should we be killed from here on, the card's writer blanks them again."""
        self.state = verdict.UNKNOWN
        await self.ask(Put(OWN, self._card.lay([(0, data)])))

    async def differing(self, spans: Iterable[Promised]) -> list[Promised]:
        """Read the spans back, each of at most STEP bytes, and tell which are not what they should be."""
        known: dict[Place, Promised] = {}

        def orders() -> Iterator[Check]:
            coming = iter(spans)
            while batch := tuple(itertools.islice(coming, _BATCH)):
                known.update({(offset, size): (offset, size, sha256) for offset, size, sha256 in batch})
                yield Check(batch)

        return [known[place] for place in await self.each(orders())]

    async def sample(self, places: Iterable[Place]) -> list[bytes]:
        """What is on the card at each of the places, of at most 1 MiB."""
        samples: list[bytes] = []
        batch: list[Laid] = []
        at = 0
        for offset, size in places:
            if at + size > STOP:
                samples += await self._sampled(batch)
                batch, at = [], 0
            batch.append((offset, at, size))
            at = align_up(at + size, _PAGE)
        return samples + await self._sampled(batch)

    async def settle(self) -> None:
        """Close the card, and let the kernel see that its table is gone."""
        await self.ask(Settle(eject=False))

    async def blank_again(self, within_s: float) -> None:
        """What a failed card gets, as far as it answers in that time. Sets `state`."""
        if self.state == verdict.UNTOUCHED or not within_s:
            return
        self._card.stop()
        blank = await self._card.blank_last(self._blanking, self._patience, within_s, self.voice.silence)
        if blank is not None:
            self.state = verdict.BLANK if blank else verdict.UNKNOWN

    async def _answer(self) -> Done | Found:
        return await self._card.answer(self._patience, self.voice.tick, self.voice.silence)

    async def _places(self) -> tuple[Place, ...]:
        answer = await self._answer()
        return answer.places if isinstance(answer, Found) else ()

    async def _sampled(self, batch: Sequence[Laid]) -> list[bytes]:
        if not batch:
            return []
        await self.ask(Sample(tuple(batch)))
        memory = self._card.own.slot(0)
        return [bytes(memory[at : at + size]) for _, at, size in batch]


@contextlib.asynccontextmanager
async def alone(
    card: Card, ring: Ring, device: Device, *, blanked: Sequence[Place], listener: Listener, patience: Patience
) -> AsyncIterator[Alone]:
    """Open a card for what the block does with it; afterwards it is closed, and the process that had it ends.

    A failure in the block leaves the places `blanked` as zeros, as far as the card answers, and its hint tells the
    card's state. Cancelled (Ctrl-C), the same, and Interrupted is raised.
    """
    one = Alone(card, ring, device, blanked, listener, patience)
    try:
        await card.connect()
        await one.ask(Open(writing=True))
        yield one
    except ImagesmithError as error:
        await one.blank_again(0 if isinstance(error, Stuck) else patience.given_up_s)
        error.hint = f"{error.hint}. {one.state}".lstrip(" .")
        raise
    except asyncio.CancelledError:
        uncancelled()
        await one.blank_again(patience.farewell_s)
        raise Interrupted("stopped by you", where=device.path, hint=one.state) from None
    finally:
        card.leave()
        # Gives the closed link its turn.
        await asyncio.sleep(0)
