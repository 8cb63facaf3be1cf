"""Which cards are written at once and which wait for their turn, so that memory stays what is promised.

Called by `workflow.flash`. Starts feeders, and has `flash.conduct` write the cards. The promise is 256 MiB for all
processes together, whatever the number of images and cards: what runs at once is what fits; the rest begins when
something of it is through. An image that waits is open all the while, so it is the file that was looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from imagesmith.errors import ImagesmithError, Interrupted, IOFailed, UsageError
from imagesmith.events import Listener, Noted
from imagesmith.flash import verdict
from imagesmith.flash.cards import Patience
from imagesmith.flash.conduct import Stopped, write_cards
from imagesmith.flash.feed import Feed, Source
from imagesmith.flash.writing import Errand, Receipt
from imagesmith.ring import SLOT
from imagesmith.units import MiB
from imagesmith.workflow.crew import Team
from imagesmith.workflow.source import Opened

# As measured (bench: flash), in proportional set sizes, rounded up.
_BUDGET = 248 * MiB
"""Of the 256 MiB; what is left is for what is not foreseen."""
_ALWAYS = 32 * MiB
"""The conductor, and the process that card writers are forked from."""
_LOOKED_AT = MiB * 3 // 2
"""Of every image: its head and map, in the conductor, from the look until the end."""
_FEEDER = 13 * MiB
"""Without the ring and what unpacking takes."""
_CARD = 10 * MiB
"""Its writer with a buffer, its own slot as far as it is used, and its head in the conductor."""
_PARTING_S = 0.5
_GLANCE_S = 0.01

Result = Receipt | ImagesmithError
_T = TypeVar("_T")


def room_for(images: int) -> int:
    """Bytes that feeders and card writers may use together, in a command with so many images."""
    return _BUDGET - _ALWAYS - images * _LOOKED_AT


class Room:
    """Memory for those who write at once."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._left = size
        self._inside = 0
        self._line = asyncio.Lock()
        self._news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[list[int]]:
        """Wait until `size` bytes are free, or nobody else is here; who came first is first.

        Into the list goes what stays in use after the block.
        """
        async with self._line:
            while self._inside and size > self._left:
                self._news.clear()
                await self._news.wait()
            self._inside += 1
            self._left -= size
        stays: list[int] = []
        try:
            yield stays
        finally:
            self._inside -= 1
            self._left += size - sum(stays)
            self._news.set()


class Fed:
    """An image that was looked at, and its feeder: one that is kept, or begun again when its turn comes."""

    def __init__(self, source: Opened, seen: Source, feed: Feed, team: Team) -> None:
        self.source = source
        self.seen = seen
        self.team = team
        self._version = source.version
        self._feed: Feed | None = feed
        self._ending = contextlib.ExitStack()
        self.feeding = _FEEDER + team.ring.count * SLOT + seen.looked.memory
        """Bytes that its feeder takes."""

    @property
    def again(self) -> bool:
        return self.seen.looked.again

    def rest(self) -> None:
        """End the feeder, and give its memory back."""
        if self._feed:
            self._feed.close()
            self._feed = None
        self._ending.close()
        self.team.ring.empty()

    async def feed(self) -> Feed:
        """Raises what the feeder says, and IOFailed when the image is not what was looked at."""
        if self._feed:
            return self._feed
        self._feed = self._ending.enter_context(self.team.feed(self.source.descriptors))
        found = await self._feed.look(self.source.look)
        if (self.source.version, found) != (self._version, self.seen):
            raise IOFailed(
                "the image was written to while it waited for its turn",
                where=self.source.look.name,
                hint="do not build into it while it is flashed",
            )
        return self._feed


@dataclass(frozen=True, slots=True)
class Work:
    """An image, the cards that get it, and who hears of it."""

    fed: Fed
    errands: Sequence[Errand]
    listener: Listener


