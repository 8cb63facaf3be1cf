"""Cards written in turns: all of them in the end, and what is found when a turn comes, and what Ctrl-C leaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.disks import dirty_disk, image_of, listed, loop_device, make_image, needs_root

from imagesmith.errors import IOFailed
from imagesmith.events import Event, StepFinished, StepStarted, unheard
from imagesmith.flash import verdict
from imagesmith.flash.cards import PATIENT
from imagesmith.flash.conduct import Stopped
from imagesmith.flash.writing import Errand, Receipt
from imagesmith.planning.flash import plan_flash
from imagesmith.units import MiB
from imagesmith.workflow.crew import Team, hired
from imagesmith.workflow.source import opened_file
from imagesmith.workflow.turns import Fed, Room, Work, in_turns

pytestmark = needs_root
CARD_SIZE = 40 * MiB


@pytest.fixture
def cards(tmp_path: Path) -> Iterator[list[Path]]:
    yield [dirty_disk(tmp_path / f"card{number}", CARD_SIZE) for number in range(3)]


@contextlib.contextmanager
def looked_at(image: Path, runner: asyncio.Runner, team: Team) -> Iterator[Fed]:
    with opened_file(image, unheard) as source, team.feed(source.descriptors) as feed:
        one = Fed(source, runner.run(feed.look(source.look)), feed, team)
        yield one
        one.rest()


def one_by_one(image: Path, cards: list[Path], listener: object) -> list[object]:
    """All cards from one image, each in a turn of its own."""
    with contextlib.ExitStack() as stack:
        devices = [listed(stack.enter_context(loop_device(card))) for card in cards]
        runner = stack.enter_context(asyncio.Runner())
        (team,) = stack.enter_context(hired([devices]))
        one = stack.enter_context(looked_at(image, runner, team))
        plans = [plan_flash(device, image_of(image)) for device in devices]
        errands = [Errand(plan, card) for plan, card in zip(plans, team.cards, strict=True)]
        return list(runner.run(in_turns(Work(one, errands, listener), Room(1), PATIENT)))  # type: ignore[arg-type]


def test_cards_in_turns_are_all_written_one_after_the_other(tmp_path: Path, cards: list[Path]) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    steps: list[str] = []

    def listener(event: Event) -> None:
        if isinstance(event, StepStarted | StepFinished) and event.step in ("blank", "finish"):
            steps.append(f"{type(event).__name__} {event.step}")

    ends = one_by_one(image, cards, listener)
    assert all(isinstance(end, Receipt) for end in ends)
    turn = [f"{kind} {step}" for step in ("blank", "finish") for kind in ("StepStarted", "StepFinished")]
    assert steps == turn * 3
    size = image.stat().st_size
    assert all(card.read_bytes()[:size] == image.read_bytes() for card in cards)


def test_an_image_that_is_written_to_while_it_waits_reaches_no_further_card(tmp_path: Path, cards: list[Path]) -> None:
    """The first card's failure ends the feeder, so that it is begun again for the second."""
    image = make_image(tmp_path / "i.img", "dos")

    def listener(event: Event) -> None:
        if isinstance(event, StepStarted) and event.step == "write":
            os.utime(image)
            os.truncate(image, image.stat().st_size - 4096)

    ends = one_by_one(image, cards, listener)
    assert [type(end) for end in ends] == [IOFailed] * 3
    assert all("waited for its turn" in str(end) and verdict.UNTOUCHED in end.hint for end in ends[1:])  # type: ignore[attr-defined]
    assert all(card.read_bytes() == b"\xff" * CARD_SIZE for card in cards[1:])


def test_ctrl_c_leaves_cards_that_wait_untouched_and_says_so(tmp_path: Path, cards: list[Path]) -> None:
    image = make_image(tmp_path / "i.img", "dos")

    def listener(event: Event) -> None:
        if isinstance(event, StepStarted) and event.step == "write":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped) as caught:
        one_by_one(image, cards, listener)
    states = [getattr(end, "hint", "") for end in caught.value.results]
    assert states == [verdict.BLANK, verdict.UNTOUCHED, verdict.UNTOUCHED]
    assert cards[0].read_bytes()[:MiB] == bytes(MiB)
    assert all(card.read_bytes() == b"\xff" * CARD_SIZE for card in cards[1:])
