"""One pass over an image: a feeder that leaves something undigested is not believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from imagesmith.errors import ImagesmithError
from imagesmith.flash.delivery import Delivery, Inbox
from imagesmith.messages import Deliver, Delivered, Digested


class Says:
    """A feed that says what it is given."""

    def __init__(self, places: Sequence[tuple[int, int]], size: int) -> None:
        self._messages = [*(Digested(offset, length, "aa") for offset, length in places), Delivered(size)]

    async def deliver(self, wanted: Deliver) -> AsyncIterator[Digested | Delivered]:
        for message in self._messages:
            yield message


def outcome(wanted: Deliver, places: Sequence[tuple[int, int]], size: int) -> Delivered:
    async def run() -> Delivered:
        inbox = Inbox()
        delivery = Delivery(Says(places, size), wanted, [inbox])  # type: ignore[arg-type]
        await delivery.run()
        async for _ in inbox.batches():
            pass
        return await delivery.outcome

    return asyncio.run(run())


SPANS = Deliver(spans=((0, 8192, ""), (20480, 4096, "bb")))
EVERYTHING = Deliver(everything=True)


def test_digests_of_all_that_was_asked_for_are_taken_however_they_are_cut() -> None:
    assert outcome(SPANS, [(0, 4096), (4096, 4096), (20480, 4096)], 0).size == 0
    assert outcome(EVERYTHING, [(0, 4096), (4096, 100)], 4196).size == 4196
    assert outcome(Deliver(), [], 4096).size == 4096


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        (SPANS, [(0, 8192)]),
        (SPANS, [(0, 4096), (20480, 4096)]),
        (SPANS, [(0, 8192), (20480, 4095)]),
        (SPANS, [(0, 8192), (24576, 4096)]),
        (SPANS, []),
        (EVERYTHING, [(0, 4096)]),
        (EVERYTHING, [(4096, 4096)]),
        (EVERYTHING, []),
    ],
)
def test_a_byte_without_a_digest_is_told_as_a_bug(wanted: Deliver, places: list[tuple[int, int]]) -> None:
    with pytest.raises(ImagesmithError, match="not all that was to be delivered was digested") as caught:
        outcome(wanted, places, 8192)
    assert "bug" in caught.value.hint


def test_what_is_not_understood_ends_the_pass_and_is_told_as_a_bug() -> None:
    class Babbles(Says):
        async def deliver(self, wanted: Deliver) -> AsyncIterator[Digested | Delivered]:
            yield Digested(0, 4096, "aa")
            raise ValueError("a line without an end")

    async def run() -> None:
        inbox = Inbox()
        delivery = Delivery(Babbles([], 0), EVERYTHING, [inbox])  # type: ignore[arg-type]
        await delivery.run()
        with pytest.raises(ImagesmithError, match="not understood: ValueError") as caught:
            async for _ in inbox.batches():
                pass
        assert "bug" in caught.value.hint

    asyncio.run(asyncio.wait_for(run(), 5))
