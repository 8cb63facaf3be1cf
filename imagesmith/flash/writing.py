"""One card on its way: blanked, written, read back, mended where it is wrong, and bootable last.

Called by `flash.conduct`. Talks to the card's writer, and takes from a delivery; touches no device itself.
The order is the promise; a flush stands between all of its steps:
blank head and tail -> body -> read the body back -> rest of the head and the backup table -> first 4 KiB, its first
sector last -> read those back. Power cuts modelled at every point leave a card that is complete or not bootable, never
bootable and wrong.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from imagesmith.errors import ImagesmithError, Interrupted, SourceUnreachable
from imagesmith.flash import verdict
from imagesmith.flash.cards import Card, Patience, Stuck, uncancelled
from imagesmith.flash.delivery import Delivery, Inbox, delivered_to_one
from imagesmith.flash.feed import Feed
from imagesmith.flash.voice import Voice
from imagesmith.flash.withheld import Withheld, mark
from imagesmith.messages import (
    OWN,
    Batch,
    Blank,
    Check,
    Compare,
    Deliver,
    Done,
    Flush,
    Found,
    Laid,
    Mend,
    Open,
    Place,
    Promised,
    Put,
    Settle,
)
from imagesmith.planning.flash import FlashPlan, refuse_size
from imagesmith.planning.resume import Written
from imagesmith.units import MiB, show_size

ROUNDS = 2
"""So often what read back wrong is written again."""
MOST_MENDED = 64 * MiB
"""Of spans that read back wrong: a card with more of them is not worn in places, it is broken or a fake."""
_AHEAD = 2
"""Orders that a card may have before it answered: one to work at, one to begin without waiting for us."""
_KEPT_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """A card that was written and read back whole. There is no receipt for less."""

    plan: FlashPlan
    written: int
    """Bytes of the image that were written, and as many read back."""
    mended: tuple[Place, ...] = ()
    """What read back wrong at first, and right after it was written again."""
    settled: str = ""
    """What was done for the card to be taken out."""
    sha256: str = ""
    """Of the whole raw image, where all of it was delivered."""


def _forgotten(written: Written) -> None:
    """For cards of which nothing is kept."""


@dataclass(frozen=True, slots=True)
class Errand:
    """One card to write: what goes to it, and the child that has it."""

    plan: FlashPlan
    card: Card
    eject: bool = False
    written: Written = field(default_factory=Written)
    """What an earlier run wrote of this image to this card; what this run writes is added."""
    keep: Callable[[Written], None] = _forgotten
    """Remembers `written` now and then, for a run that goes on after this one was interrupted."""


class Writing:
    """One card on its way."""

    def __init__(
        self, errand: Errand, first: Delivery, inbox: Inbox, again: Feed | None, repairs: asyncio.Lock, voice: Voice,
        patience: Patience,
    ) -> None:  # fmt: skip
        self._plan = errand.plan
        self._card = errand.card
        self._eject = errand.eject
        self._first = first
        self._inbox = inbox
        self._done = errand.written
        for span in errand.plan.blanked:
            self._done = self._done.without(span.offset, span.size)
        self._resumed = self._done.size > 0
        self._keep = errand.keep
        self._kept = time.monotonic()
        self._again = again
        self._repairs = repairs
        self._voice = voice
        self._patience = patience
        self._withheld = Withheld(errand.plan)
        self._written = 0
        self._mended: list[Place] = []
        self._touched = False
        self.path = errand.plan.device.path
        self.state = verdict.UNTOUCHED

    async def run(self) -> Receipt | ImagesmithError:
        try:
            receipt = await self._write()
            self._keep(Written())
            return receipt
        except ImagesmithError as error:
            return await self._failed(error)
        except asyncio.CancelledError:
            uncancelled()
            self._first.leave(self._inbox)
            self._keep(self._done)
            await self._blank_again(self._patience.farewell_s)
            raise
        except Exception as error:  # the other cards must not suffer from it
            bug = ImagesmithError(f"this is a bug in imagesmith: {error!r}", where=self.path, hint="please report it")
            bug.__cause__ = error
            return await self._failed(bug)
        finally:
            self._first.leave(self._inbox)
            self._card.leave()

    async def _failed(self, error: ImagesmithError) -> ImagesmithError:
        """Blank the card as far as it answers, and say in the error what it is now. The others go on meanwhile."""
        self._first.leave(self._inbox)
        # Of a card that failed nothing is believed; a source that went away is no fault of the card.
        self._keep(self._done if isinstance(error, SourceUnreachable) else Written())
        # A card that is stuck keeps its blank head, or its writer blanks it when it comes back and we are gone.
        await self._blank_again(0 if isinstance(error, Stuck) else self._patience.given_up_s)
        error.hint = f"{self.state}. {error.hint}".rstrip(" .")
        return error

    def at_the_end(self, end: Receipt | ImagesmithError | BaseException) -> Receipt | ImagesmithError:
        """What became of the card when all were stopped, some of them after their own end."""
        if isinstance(end, Receipt | ImagesmithError):
            return end
        return Interrupted("stopped by you", where=self.path, hint=self.state)

    async def _write(self) -> Receipt:
        await self._card.connect()
        await self._ask(Open(writing=True))
        await self._blank()
        await self._put_body()
        await self._ask(Flush())
        self._voice.end()
        # The source's own promises (a digest of the whole, a signature) are checked before anything is believed.
        delivered = await self._first.outcome
        refuse_size(replace(self._plan.image, size=delivered.size))
        await self._read_back()
        await self._put_head()
        self.state = verdict.WHOLE
        settled = await self._ask(Settle(self._eject))
        assert isinstance(settled, Done)
        return Receipt(self._plan, self._written, tuple(self._mended), settled.words, delivered.sha256)

    async def _ask(self, order: object) -> Done | Found:
        self._card.send(order)
        return await self._card.answer(self._patience, self._voice.tick, self._voice.silence)

    async def _found(self, order: object) -> tuple[Place, ...]:
        found = await self._ask(order)
        assert isinstance(found, Found)
        return found.places

    async def _blank(self) -> None:
        """From here on nothing old boots, and no old table or signature is found. Read back: a card may ignore it."""
        self._voice.begin("blank", self.path)
        self._touched = True
        self.state = verdict.UNKNOWN
        if wrong := await self._found(_blanking(self._plan)):
            raise verdict.differs(wrong, self.path)
        self.state = verdict.BLANK
        self._voice.end()

    async def _put_body(self) -> None:
        total = self._plan.body_bytes
        self._voice.begin("write", f"{show_size(total) if total else 'the image'} to {self.path}", total)
        if self._done.size:
            self._voice.note(f"goes on where it was stopped: {show_size(self._done.size)} are written already")
        under_way: deque[Batch] = deque()
        sent: asyncio.Queue[object] = asyncio.Queue(_AHEAD)
        try:
            async with asyncio.TaskGroup() as group:
                # Beside: a card that fails, or stands still, is heard of also while the source is slow.
                group.create_task(self._hear(sent, under_way))
                async for batch in self._inbox.batches():
                    under_way.append(batch)
                    await sent.put(self._send_pieces(batch))
                    if time.monotonic() > self._kept + _KEPT_EVERY_S:
                        self._kept = time.monotonic()
                        self._card.send(Flush())
                        await sent.put(Flush())
                await sent.put(None)
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        finally:
            for batch in under_way:
                self._first.taken(batch)
        for piece in self._lay_marks():
            self._card.send(Put(OWN, (piece,)))
            await self._card.answer(self._patience, lambda _: None, self._voice.silence)

    def _lay_marks(self) -> tuple[Laid, ...]:
        return self._card.lay((span.offset, mark(span)) for span in self._plan.withheld if any(mark(span)))

    def _send_pieces(self, batch: Batch) -> Put:
        last = max(offset + size for offset, _, size in batch.pieces)
        if last > self._plan.device.size:
            raise verdict.too_large(self.path, self._plan.device.size)
        memory = self._first.memory(batch)
        pieces = tuple(piece for piece in self._withheld.sift(batch.pieces, memory) if not self._is_there(piece))
        held = sum(size for *_, size in batch.pieces) - sum(size for *_, size in pieces)
        self._voice.tick(held)
        self._written += sum(size for *_, size in batch.pieces)
        put = Put(batch.slot, pieces)
        self._card.send(put)
        return put

    def _is_there(self, piece: Laid) -> bool:
        offset, _, size = piece
        return self._done.holds(offset, size)

    async def _hear(self, sent: asyncio.Queue[object], under_way: deque[Batch]) -> None:
        """The answers to what is in the queue, until None is."""
        while order := await sent.get():
            await self._card.answer(self._patience, self._voice.tick, self._voice.silence)
            if isinstance(order, Flush):
                # Not before: a power cut may take what was not flushed, and what is kept is not written again.
                self._keep(self._done)
                continue
            batch = under_way.popleft()
            for offset, _, size in batch.pieces:
                if not self._withheld.holds(offset):
                    self._done.add(offset, size)
            self._first.taken(batch)

    async def _read_back(self) -> None:
        """Compare what is on the medium with the digests of what was delivered; mend what differs, then look again.

        At all of it: a card that is smaller than it says puts what is mended on top of something else.
        """
        spans = tuple(
            (one.offset, one.size, one.sha256) for one in self._first.digests if not self._withheld.holds(one.offset)
        )
        self._voice.begin("read back", self.path, sum(size for _, size, _ in spans))
        wrong = await self._wrong_of(spans)
        if wrong and self._again and self._resumed:
            # Perhaps another card in the same reader, which tells no card from another: that is no fault of this one.
            await self._again_over(wrong, Mend)
            await self._ask(Flush())
            self._voice.note("it is not as the interrupted run left it: what is different was written again")
            wrong = await self._wrong_of(spans)
        for _ in range(ROUNDS):
            if not wrong or not self._again or sum(size for _, size, _ in wrong) > MOST_MENDED:
                break
            places = await self._again_over(wrong, Mend)
            await self._ask(Flush())
            self._mended += places
            self._voice.note(f"read back wrong and written again: byte {verdict.told(places)}")
            wrong = await self._wrong_of(spans)
        if wrong:
            few = sum(size for _, size, _ in wrong) <= MOST_MENDED
            places = await self._again_over(wrong, Compare) if self._again and few else ()
            mended = sum(size for _, size in self._mended)
            raise verdict.differs(places or [(offset, size) for offset, size, _ in wrong], self.path, mended=mended)
        self._voice.end()

    async def _wrong_of(self, spans: tuple[Promised, ...]) -> tuple[Promised, ...]:
        wrong = set(await self._found(Check(spans)))
        return tuple(span for span in spans if span[:2] in wrong)

    async def _again_over(self, spans: tuple[Promised, ...], order: type[Mend] | type[Compare]) -> tuple[Place, ...]:
        """Have the spans delivered once more, for this card alone, and give each batch to the card with `order`."""
        assert self._again
        found: list[Place] = []
        async with self._repairs, delivered_to_one(self._again, Deliver(spans=spans)) as batches:
            async for batch in batches:
                found += await self._found(order(batch.slot, batch.pieces))
        return tuple(found)

    async def _put_head(self) -> None:
        """The last of `plan.withheld` is the first 4 KiB: with it, and not before, the card boots."""
        self._voice.begin("finish", "partition table and boot sector")
        withheld = self._plan.withheld
        # On a card that is smaller than it says, these places are also some of the body's.
        if wrong := await self._found(Compare(OWN, self._card.lay((span.offset, mark(span)) for span in withheld))):
            raise verdict.differs(wrong, self.path)
        laid = self._card.lay((span.offset, self._withheld.final(span.offset, span.size)) for span in withheld)
        self.state = verdict.UNKNOWN
        for piece in _sector_last(laid, self._plan.device.logical_sector):
            await self._ask(Put(OWN, (piece,)))
            await self._ask(Flush())
        if wrong := await self._found(Compare(OWN, laid)):
            raise verdict.differs(wrong, self.path)
        self._voice.end()

    async def _blank_again(self, within_s: float) -> None:
        """What a failed card gets: no head and no table, as far as it answers in that time. Sets `state`."""
        if not self._touched or self.state == verdict.WHOLE:
            return
        self._card.stop()
        if not within_s:
            return
        blank = await self._card.blank_last(_blanking(self._plan), self._patience, within_s, self._voice.silence)
        if blank is not None:
            self.state = verdict.BLANK if blank else verdict.UNKNOWN


def _sector_last(laid: Sequence[Laid], sector: int) -> Iterator[Laid]:
    """The pieces, the last (first 4 KiB) cut in two: a card may lose power within 4 KiB, but not within a sector."""
    yield from laid[:-1]
    offset, at, size = laid[-1]
    if size > sector:
        yield offset + sector, at + sector, size - sector
    yield offset, at, min(size, sector)


def _blanking(plan: FlashPlan) -> Blank:
    return Blank(tuple((span.offset, span.size) for span in plan.blanked))
