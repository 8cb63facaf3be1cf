"""The ring's slots while an image is delivered: threads fill them, digests pass over them, the conductor frees them.

A slot goes round: free -> taken by a thread that fills it -> sent (Batch) -> free again when the conductor has said
Free and every digest has passed its pieces. Digests want the image's order, threads that decode finish in any order;
nothing can stand still for ever because

- what a thread fills has a *rank*, and ranks rise with the place in the image;
- a thread holds at most one slot that is not sent, and sends it before it takes another or ends its rank;
- the last free slot is given to the lowest active rank only.

So the lowest rank always comes on: what it has sent lies before everything that is not digested yet, hence it is passed
and freed, and only that rank may take it. Called by `feeder` and what it delivers from.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType

from imagesmith.messages import Batch, Laid
from imagesmith.ring import SLOT, Ring
from imagesmith.sources.wanted import Wanted
from imagesmith.units import KiB, align_up

GRAIN = 4 * KiB
"""Pieces lie at multiples of this in their slot, for O_DIRECT."""


class Stopped(Exception):
    """The delivery ends here, since another thread failed or the conductor is gone."""


class Slots:
    """Every method may be called from any thread; those that wait raise Stopped after `stop`."""

    def __init__(self, ring: Ring, say: Callable[[object], None]) -> None:
        self._ring = ring
        self._say = say
        self._news = threading.Condition()
        self._free = deque(range(ring.count))
        self._held: set[int] = set()
        """Slots that were sent and not freed."""
        self._unpassed: dict[int, int] = {}
        """Of slots that were sent: how many times a digest has still to pass a piece."""
        self._ready: list[dict[int, tuple[int, Laid]]] = []
        """For each digest: pieces that it has not passed, by their offset in the image."""
        self._ranks = 0
        self._active: set[int] = set()
        self._ended = False
        self._stopped = False
        self.failure: BaseException | None = None
        """What the delivery failed with first."""

    def open(self, digests: int) -> None:
        """Begin a delivery over which that many digests go. Slots of an earlier one may still wait for their Free."""
        with self._news:
            self._ready = [{} for _ in range(digests)]
            self._ranks, self._ended = 0, False

    # -- threads that fill ------------------------------------------------------------------------

    def begin(self) -> int:
        """The next rank: 0, 1, 2 ... It is active until `end`."""
        with self._news:
            self._ranks += 1
            self._active.add(self._ranks - 1)
            return self._ranks - 1

    def end(self, rank: int) -> None:
        with self._news:
            self._active.discard(rank)
            self._news.notify_all()

    def take(self, rank: int) -> int:
        """A free slot, waiting for one."""
        with self._news:
            while not self._may_take(rank):
                self._news.wait()
            return self._free.popleft()

    def _may_take(self, rank: int) -> bool:
        self.check()
        return len(self._free) > 1 or (len(self._free) == 1 and rank == min(self._active))

    def view(self, slot: int) -> memoryview:
        return self._ring.slot(slot)

    def send(self, slot: int, pieces: Sequence[Laid]) -> None:
        """Give a filled slot to the conductor and the digests."""
        with self._news:
            self.check()
            self._held.add(slot)
            self._unpassed[slot] = len(pieces) * len(self._ready)
        self._say(Batch(slot, tuple(pieces)))
        with self._news:
            for ready in self._ready:
                ready.update((piece[0], (slot, piece)) for piece in pieces)
            self._news.notify_all()

    def ended(self) -> None:
        """Everything of this delivery was sent."""
        with self._news:
            self._ended = True
            self._news.notify_all()

    # -- digests and the conductor ----------------------------------------------------------------

    def next(self, digest: int, offset: int) -> tuple[int, memoryview] | None:
        """The slot and bytes of the piece at `offset`, waiting for it; None when there is none any more."""
        with self._news:
            while offset not in self._ready[digest]:
                self.check()
                if self._ended:
                    return None
                self._news.wait()
            slot, (_, at, size) = self._ready[digest].pop(offset)
            return slot, self._ring.slot(slot)[at : at + size]

    def passed(self, slot: int) -> None:
        """A digest is through with one piece."""
        with self._news:
            self._unpassed[slot] -= 1
            self._reuse(slot)

    def freed(self, slot: int) -> None:
        """The conductor is through with it."""
        with self._news:
            self._held.remove(slot)
            self._reuse(slot)

    def _reuse(self, slot: int) -> None:
        if slot not in self._held and not self._unpassed[slot]:
            self._free.append(slot)
            self._news.notify_all()

    def stop(self, failure: BaseException | None = None) -> None:
        with self._news:
            self._stopped = True
            self.failure = self.failure or failure
            self._news.notify_all()

    def check(self) -> None:
        if self._stopped:
            raise Stopped


class Filler:
    """Packs wanted bytes, given in rising order, into slots; inside `with` it has a rank. For one thread."""

    def __init__(self, slots: Slots, wanted: Wanted) -> None:
        self._slots = slots
        self._wanted = wanted
        self._slot = -1
        self._pieces: list[Laid] = []
        self._used = 0
        self._next: tuple[int, int] = (0, 0)
        self.rank = slots.begin()

    def __enter__(self) -> Filler:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is None:
                self._send()
        finally:
            self._slots.end(self.rank)

    def room(self, offset: int, most: int) -> memoryview:
        """Where the image's bytes at `offset` go: at least one byte, at most `most`. Then call `filled`."""
        at = self._used if self._joins(offset) else align_up(self._used, GRAIN)
        if self._slot < 0 or at >= SLOT:
            self._send()
            self._slot, at = self._slots.take(self.rank), 0
        self._next = (offset, at)
        return self._slots.view(self._slot)[at : min(at + most, SLOT)]

    def filled(self, size: int) -> None:
        """So many bytes were put where `room` said."""
        offset, at = self._next
        if self._joins(offset):
            first, start, had = self._pieces[-1]
            self._pieces[-1] = (first, start, had + size)
        else:
            self._pieces.append((offset, at, size))
        self._used = at + size

    def put(self, offset: int, data: bytes) -> None:
        """Copy what is wanted of `data`, which belongs at `offset` of the image."""
        source = memoryview(data)
        for start, end in self._wanted.within(offset, offset + len(data)):
            while start < end:
                room = self.room(start, end - start)
                room[:] = source[start - offset : start - offset + len(room)]
                self.filled(len(room))
                start += len(room)

    def _joins(self, offset: int) -> bool:
        if not self._pieces or self._wanted.begins_at(offset):
            return False
        first, _, size = self._pieces[-1]
        return first + size == offset

    def _send(self) -> None:
        if self._slot >= 0 and self._pieces:
            self._slots.send(self._slot, self._pieces)
            self._slot, self._pieces, self._used = -1, [], 0
