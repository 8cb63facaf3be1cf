"""Slots go round however few they are, however large what one thread decodes, and in whatever order they are freed."""

from __future__ import annotations

import hashlib
import os
import queue
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from imagesmith.messages import Batch, Deliver, Digested
from imagesmith.ring import SLOT, Ring
from imagesmith.sources.feed_digests import InOrder, Promises, Runs
from imagesmith.sources.feed_slots import Filler, Slots, Stopped
from imagesmith.sources.wanted import Wanted
from imagesmith.units import KiB, MiB


class Delivery:
    """Threads that fill blocks of an image in any order, the digests behind them, and a conductor that frees slots."""

    def __init__(self, image: bytes, order: Deliver, slots: int, chance: random.Random) -> None:
        self.image = image
        self.got = bytearray(len(image))
        self.digested: list[Digested] = []
        self._chance = chance
        self._over = False
        self._ring = Ring.made(slots)
        self._sent: queue.Queue[Batch] = queue.Queue()
        self.slots = Slots(self._ring, self._hear)
        self.wanted = Wanted(order)
        self.slots.open(2)
        self.promises = Promises(order, self.wanted, "image")
        followers = (Runs(order, "image", self._hear), self.promises)
        self._digests = [InOrder(self.slots, number, self.wanted, each) for number, each in enumerate(followers)]

    def _hear(self, message: object) -> None:
        if isinstance(message, Digested):
            self.digested.append(message)
        elif isinstance(message, Batch):
            self._sent.put(message)

    def _conduct(self) -> None:
        held: list[int] = []
        while not self._over or not self._sent.empty():
            try:
                batch = self._sent.get(timeout=0.01)
            except queue.Empty:
                batch = None  # nothing comes unless one is freed
            if batch:
                for offset, at, size in batch.pieces:
                    self.got[offset : offset + size] = self._ring.slot(batch.slot)[at : at + size]
                held.append(batch.slot)
            if held and (not batch or self._chance.random() < 0.5):
                slot = held.pop(self._chance.randrange(len(held)))
                self.slots.freed(slot)

    def _fill(self, blocks: list[tuple[int, int]], pause: Callable[[], float]) -> None:
        try:
            while True:
                with Filler(self.slots, self.wanted) as filler:
                    if filler.rank >= len(blocks):
                        return
                    start, end = blocks[filler.rank]
                    for at in range(start, end, MiB):
                        time.sleep(pause())
                        filler.put(at, self.image[at : min(at + MiB, end)])
        except Stopped:
            pass

    def run(self, block: int, threads: int) -> None:
        blocks = [(at, min(at + block, len(self.image))) for at in range(0, len(self.image), block)]
        fillers = [
            # Some threads are far slower than others, and not always the same.
            threading.Thread(target=self._fill, args=(blocks, lambda: self._chance.choice((0, 0, 0.004))), daemon=True)
            for _ in range(threads)
        ]
        conductor = threading.Thread(target=self._conduct, daemon=True)
        for thread in (conductor, *fillers, *self._digests):
            thread.start()
        for thread in fillers:
            thread.join(20)
            assert not thread.is_alive(), "stands still"
        self.slots.ended()
        self._over = True
        for thread in (conductor, *self._digests):
            thread.join(20)
            assert not thread.is_alive(), "stands still"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("slots", "block", "threads"), [(4, 9 * MiB, 5), (2, 13 * MiB, 3), (5, 30 * MiB, 2), (4, 300 * KiB, 8)]
)
def test_nothing_stands_still_however_few_slots(slots: int, block: int, threads: int, seed: int) -> None:
    chance = random.Random(seed)
    image = os.urandom(47 * MiB + 123)
    block = block // 4096 * 4096
    delivery = Delivery(image, Deliver(everything=True, step=3 * MiB), slots, chance)
    delivery.run(block, threads)
    assert delivery.got == image
    assert delivery.promises.whole() == hashlib.sha256(image).hexdigest()
    assert [said.offset for said in delivery.digested] == list(range(0, len(image), 3 * MiB))
    delivery.slots.stop()


def test_the_last_free_slot_is_kept_for_the_lowest_rank() -> None:
    slots = Slots(Ring.made(2), lambda message: None)
    slots.open(0)
    low, high = slots.begin(), slots.begin()
    first = slots.take(high)

    def take_more() -> None:
        with suppress(Stopped):
            slots.take(high)

    late = threading.Thread(target=take_more, daemon=True)
    late.start()
    late.join(0.2)
    assert late.is_alive()
    assert slots.take(low) != first
    slots.stop()
    late.join(5)
    assert not late.is_alive()


def test_a_rank_that_ends_makes_the_next_one_the_lowest() -> None:
    slots = Slots(Ring.made(1), lambda message: None)
    slots.open(0)
    low, high = slots.begin(), slots.begin()
    taken: list[int] = []
    waiting = threading.Thread(target=lambda: taken.append(slots.take(high)), daemon=True)
    waiting.start()
    waiting.join(0.2)
    assert not taken
    slots.end(low)
    waiting.join(5)
    assert taken == [0]


def test_a_slot_is_not_used_again_before_its_digest_and_its_free() -> None:
    image = os.urandom(SLOT)
    wanted = Wanted(Deliver(spans=((0, SLOT, ""),)))
    slots = Slots(Ring.made(1), lambda message: None)
    slots.open(1)
    with Filler(slots, wanted) as filler:
        filler.put(0, image)
    rank = slots.begin()
    taken: list[int] = []
    waiting = threading.Thread(target=lambda: taken.append(slots.take(rank)), daemon=True)
    waiting.start()
    slots.freed(0)
    waiting.join(0.2)
    assert not taken
    piece = slots.next(0, 0)
    assert piece and bytes(piece[1]) == image
    slots.passed(0)
    waiting.join(5)
    assert taken == [0]
