"""Decodes the blocks of an .xz file in several threads, each writing where its block belongs.

Nothing but the decoders' dictionaries is held in memory (no block is, whatever its size), so the number of threads
follows from the dictionary and the budget. liblzma lets go of the interpreter's lock while it decodes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from imagesmith.errors import ContentMalformed
from imagesmith.events import Listener, Progress
from imagesmith.sources.decoders import PIECE, xz_pieces
from imagesmith.sources.sparse import SparseTarget
from imagesmith.sources.xz_blocks import Block, as_stream, dictionary_of
from imagesmith.units import MiB

_PER_WORKER = 2 * PIECE + MiB
"""Beside the dictionary: pieces on their way, and liblzma's own tables."""
_SAMPLES = 64


def workers_for(descriptor: int, blocks: Sequence[Block], memory: int) -> int:
    """How many threads are worth it and fit `memory` bytes; 1 or 0 = decode serially. Raises NotIndexed."""
    if len(blocks) < 2:
        return len(blocks)
    fitting = memory // memory_of_one(descriptor, blocks)
    return min(fitting, len(os.sched_getaffinity(0)), len(blocks))


def memory_of_one(descriptor: int, blocks: Sequence[Block]) -> int:
    """Bytes that one thread takes. Raises NotIndexed."""
    step = max(1, len(blocks) // _SAMPLES)
    return max(dictionary_of(descriptor, block) for block in blocks[::step]) + _PER_WORKER


def expand_blocks(
    descriptor: int, blocks: Sequence[Block], out: SparseTarget, workers: int, memory: int, listener: Listener
) -> int:
    """Decode all blocks into `out`; returns the raw size. Raises what a decoder or the disk complained first."""
    crew = _Crew(descriptor, blocks, out, memory // workers)
    threads = [threading.Thread(target=crew.work, name=f"xz-{number}", daemon=True) for number in range(workers)]
    total = blocks[-1].raw_offset + blocks[-1].raw_size
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            threads[0].join(0.2) if threads[0].is_alive() else threads[-1].join(0.2)
            listener(Progress("expand", crew.frontier, total))
    finally:
        crew.stop()  # after Ctrl-C; a no-op otherwise
        for thread in threads:
            thread.join()
    if crew.failure:
        raise crew.failure
    return total


class _Crew:
    """The threads' shared state: the next block to take, and up to where everything is written."""

    def __init__(self, descriptor: int, blocks: Sequence[Block], out: SparseTarget, memory: int) -> None:
        self._descriptor = descriptor
        self._blocks = blocks
        self._out = out
        self._memory = memory
        self._lock = threading.Lock()
        self._next = 0
        self._first_open = 0
        self._done = [0] * len(blocks)
        self.frontier = 0
        self.failure: BaseException | None = None

    def work(self) -> None:
        try:
            while (number := self._take()) is not None:
                self._decode(number)
        except BaseException as error:
            self.stop(error)

    def stop(self, failure: BaseException | None = None) -> None:
        with self._lock:
            self._next = len(self._blocks)
            self.failure = self.failure or failure

    def _take(self) -> int | None:
        with self._lock:
            if self._next >= len(self._blocks):
                return None
            self._next += 1
            return self._next - 1

    def _decode(self, number: int) -> None:
        block = self._blocks[number]
        done = 0
        for piece in xz_pieces(as_stream(self._descriptor, block), self._memory):
            if self._next >= len(self._blocks) and self.failure:
                return
            if done + len(piece) > block.raw_size:
                break  # liblzma would say so at the block's end; no other block's bytes may be overwritten
            self._out.write_at(block.raw_offset + done, piece)
            done += len(piece)
            self._report(number, done)
        if done != block.raw_size:
            raise ContentMalformed("the xz data does not have the size that its index promises")

    def _report(self, number: int, done: int) -> None:
        with self._lock:
            self._done[number] = done
            while self._first_open < len(self._blocks):
                block = self._blocks[self._first_open]
                if self._done[self._first_open] < block.raw_size:
                    self.frontier = block.raw_offset + self._done[self._first_open]
                    break
                self._first_open += 1
                self.frontier = block.raw_offset + block.raw_size
        self._out.written_up_to(self.frontier)
