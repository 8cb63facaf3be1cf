"""Sealing a finished image: its digest, its block map and its compressed form, in one pass over its bytes.

Called by `workflow.build`. One thread reads; digesting the whole, digesting the mapped ranges and compressing each
have a thread of their own. Holes are not read. Memory does not depend on the image's size.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from imagesmith.disk import extents, failures
from imagesmith.errors import IOFailed
from imagesmith.events import Listener, Progress, unheard
from imagesmith.model import BlockMap, Digest, MappedRange
from imagesmith.output.pack import Compression, packer
from imagesmith.units import KiB, MiB

BLOCK = 4 * KiB
_LARGEST_RANGE = 64 * MiB
"""Longer ranges are cut, so that a wrong digest says where on the card the fault is."""
_PIECE = 2 * MiB
_AHEAD = 6
"""How many pieces may wait for each thread."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What there is to know of a sealed image. `packed_digest` is None when nothing was packed."""

    size: int
    digest: Digest
    block_map: BlockMap
    packed_digest: Digest | None


def seal(
    raw_path: Path,
    ranges: Sequence[tuple[int, int]],
    *,
    compress: Compression,
    packed: Path | None = None,
    listener: Listener = unheard,
) -> Sealed:
    """Digest, map and pack the image at `raw_path`; the image is only read.

    `ranges` are the bytes in use as (start, end), in order, apart, on multiples of BLOCK but for the image's end:
    as `image.allocation.used_ranges` gives them. `packed` is a new file, needed unless `compress` is `none`.
    Emits Progress of step `seal`. Raises NoSpace, IOFailed, ToolMissing; ValueError on ranges that are otherwise.
    """
    with failures(raw_path, "opening the image"):
        descriptor = os.open(raw_path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        cut = list(_cut(ranges, size))
        if (packed is None) != (compress == "none"):
            raise ValueError("a packed file is named if and only if there is compression")
        packing = packer(compress, packed, size) if packed else None
        whole, mapped = hashlib.sha256(), _RangeDigests(cut)
        try:
            with _Threads([lambda at, data: whole.update(data), mapped.feed]) as threads:
                if packing:
                    feed = packing.feed
                    threads.add(lambda at, data: feed(data))
                for at, data in _pieces(descriptor, raw_path, size):
                    threads.give(at, data)
                    listener(Progress("seal", at + len(data), size))
            packed_digest = packing.finish() if packing else None
        except BaseException:
            if packing:
                packing.abandon()
            raise
    finally:
        os.close(descriptor)
    block_map = BlockMap(size, BLOCK, tuple(mapped.finish()))
    return Sealed(size, Digest("sha256", whole.hexdigest()), block_map, packed_digest)


def _cut(ranges: Sequence[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    before = 0
    for start, end in ranges:
        if not before <= start < end <= size or start % BLOCK or (end % BLOCK and end != size):
            raise ValueError(f"range {start} to {end} of an image of {size} bytes is out of order or not aligned")
        before = end
        for first in range(start, end, _LARGEST_RANGE):
            yield first, min(first + _LARGEST_RANGE, end)


def _pieces(descriptor: int, path: Path, size: int) -> Iterator[tuple[int, memoryview]]:
    """The image from start to end as (offset, bytes); holes come as zeros that were not read."""
    zeros = memoryview(bytes(_PIECE))
    at = 0
    with failures(path, "reading the image"):
        for start, end in [*extents(descriptor, 0, size), (size, size)]:
            while at < start:
                count = min(_PIECE, start - at)
                yield at, zeros[:count]
                at += count
            while at < end:
                data = os.pread(descriptor, min(_PIECE, end - at), at)
                if not data:
                    raise IOFailed(f"it became shorter while it was read, at byte {at}", where=str(path))
                yield at, memoryview(data)
                at += len(data)


class _RangeDigests:
    """The digests of many ranges, from bytes that come in order."""

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._ahead = list(reversed(ranges))
        self._hash = hashlib.sha256()
        self._done: list[MappedRange] = []

    def feed(self, at: int, data: memoryview) -> None:
        end = at + len(data)
        while self._ahead and self._ahead[-1][0] < end:
            first, last = self._ahead[-1]
            self._hash.update(data[max(first - at, 0) : min(last, end) - at])
            if last > end:
                return
            self._done.append(MappedRange(first // BLOCK, (last - 1) // BLOCK, self._hash.hexdigest()))
            self._hash = hashlib.sha256()
            self._ahead.pop()

    def finish(self) -> list[MappedRange]:
        return self._done


_Work = Callable[[int, memoryview], None]


class _Threads:
    """Threads that are all given the same pieces in order. Leaving the block waits for all and raises what failed."""

    def __init__(self, works: Sequence[_Work]) -> None:
        self._lanes: list[_Lane] = []
        for work in works:
            self.add(work)

    def add(self, work: _Work) -> None:
        self._lanes.append(_Lane(work))

    def give(self, at: int, data: memoryview) -> None:
        for lane in self._lanes:
            lane.give(at, data)

    def __enter__(self) -> _Threads:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for lane in self._lanes:
            lane.end(at_once=error is not None)
        if error is None:
            for lane in self._lanes:
                lane.complain()


class _Lane:
    """One thread and what waits for it."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._waiting: queue.Queue[tuple[int, memoryview] | None] = queue.Queue(_AHEAD)
        self._failure: BaseException | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="seal", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            if self._failure or self._stopped:
                continue  # the reader must never wait for a lane that has given up
            try:
                self._work(*item)
            except BaseException as error:
                self._failure = error

    def give(self, at: int, data: memoryview) -> None:
        self.complain()
        self._waiting.put((at, data))

    def end(self, *, at_once: bool) -> None:
        self._stopped = at_once
        self._waiting.put(None)
        self._thread.join()

    def complain(self) -> None:
        if self._failure:
            raise self._failure
