"""An .xz file with an index as an image: only the blocks that hold something wanted are decoded, in several threads.

Each thread puts what it decodes straight into slots. Called by `feed_content`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from imagesmith.errors import ContentMalformed
from imagesmith.ring import SLOT
from imagesmith.sources.content import Format
from imagesmith.sources.decoders import xz_pieces
from imagesmith.sources.feed_file import File
from imagesmith.sources.feed_slots import GRAIN, Filler, Slots, Stopped
from imagesmith.sources.wanted import Wanted, check_reach
from imagesmith.sources.xz_blocks import Block, NoFooter, NotIndexed, as_stream, blocks_of
from imagesmith.sources.xz_parallel import memory_of_one, workers_for

Task = list[Block]
"""Blocks that one thread decodes one after the other."""


class XzBlocks:
    """Made by `indexed`."""

    format: Format = "xz"
    again = True

    def __init__(self, file: File, blocks: Sequence[Block], workers: int, memory: int) -> None:
        self.memory = workers * memory_of_one(file.descriptor, blocks)
        self._file = file
        self._blocks = blocks
        self._workers = workers
        self._memory = memory // workers
        self.size = sum(block.raw_size for block in blocks)

    def head(self, most: int) -> bytes:
        found = b""
        for block in self._blocks:
            for _, piece in self._decoded(block):
                found += piece[: most - len(found)]
                if len(found) == most:
                    return found
        return found

    def deliver(self, wanted: Wanted, slots: Slots) -> int:
        check_reach(wanted, self.size, self._file.name)
        tasks = tasks_of(self._blocks, wanted)
        others = [
            threading.Thread(target=self._work, args=(tasks, wanted, slots), name=f"xz-{number}", daemon=True)
            for number in range(1, min(self._workers, len(tasks)))
        ]
        for thread in others:
            thread.start()
        self._work(tasks, wanted, slots)
        for thread in others:
            thread.join()
        slots.check()
        self._file.check()
        return self.size

    def _work(self, tasks: Sequence[Task], wanted: Wanted, slots: Slots) -> None:
        """Do tasks until there are none left: the rank that a filler gets is the number of its task."""
        try:
            while True:
                with Filler(slots, wanted) as filler:
                    if filler.rank >= len(tasks):
                        return
                    for block in tasks[filler.rank]:
                        self._deliver_block(block, wanted, slots, filler)
        except Stopped:
            pass
        except BaseException as error:
            slots.stop(error)

    def _deliver_block(self, block: Block, wanted: Wanted, slots: Slots, filler: Filler) -> None:
        last = max(end for _, end in wanted.within(block.raw_offset, block.raw_offset + block.raw_size))
        for offset, piece in self._decoded(block):
            slots.check()
            filler.put(offset, piece)
            # What is behind is free space. The block's own check stands at its end, but each wanted byte has a digest.
            if wanted.promised and offset + len(piece) >= last:
                return

    def _decoded(self, block: Block) -> Iterator[tuple[int, bytes]]:
        """Pieces of a block and where they belong. Raises ContentMalformed; IOFailed when the file became shorter."""
        done = 0
        try:
            for piece in xz_pieces(as_stream(self._file.descriptor, block), self._memory):
                if done + len(piece) > block.raw_size:
                    break
                yield block.raw_offset + done, piece
                done += len(piece)
            if done != block.raw_size:
                raise ContentMalformed(
                    "the xz data does not have the size that its index promises", hint="fetch or copy it again"
                )
        except ContentMalformed:
            self._file.check_unchanged()
            raise


def indexed(file: File, memory: int) -> XzBlocks | None:
    """The file by its index; None when that is of no use, and the file must be read from its beginning.

    Raises ContentMalformed when that would find it cut short: better before a card is touched.
    """
    try:
        blocks = [block for block in blocks_of(file.descriptor, file.size) if block.raw_size]
        workers = workers_for(file.descriptor, blocks, memory)
    except NoFooter:
        raise ContentMalformed(
            "the xz data has no end: it was truncated, or something else follows the end of the xz data",
            where=file.name,
            hint="fetch or copy it again",
        ) from None
    except NotIndexed:
        return None
    return XzBlocks(file, blocks, workers, memory) if workers else None


def tasks_of(blocks: Sequence[Block], wanted: Wanted) -> list[Task]:
    """The blocks that hold something wanted, small ones together.

    A task ends where no page of the image is torn: a card is written in whole ones.
    """
    tasks: list[Task] = []
    end = -1
    for block in blocks:
        if not any(wanted.within(block.raw_offset, block.raw_offset + block.raw_size)):
            continue
        small = tasks and sum(held.raw_size for held in tasks[-1]) < SLOT
        torn = block.raw_offset == end and end % GRAIN and not wanted.begins_at(end)
        if tasks and (small or torn):
            tasks[-1].append(block)
        else:
            tasks.append([block])
        end = block.raw_offset + block.raw_size
    return tasks
