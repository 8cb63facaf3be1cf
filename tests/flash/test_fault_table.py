"""Every fault at every place, with a map and without: a failure that names the place, or the right bytes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from faults.badcard import ALWAYS
from faults.disks import BLOCK, image_of
from faults.lane import BODY, CARD_SIZE, IMAGE_SIZE, Lane, at_step, names_place, needs_lane
from faults.writing import flash

from imagesmith.errors import ImagesmithError, IOFailed, ReadbackDiffers
from imagesmith.events import unheard
from imagesmith.flash.writing import Receipt
from imagesmith.planning.flash import plan_flash
from imagesmith.units import KiB, MiB

pytestmark = needs_lane

BODY_PLACES = {"first": BODY, "middle": 1100 * BLOCK, "last": IMAGE_SIZE - BLOCK}
HEAD_PLACES = {"boot": 0, "loader": 64 * 1024, "backup": CARD_SIZE - BLOCK}

FAULTS: dict[str, tuple[int, type[ImagesmithError]]] = {
    "read_eio": (0, IOFailed),
    "write_eio": (0, IOFailed),
    "write_enospc": (0, IOFailed),
    "vanish": (0, IOFailed),
    "drop": (0, ReadbackDiffers),
    "rot": (0, ReadbackDiffers),
    "spoil": (ALWAYS, ReadbackDiffers),
}
"""Those that can't end well: their count, and the failure that they must be."""
ONCE = {"rot_later": 1, "spoil": 1}
"""Those that a card gets over: the body reads right when it is compared, or is written once more."""


def rows() -> Iterator[tuple[str, str, str]]:
    """Fault, place, and the step before which it is armed. What is in the head is written at the end."""
    for fault in FAULTS:
        for place in BODY_PLACES:
            yield fault, place, "blank"
        for place in HEAD_PLACES:
            yield fault, place, "blank"
            yield fault, place, "finish"


@pytest.mark.parametrize("image", ["mapped", "whole"])
@pytest.mark.parametrize(("fault", "place", "step"), [*rows()])
def test_a_fault_is_told_and_leaves_no_head(lane: Lane, image: str, fault: str, place: str, step: str) -> None:
    at = (BODY_PLACES | HEAD_PLACES)[place]
    count, failure = FAULTS[fault]
    listener = at_step(step, lambda: lane.card.arm(fault, at, at + BLOCK, count))
    end = lane.judge(lambda: flash(lane.plan(image), listener), image)
    assert type(end) is failure, end
    assert names_place(end, lane.card.device, at), end
    if place in BODY_PLACES and failure is ReadbackDiffers:
        assert f" {at}-{at + BLOCK - 1}" in end.what
    if place in BODY_PLACES:
        assert "not bootable" in end.hint  # the head was blanked before, and nothing there is broken


@pytest.mark.parametrize("image", ["mapped", "whole"])
@pytest.mark.parametrize("place", BODY_PLACES)
@pytest.mark.parametrize("fault", ONCE)
def test_a_fault_that_passes_in_the_body_is_got_over(lane: Lane, image: str, fault: str, place: str) -> None:
    at = BODY_PLACES[place]
    lane.card.arm(fault, at, at + BLOCK, ONCE[fault])
    receipt = lane.judge(lambda: flash(lane.plan(image)), image)
    assert isinstance(receipt, Receipt), receipt
    assert receipt.mended == (((at, BLOCK),) if fault == "spoil" else ())


@pytest.mark.parametrize("place", HEAD_PLACES)
@pytest.mark.parametrize("fault", ONCE)
@pytest.mark.parametrize("step", ["blank", "finish"])
def test_a_fault_that_passes_in_the_head_is_found(lane: Lane, fault: str, place: str, step: str) -> None:
    at = HEAD_PLACES[place]
    # A late rot that is armed at the end shows when what was written is read back; the first sector is blanked twice.
    count = {("rot_later", "finish"): 0, ("spoil", "blank"): 2}.get((fault, step), ONCE[fault])
    listener = at_step(step, lambda: lane.card.arm(fault, at, at + BLOCK, count))
    end = lane.judge(lambda: flash(lane.plan(), listener))
    assert type(end) is ReadbackDiffers, end
    assert names_place(end, lane.card.device, at), end


@pytest.mark.parametrize("image", ["mapped", "whole"])
@pytest.mark.parametrize("flushes", range(6))
def test_an_error_of_any_flush_is_a_failure(lane: Lane, image: str, flushes: int) -> None:
    lane.card.arm("fsync_eio", count=flushes)
    end = lane.judge(lambda: flash(lane.plan(image)), image)
    assert type(end) is IOFailed, end
    assert "flushing failed" in end.what
    assert "not bootable" in end.hint


@pytest.mark.parametrize("real", [BODY + BLOCK, 4 * MiB, 7 * MiB, CARD_SIZE - BLOCK])
@pytest.mark.parametrize("image", ["mapped", "whole"])
def test_a_card_that_pretends_to_be_larger_fails(lane: Lane, image: str, real: int) -> None:
    lane.card.arm("wrap", 0, real)
    end = lane.judge(lambda: flash(lane.plan(image)), image)
    assert type(end) is ReadbackDiffers, end


@pytest.mark.parametrize("under", ["random", "zeros"])
def test_a_backup_table_that_falls_upon_the_body_is_found_before_it_is_written(lane: Lane, under: str) -> None:
    """The card is as large as the image, so its end is a part of the body, which was read back before."""
    image = lane.images["whole"]
    if under == "zeros":
        other = lane.card.backing.with_name("zeros.img")
        shutil.copy(image.path, other)
        with other.open("r+b") as file:
            file.seek(4 * MiB - 64 * KiB)
            file.write(bytes(64 * KiB))
        image = image_of(other)
    lane.card.arm("wrap", 0, IMAGE_SIZE)
    end = lane.judge(lambda: flash(plan_flash(lane.device, image)), "whole")
    assert type(end) is ReadbackDiffers, end


@pytest.mark.parametrize("step", ["blank", "write", "read back", "finish"])
def test_a_card_that_is_pulled_out_is_a_failure(lane: Lane, step: str) -> None:
    end = lane.judge(lambda: flash(lane.plan(), at_step(step, lambda: lane.card.arm("vanish"))))
    assert type(end) is IOFailed, end


def test_a_card_that_drops_everything_fails_while_it_is_blanked(lane: Lane) -> None:
    lane.card.arm("drop")
    end = lane.judge(lambda: flash(lane.plan()))
    assert type(end) is ReadbackDiffers
    assert "could not be blanked" in end.hint


@pytest.mark.parametrize("faults", [("delay",), ("volatile",), ("volatile", "lying"), ("volatile", "delay")])
def test_a_card_that_is_only_slow_or_caches_is_written_right(lane: Lane, faults: tuple[str, ...]) -> None:
    for fault in faults:
        lane.card.arm(fault, count=2000)

    def act() -> object:
        receipt = flash(lane.plan(), unheard)
        if "lying" in faults:
            # It tells that all is on the medium; it gets there when the card has time for it.
            lane.card.disarm("lying")
            flush(lane.card.device)
        return receipt

    assert isinstance(lane.judge(act), Receipt)


def flush(device: str) -> None:
    descriptor = os.open(device, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