def rest_if_late(looked_at: Sequence[Fed], number: int) -> None:
    """End the last one's feeder where it is not among the first of `number` images to be written."""
    last = looked_at[-1]
    if len(looked_at) > 1 and sum(one.feeding + _CARD for one in looked_at) > room_for(number):
        last.rest()


def tell(works: Sequence[tuple[Fed, int]], listener: Listener) -> None:
    """Say who waits, before anything is asked; each image with the number of its cards.

    Raises UsageError where more cards than fit shall get what comes only once.
    """
    room = room_for(len(works))
    if len(works) == 1:
        ((fed, cards),) = works
        first = len(next(iter(_shares(range(cards), _most(fed, room)))))
        if first < cards and not fed.again:
            raise UsageError(
                f"{fed.source.look.name} can be read only once, and for {cards} cards at once memory is short",
                hint=f"save it to a file, then flash that; or name at most {_most(fed, room)} cards",
            )
        if first < cards:
            listener(Noted(f"{first} of {cards} cards are written at a time, for memory's sake; the others wait"))
        return
    first = 0
    for fed, cards in works:
        room -= fed.feeding + cards * _CARD
        if room < 0:
            break
        first += 1
    if first < len(works):
        most = max(1, first)
        listener(Noted(f"{most} of {len(works)} images are written at a time, for memory's sake; the others wait"))


async def in_turns(work: Work, room: Room, patience: Patience) -> list[Result]:
    """What became of the cards of one image, in their order. Cancelled (Ctrl-C), raises Stopped, telling of each."""
    results: list[Result] = []
    try:
        for errands in _shares(work.errands, _most(work.fed, room.size)):
            async with room.taken(work.fed.feeding + len(errands) * _CARD) as stays:
                done = await _written(work, errands, patience)
                results += done
                if len(results) == len(work.errands) or not any(isinstance(one, Receipt) for one in done):
                    work.fed.rest()
                stays += [_CARD] * await _stuck(errands)
    except (asyncio.CancelledError, Stopped) as stop:
        results += stop.results if isinstance(stop, Stopped) else ()
        paths = [errand.card.path for errand in work.errands]
        results += [Interrupted("stopped by you", where=path, hint=verdict.UNTOUCHED) for path in paths[len(results) :]]
        raise Stopped(paths, results) from None
    return results


async def _written(work: Work, errands: Sequence[Errand], patience: Patience) -> list[Result]:
    try:
        feed = await work.fed.feed()
    except ImagesmithError as error:
        return _untouched(error, len(errands))
    except OSError as error:  # what was written of other images must be told all the same
        what = f"the process that reads the image can't be started: {error.strerror or error}"
        unfed = IOFailed(what, where=work.fed.source.look.name, hint="is memory short? Flash fewer cards at once")
        return _untouched(unfed, len(errands))
    return await write_cards(errands, feed, again=work.fed.again, listener=work.listener, patience=patience)


def _untouched(error: ImagesmithError, cards: int) -> list[Result]:
    """One for each card, since each is told by itself."""
    hint = f"{verdict.UNTOUCHED}. {error.hint}".rstrip(" .")
    return [type(error)(error.what, where=error.where, hint=hint) for _ in range(cards)]


async def _stuck(errands: Sequence[Errand]) -> int:
    """How many writers are still there, a moment after they were left; their memory is then not free."""
    until = time.monotonic() + _PARTING_S
    while (left := sum(not errand.card.is_gone() for errand in errands)) and time.monotonic() < until:
        await asyncio.sleep(_GLANCE_S)
    return left


def _most(fed: Fed, room: int) -> int:
    """Cards of one image at once."""
    return max(1, (room - fed.feeding) // _CARD)


def _shares(all_of_them: Sequence[_T], most: int) -> Iterator[Sequence[_T]]:
    """As few as will do, of about the same number."""
    count = -(-len(all_of_them) // most)
    for number in range(count):
        yield all_of_them[number * len(all_of_them) // count : (number + 1) * len(all_of_them) // count]
