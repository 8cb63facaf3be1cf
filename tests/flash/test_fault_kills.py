"""SIGKILL for each of the processes, at every barrier and at random moments: a card is complete or it does not boot."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time

import pytest
from faults.killing import (
    BARRIERS,
    STEPS,
    Moment,
    at,
    children,
    flash_and_kill_child,
    flash_and_kill_conductor,
    wait_until_free,
)
from faults.lane import Lane, needs_lane
from faults.writing import flash

from imagesmith.errors import ImagesmithError, IOFailed
from imagesmith.flash.cards import PATIENT, Card
from imagesmith.flash.writing import Receipt
from imagesmith.messages import Open
from imagesmith.workflow.crew import hired

pytestmark = needs_lane
SLOWED_US = 1500
"""Each operation takes so much longer, else a random moment would mostly be before or after the writing."""
RANDOM = 20


@pytest.fixture(scope="module")
def run_s() -> dict[str, float]:
    return {}


def moments(victim: str) -> list[object]:
    """Barriers, and seeded shares of the time that a whole run takes."""
    chance = random.Random(victim)
    barriers = [pytest.param(barrier, id=" ".join(barrier)) for barrier in BARRIERS]
    return [*barriers, *(pytest.param(share, id=f"{share:.3f}") for share in (chance.random() for _ in range(RANDOM)))]


def moment_of(lane: Lane, chosen: object, run_s: dict[str, float]) -> Moment:
    """A share of a run as seconds; how long a run takes is measured once."""
    lane.card.arm("delay", count=SLOWED_US)
    if isinstance(chosen, tuple):
        return chosen
    if not run_s:
        begun: list[float] = []
        flash(lane.plan(), at(BARRIERS[0], lambda: begun.append(time.monotonic())))
        run_s["whole"] = time.monotonic() - begun[0]
        lane.restore()
        lane.card.arm("delay", count=SLOWED_US)
    assert isinstance(chosen, float)
    return chosen * run_s["whole"]


def assert_works_again(lane: Lane) -> None:
    lane.card.heal()
    assert isinstance(flash(lane.plan()), Receipt)
    assert lane.is_exact("mapped")


@pytest.mark.parametrize("chosen", moments("conductor"))
def test_a_killed_conductor_leaves_a_card_that_is_complete_or_does_not_boot(
    lane: Lane, run_s: dict[str, float], chosen: object
) -> None:
    lane.tried += 1
    flash_and_kill_conductor(lane.plan(), moment_of(lane, chosen, run_s))
    lane.complete_or_not_bootable()
    assert_works_again(lane)


@pytest.mark.parametrize("chosen", moments("feeder"))
def test_a_killed_feeder_is_told_and_is_not_the_cards_fault(
    lane: Lane, run_s: dict[str, float], chosen: object
) -> None:
    moment = moment_of(lane, chosen, run_s)
    end = lane.judge(lambda: flash_and_kill_child(lane.plan(), "feeder", moment))
    if isinstance(end, ImagesmithError):
        assert type(end) is IOFailed
        assert "the process that reads the image ended" in end.what
        assert "The card is not at fault" in end.hint
        assert "not bootable" in end.hint
    assert_works_again(lane)


@pytest.mark.parametrize("chosen", moments("card writer"))
def test_a_killed_card_writer_is_told(lane: Lane, run_s: dict[str, float], chosen: object) -> None:
    moment = moment_of(lane, chosen, run_s)
    end = lane.judge(lambda: flash_and_kill_child(lane.plan(), "card writer", moment))
    lane.complete_or_not_bootable()
    if isinstance(end, ImagesmithError):
        assert type(end) is IOFailed
        assert "the process that writes it ended" in end.what
    if chosen in BARRIERS[:-1]:
        assert isinstance(end, ImagesmithError)
    assert_works_again(lane)


def test_the_barriers_are_all_that_a_run_has(lane: Lane) -> None:
    heard: list[tuple[str, str]] = []
    kinds = {"StepStarted": "starts", "StepFinished": "has finished"}
    flash(lane.plan(), lambda event: heard.append((getattr(event, "step", ""), kinds.get(type(event).__name__, ""))))
    assert [one for one in heard if one[1]] == BARRIERS
    assert {step for step, _ in heard} == set(STEPS)


def test_the_end_of_what_card_writers_are_forked_from_ends_none_of_them(lane: Lane) -> None:
    end = lane.judge(lambda: flash_and_kill_child(lane.plan(), "card writers", ("write", "starts")))
    assert isinstance(end, Receipt)
    wait_until_free(lane.card.device)
    assert lane.is_exact("mapped")


def test_without_what_card_writers_are_forked_from_no_card_is_touched_and_it_is_told(lane: Lane) -> None:
    with hired([[lane.device]]) as (team,):
        (pid,) = children("card writers")
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(IOFailed, match="the process that writes it ended unexpectedly"):
            asyncio.run(opened(team.cards[0]))


def test_no_device_gets_a_second_writer(lane: Lane) -> None:
    with hired([[lane.device]]) as (team,):
        card = team.cards[0]
        asyncio.run(opened(card))
        with pytest.raises(IOFailed, match="the process that writes it ended unexpectedly"):
            asyncio.run(opened(card))


async def opened(card: Card) -> None:
    await card.connect()
    card.send(Open(writing=False))
    await card.answer(PATIENT, lambda _: None, lambda _: None)
    card.leave()
    await asyncio.sleep(0)
