"""A card that lies or fails while an image of real file systems goes to it; `test_fault_table` has every fault."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.badcard import BadCard, bad_card
from faults.disks import LOADER, dirty_disk, image_of, listed, make_image, map_of
from faults.lane import needs_lane
from faults.writing import flash

from imagesmith.errors import ImagesmithError, IOFailed, ReadbackDiffers
from imagesmith.events import Event, StepStarted, unheard
from imagesmith.planning.flash import FlashPlan, plan_flash
from imagesmith.units import MiB

pytestmark = needs_lane


@contextlib.contextmanager
def held_card(folder: Path, size: int = 40 * MiB) -> Iterator[BadCard]:
    """The bad card, with another open descriptor and its cache warm: a read-back through the cache would pass."""
    with bad_card(folder, dirty_disk(folder / "card", size)) as card:
        holder = os.open(card.device, os.O_RDONLY)
        try:
            yield card
        finally:
            os.close(holder)


def planned(folder: Path, card: BadCard) -> FlashPlan:
    image = make_image(folder / "i.img", "gpt")
    return plan_flash(listed(card.device), image_of(image, map_of(image)))


def when_step_starts(step: str, act: object) -> object:
    def listener(event: Event) -> None:
        if isinstance(event, StepStarted) and event.step == step:
            act()  # type: ignore[operator]

    return listener


def test_a_good_card_passes(tmp_path: Path) -> None:
    with held_card(tmp_path) as card:
        plan = planned(tmp_path, card)
        flash(plan, unheard)
        head = plan.image.path.read_bytes()[:512]
        assert card.truth(0, 440) == head[:440]


def test_a_card_that_drops_every_write_is_found_at_once(tmp_path: Path) -> None:
    with held_card(tmp_path) as card:
        plan = planned(tmp_path, card)
        card.arm("drop")
        with pytest.raises(ReadbackDiffers) as caught:
            flash(plan, unheard)
        assert "may still hold what was on it before" in caught.value.hint
        assert card.truth(0, MiB) == b"\xff" * MiB


@pytest.mark.parametrize("at", [0, LOADER[0]])
def test_a_head_that_does_not_arrive_is_found(tmp_path: Path, at: int) -> None:
    with held_card(tmp_path) as card:
        plan = planned(tmp_path, card)
        with pytest.raises(ReadbackDiffers):
            flash(plan, when_step_starts("finish", lambda: card.arm("drop", at, at + 4096)))  # type: ignore[arg-type]
        assert card.truth(at, 4096) == bytes(4096)


def test_a_fake_card_that_wraps_is_found(tmp_path: Path) -> None:
    with held_card(tmp_path) as card:
        plan = planned(tmp_path, card)
        card.arm("wrap", 0, 8 * MiB)
        with pytest.raises(ImagesmithError) as caught:
            flash(plan, unheard)
        assert caught.value.exit_code == 7


def test_a_card_that_fails_while_it_is_blanked_again_is_said_to_be_unsafe(tmp_path: Path) -> None:
    with held_card(tmp_path) as card:
        plan = planned(tmp_path, card)
        with pytest.raises(IOFailed) as caught:
            flash(plan, when_step_starts("finish", lambda: card.arm("write_eio")))  # type: ignore[arg-type]
        assert "could not be blanked" in caught.value.hint
