"""Power cuts, modelled by a card with a volatile cache: it is complete or does not boot, and works when tried again."""

from __future__ import annotations

import random

import pytest
from faults.killing import BARRIERS, at
from faults.lane import Lane, needs_lane
from faults.writing import flash

from imagesmith.errors import ImagesmithError
from imagesmith.flash.writing import Receipt

pytestmark = needs_lane
LOST_WHOLE = 0
"""The seed of a cut that loses all since the last flush; others let some sectors arrive, in any order."""
CARD_WRITES = 18
"""So many at least come to the card in a run, of at most 1 MiB each."""
SEEDS = (LOST_WHOLE, 1, 2, 3)


def assert_works_again(lane: Lane) -> None:
    lane.card.heal()
    lane.complete_or_not_bootable()
    assert isinstance(flash(lane.plan()), Receipt)
    assert lane.is_exact("mapped")


@pytest.mark.parametrize("seed", [LOST_WHOLE, 1])
@pytest.mark.parametrize("barrier", BARRIERS, ids=" ".join)
def test_a_cut_at_a_barrier(lane: Lane, barrier: tuple[str, str], seed: int) -> None:
    lane.card.arm("volatile")
    end = lane.judge(lambda: flash(lane.plan(), at(barrier, lambda: lane.card.cut_power(seed))))
    assert isinstance(end, ImagesmithError) == (barrier != BARRIERS[-1])
    assert_works_again(lane)


@pytest.mark.parametrize("seed", range(20))
def test_a_cut_at_a_random_write(lane: Lane, seed: int) -> None:
    chance = random.Random(seed)
    lane.card.arm("volatile")
    lane.card.cut_power(chance.choice(SEEDS), after=chance.randint(1, CARD_WRITES))
    assert isinstance(lane.judge(lambda: flash(lane.plan())), ImagesmithError)
    assert_works_again(lane)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("number", range(1, 6))
def test_a_cut_at_each_of_the_last_writes(lane: Lane, number: int, seed: int) -> None:
    """There the card becomes bootable."""
    lane.card.arm("volatile")
    cut = at(("finish", "starts"), lambda: lane.card.cut_power(seed, after=number))
    lane.judge(lambda: flash(lane.plan(), cut))
    assert_works_again(lane)


def test_what_a_receipt_was_given_for_survives_a_cut(lane: Lane) -> None:
    lane.card.arm("volatile")
    assert isinstance(flash(lane.plan()), Receipt)
    lane.card.cut_power(LOST_WHOLE)
    lane.tried += 1
    assert lane.is_exact("mapped")
