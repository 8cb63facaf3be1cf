"""Where a raw image is expanded to: zero runs become holes, a second thread digests what is written, in order."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from types import TracebackType

from imagesmith.disk import extents
from imagesmith.model import Digest
from imagesmith.sources.disk import CHUNK, failures, feed_zeros

RUN = 4096
"""Zero runs of this size, at multiples of it, are not written."""
_ZERO_RUN = bytes(RUN)
_ZERO_STRETCH = bytes(16 * RUN)


class SparseTarget:
    """A fresh file that any thread may write at any place; leaves a hole where nothing but zeros was written.

    Its digest is made in a thread of its own, which reads behind the writers out of the page cache.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with failures(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            self._descriptor = os.open(path, flags, 0o600)
        self._digest = _TailDigest(self._descriptor, path)

    def __enter__(self) -> SparseTarget:
        self._digest.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._digest.abandon()
        os.close(self._descriptor)

    def write_at(self, offset: int, data: bytes) -> None:
        """Write `data`, all but its zero runs. Places must be written once only."""
        view = memoryview(data)
        with failures(self.path):
            for start, end in _filled(data, offset):
                while start < end:
                    start += os.pwrite(self._descriptor, view[start:end], offset + start)

    def written_up_to(self, offset: int) -> None:
        """Everything before `offset` is final: it may be digested."""
        self._digest.advance(offset)

    def head(self, size: int) -> bytes:
        """The first bytes as they stand in the file."""
        return os.pread(self._descriptor, size, 0)

    def digested(self) -> int:
        """How far the digest has come, in bytes."""
        return self._digest.done

    def finish(self, size: int) -> Digest:
        """Give the file its true size, wait for the digest and return it."""
        with failures(self.path):
            os.ftruncate(self._descriptor, size)
        return self._digest.finish(size)


def _filled(data: bytes, offset: int) -> list[tuple[int, int]]:
    """Stretches of `data` that are not all zero, cut where the file has multiples of RUN."""
    found: list[tuple[int, int]] = []
    position, size = 0, len(data)
    while position < size:
        if data.startswith(_ZERO_STRETCH, position) and not (offset + position) % RUN:
            position += len(_ZERO_STRETCH)
            continue
        end = min(size, position + RUN - (offset + position) % RUN)
        if not data.startswith(_ZERO_RUN[: end - position], position):
            if found and found[-1][1] == position:
                found[-1] = (found[-1][0], end)
            else:
                found.append((position, end))
        position = end
    return found


class _TailDigest(threading.Thread):
    """Digests a growing file from its start up to where it is told that everything is written."""

    def __init__(self, descriptor: int, path: Path) -> None:
        super().__init__(name="digest", daemon=True)
        self._descriptor = descriptor
        self._path = path
        self._hash = hashlib.sha256()
        self._news = threading.Condition()
        self._final = 0
        self._ended = False
        self._failure: BaseException | None = None
        self.done = 0

    def run(self) -> None:
        try:
            with failures(self._path, "reading back"):
                while (final := self._wait()) > self.done:
                    self._digest_up_to(final)
        except BaseException as error:
            self._failure = error

    def _wait(self) -> int:
        with self._news:
            # A few pieces at a time, so that this thread wakes seldom.
            while not self._ended and self._final - self.done < 4 * CHUNK:
                self._news.wait()
            return self._final

    def _digest_up_to(self, final: int) -> None:
        for start, end in extents(self._descriptor, 0, final):
            if end <= self.done:
                continue
            if start > self.done:
                feed_zeros(self._hash.update, start - self.done)
                self.done = start
            while self.done < end:
                data = os.pread(self._descriptor, min(CHUNK, end - self.done), self.done)
                self._hash.update(data)
                self.done += len(data)
        if final > self.done:
            feed_zeros(self._hash.update, final - self.done)
            self.done = final

    def advance(self, offset: int) -> None:
        with self._news:
            if offset > self._final:
                self._final = offset
                self._news.notify()

    def finish(self, size: int) -> Digest:
        self.advance(size)
        self._end()
        if self._failure:
            raise self._failure
        return Digest("sha256", self._hash.hexdigest())

    def abandon(self) -> None:
        with self._news:
            self._final = min(self._final, self.done)
        if self.is_alive():
            self._end()

    def _end(self) -> None:
        with self._news:
            self._ended = True
            self._news.notify()
        self.join()
