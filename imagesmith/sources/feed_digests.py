"""Digests of what is delivered, in the image's order, each in a thread of its own behind the threads that fill slots.

`Runs` tells the conductor what every stretch is (Digested), `Promises` compares with what was promised of longer ones
and of the whole image. Called by `feeder`; hashlib lets go of the interpreter's lock.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from imagesmith.errors import DigestMismatch
from imagesmith.messages import Deliver, Digested, Promised
from imagesmith.model import Digest
from imagesmith.sources.feed_slots import Slots, Stopped
from imagesmith.sources.wanted import OPEN, Wanted


class Follower(Protocol):
    """Something that hears all delivered bytes in order."""

    def update(self, offset: int, data: memoryview) -> None: ...

    def border(self) -> None:
        """A segment ended: what follows must not be joined to it."""
        ...


class InOrder(threading.Thread):
    """Leads one follower over the segments; what it raises stops the delivery."""

    def __init__(self, slots: Slots, number: int, wanted: Wanted, follower: Follower) -> None:
        super().__init__(name=f"digest-{number}", daemon=True)
        self._slots = slots
        self._number = number
        self._wanted = wanted
        self._follower = follower

    def run(self) -> None:
        try:
            for start, end in self._wanted.segments:
                if not self._segment(start, end):
                    return
        except Stopped:
            pass
        except BaseException as error:
            self._slots.stop(error)

    def _segment(self, at: int, end: int) -> bool:
        """False when the image ended."""
        while at < end:
            piece = self._slots.next(self._number, at)
            if piece is None:
                self._follower.border()
                return False
            slot, data = piece
            self._follower.update(at, data)
            at += len(data)
            self._slots.passed(slot)
        self._follower.border()
        return True


class Runs:
    """Says Digested for each run: up to a segment's end, or `step` bytes. Checks the promises that are one run."""

    def __init__(self, order: Deliver, where: str, say: Callable[[object], None]) -> None:
        self._step = order.step or OPEN
        self._promised = {(offset, size): sha256 for offset, size, sha256 in order.spans if sha256}
        self._where = where
        self._say = say
        self._start = 0
        self._size = 0
        self._hash = hashlib.sha256()

    def update(self, offset: int, data: memoryview) -> None:
        while data:
            if not self._size:
                self._start, self._hash = offset, hashlib.sha256()
            part = data[: self._step - self._size]
            self._hash.update(part)
            self._size += len(part)
            offset, data = offset + len(part), data[len(part) :]
            if self._size == self._step:
                self.border()

    def border(self) -> None:
        if not self._size:
            return
        found = self._hash.hexdigest()
        _compare((self._start, self._size, self._promised.get((self._start, self._size), "")), found, self._where)
        self._say(Digested(self._start, self._size, found))
        self._size = 0


class Promises:
    """Digests spans whole, those longer than one run; or with `Deliver.everything` the whole image."""

    def __init__(self, order: Deliver, wanted: Wanted, where: str) -> None:
        self._where = where
        self._promised = order.digest
        self._spans = iter(((0, OPEN, ""),) if order.everything else several_runs(order, wanted))
        self._span: Promised = next(self._spans, (OPEN, 0, ""))
        self._hash = hashlib.sha256()
        self._other = hashlib.sha512() if order.digest.startswith("sha512:") else None

    def update(self, offset: int, data: memoryview) -> None:
        start, size, _ = self._span
        if offset < start:
            return
        self._hash.update(data)
        if self._other:
            self._other.update(data)
        if offset + len(data) == start + size:
            _compare(self._span, self._hash.hexdigest(), self._where)
            self._span, self._hash = next(self._spans, (OPEN, 0, "")), hashlib.sha256()

    def border(self) -> None:
        pass

    def whole(self) -> str:
        """The whole image's sha256. Raises DigestMismatch when another was promised; call it at the end."""
        found = self._hash.hexdigest()
        told = Digest("sha512", self._other.hexdigest()) if self._other else Digest("sha256", found)
        if self._promised and Digest.parse(self._promised) != told:
            raise DigestMismatch(
                f"the image is not the one that was promised: its digest is {told}, not {self._promised}",
                where=self._where,
                hint="fetch or copy the image again",
            )
        return found


def several_runs(order: Deliver, wanted: Wanted) -> Iterable[Promised]:
    """Spans with a promise that `Runs` can't check, since it digests them in parts."""
    for offset, size, sha256 in order.spans:
        cut = next(wanted.within(offset, offset + size), (0, 0)) != (offset, offset + size)
        if sha256 and size and (cut or 0 < order.step < size):
            yield offset, size, sha256


def _compare(promised: Promised, found: str, where: str) -> None:
    offset, size, sha256 = promised
    if sha256 and sha256 != found:
        raise DigestMismatch(
            f"the image file is damaged: bytes {offset}-{offset + size - 1} are not what its block map promises",
            where=where,
            hint="fetch or copy the image again, with its block map",
        )
