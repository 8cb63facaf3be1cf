"""Which cards fit into memory at once, who of the others comes first, and what is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagesmith.errors import IOFailed, UsageError
from imagesmith.events import Event, Noted, unheard
from imagesmith.flash import verdict
from imagesmith.flash.cards import PATIENT
from imagesmith.flash.feed import Feed, Source
from imagesmith.messages import Look, Looked
from imagesmith.ring import Ring
from imagesmith.units import MiB
from imagesmith.workflow.crew import Team
from imagesmith.workflow.source import Opened
from imagesmith.workflow.turns import Fed, Room, Work, in_turns, tell


class Unfed:
    """Stands for a feed that nobody asks."""

    def close(self) -> None: ...


def fed(*, memory: int = 0, again: bool = True) -> Fed:
    opened = Opened(Look("i.img"), Path("i.img"))
    seen = Source(opened.look, Looked("raw", 0, 0, again, memory), b"")
    return Fed(opened, seen, Unfed(), Team(Ring.made(4), ()))  # type: ignore[arg-type]


# -- who waits ------------------------------------------------------------------------------------


async def most_inside(sizes: list[int], room: int) -> int:
    """How many were inside at once; each stays for a while."""
    space = Room(room)
    inside: list[int] = []
    found: list[int] = []

    async def one(size: int) -> None:
        async with space.taken(size):
            inside.append(size)
            found.append(len(inside))
            await asyncio.sleep(0.01)
            inside.remove(size)

    await asyncio.gather(*(one(size) for size in sizes))
    assert len(found) == len(sizes)
    return max(found)


@pytest.mark.parametrize(("sizes", "most"), [([4, 4, 4, 4], 2), ([4, 7, 4], 1), ([99, 99], 1), ([3, 3, 3], 3)])
def test_those_are_inside_at_once_who_fit_and_one_always_is(sizes: list[int], most: int) -> None:
    assert asyncio.run(most_inside(sizes, 10)) == most


def test_what_stays_is_no_room_for_others() -> None:
    async def run() -> int:
        room = Room(10)
        async with room.taken(6) as stays:
            stays.append(6)
        async with room.taken(4):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05), room.taken(1):
                    return 2
            return 1

    assert asyncio.run(run()) == 1


def told(works: list[tuple[Fed, int]]) -> str:
    events: list[Event] = []
    tell(works, events.append)
    return "\n".join(event.message for event in events if isinstance(event, Noted))


def test_what_fits_is_not_spoken_of() -> None:
    assert told([(fed(), 16)]) == ""
    assert told([(fed(), 1)] * 4) == ""


def test_who_waits_is_told() -> None:
    assert "12 of 24 cards are written at a time" in told([(fed(), 24)])
    assert "of 12 images are written at a time" in told([(fed(), 1)] * 12)


def test_what_unpacking_takes_leaves_less_room() -> None:
    assert told([(fed(memory=128 * MiB), 1)]) == ""
    assert "1 of 2 images" in told([(fed(memory=128 * MiB), 1)] * 2)
    assert "cards are written at a time" in told([(fed(memory=128 * MiB), 8)])


def test_what_comes_once_can_not_be_written_in_turns() -> None:
    assert told([(fed(again=False), 16)]) == ""
    with pytest.raises(UsageError, match="can be read only once"):
        told([(fed(again=False), 40)])


# -- an image whose turn comes and that can't be read ---------------------------------------------


def test_a_feeder_that_can_not_be_started_is_told_for_each_card_and_harms_no_other_image() -> None:
    class Unstarted(Fed):
        async def feed(self) -> Feed:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    gone = SimpleNamespace(is_gone=lambda: True)
    errands = [SimpleNamespace(card=gone)] * 2
    like = fed()
    one = Unstarted(like.source, like.seen, Unfed(), like.team)  # type: ignore[arg-type]
    ends = asyncio.run(in_turns(Work(one, errands, unheard), Room(100 * MiB), PATIENT))  # type: ignore[arg-type]
    assert [type(end) for end in ends] == [IOFailed] * 2
    assert all(verdict.UNTOUCHED in end.hint for end in ends if isinstance(end, IOFailed))
