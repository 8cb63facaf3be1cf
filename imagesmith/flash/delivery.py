"""One pass over the image for any number of cards: a slot goes back to the feeder when the last card is done with it.

Called by `flash.conduct`, `flash.writing` and `flash.check`. Touches nothing but the feed that it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from imagesmith.errors import ImagesmithError
from imagesmith.flash.feed import Feed
from imagesmith.flash.verdict import told
from imagesmith.messages import Batch, Deliver, Delivered, Digested
from imagesmith.planning.resume import Written


class Inbox:
    """What one card has yet to take of a delivery."""

    def __init__(self) -> None:
        self._coming: asyncio.Queue[Batch | ImagesmithError | None] = asyncio.Queue()
        self.open = True

    def put(self, item: Batch | ImagesmithError | None) -> None:
        self._coming.put_nowait(item)

    async def batches(self) -> AsyncIterator[Batch]:
        """Every batch, each to be given back by `Delivery.taken`. Raises the feeder's error."""
        while (item := await self._coming.get()) is not None:
            if isinstance(item, ImagesmithError):
                raise item
            yield item

    def close(self) -> list[Batch]:
        """Take no more; what was not taken."""
        self.open = False
        left = []
        while not self._coming.empty():
            item = self._coming.get_nowait()
            if isinstance(item, Batch):
                left.append(item)
        return left


class Delivery:
    """A running pass. `outcome` is set at its end; `digests` are whole by then."""

    def __init__(self, feed: Feed, wanted: Deliver, takers: Sequence[Inbox]) -> None:
        self._feed = feed
        self._wanted = wanted
        self._takers = takers
        self._left: dict[int, int] = {}
        self.digests: list[Digested] = []
        self.outcome: asyncio.Future[Delivered] = asyncio.get_running_loop().create_future()
        # Where every card failed first, nobody asks for the outcome; that is no mistake.
        self.outcome.add_done_callback(lambda future: future.cancelled() or future.exception())

    async def run(self) -> None:
        """To be a task of its own; ends when the feeder is done. Errors are told through the inboxes and `outcome`."""
        try:
            async for message in self._feed.deliver(self._wanted):
                if isinstance(message, Batch):
                    self._hand_out(message)
                elif isinstance(message, Digested):
                    self.digests.append(message)
                else:
                    self._require_all(message)
                    self._end(None)
                    self.outcome.set_result(message)
        except ImagesmithError as error:
            self._fail(error)
        except Exception as error:  # nobody waits for this task: the cards would wait for ever
            bug = ImagesmithError(
                f"what the process that reads the image says is not understood: {error!r}",
                hint="this is a bug: please report it",
            )
            bug.__cause__ = error
            self._fail(bug)

    def _require_all(self, delivered: Delivered) -> None:
        """What has no digest is never compared with the card: raise ImagesmithError where anything has none."""
        wanted = ((0, delivered.size, ""),) if self._wanted.everything else self._wanted.spans
        asked = Written((offset, size) for offset, size, _ in wanted if size).places
        found = Written((one.offset, one.size) for one in self.digests).places
        if found != asked:
            raise ImagesmithError(
                f"not all that was to be delivered was digested: {told(found) or 'nothing'} instead of"
                f" {told(asked) or 'nothing'}",
                hint="this is a bug: please report it",
            )

    def memory(self, batch: Batch) -> memoryview:
        """Where the batch's bytes lie until it is taken."""
        return self._feed.ring.slot(batch.slot)

    def taken(self, batch: Batch) -> None:
        """A card is done with the batch."""
        self._left[batch.slot] -= 1
        if not self._left[batch.slot]:
            self._feed.free(batch.slot)

    def leave(self, taker: Inbox) -> None:
        """A card takes no part any more; what it did not take is no longer kept for it."""
        for batch in taker.close():
            self.taken(batch)

    def _hand_out(self, batch: Batch) -> None:
        takers = [taker for taker in self._takers if taker.open]
        self._left[batch.slot] = len(takers)
        for taker in takers:
            taker.put(batch)
        if not takers:
            self._feed.free(batch.slot)

    def _fail(self, error: ImagesmithError) -> None:
        self._end(error)
        self.outcome.set_exception(error)

    def _end(self, error: ImagesmithError | None) -> None:
        for taker in self._takers:
            # Each card says of its own state in the error, so each has its own.
            taker.put(error and _copy(error))


@contextlib.asynccontextmanager
async def delivered_to_one(feed: Feed, wanted: Deliver) -> AsyncIterator[AsyncIterator[Batch]]:
    """A pass for one taker: its batches, each given back when the next one is asked for.

    Left early for an error, the rest passes unused, so that the feed can be asked again.
    """
    inbox = Inbox()
    delivery = Delivery(feed, wanted, [inbox])
    pump = asyncio.create_task(delivery.run())

    async def batches() -> AsyncGenerator[Batch, None]:
        async for batch in inbox.batches():
            try:
                yield batch
            finally:
                delivery.taken(batch)

    coming = batches()
    try:
        yield coming
    except asyncio.CancelledError:
        pump.cancel()
        raise
    finally:
        await coming.aclose()
        delivery.leave(inbox)
        if not pump.cancelled():
            await pump


def _copy(error: ImagesmithError) -> ImagesmithError:
    hint = f"The card is not at fault. {error.hint}".strip()
    twin = type(error)(error.what, where=error.where, hint=hint)
    twin.context = list(error.context)
    return twin
