"""A run that goes on where another stopped, when the card is not as that one left it."""

from __future__ import annotations

from pathlib import Path

from faults.disks import BLOCK, dirty_disk, image_of, random_bytes
from faults.lane import BODY, Lane, needs_lane
from faults.writing import flash

from imagesmith.flash.devices import file_as_device
from imagesmith.flash.writing import MOST_MENDED, Receipt
from imagesmith.planning.flash import plan_flash
from imagesmith.planning.resume import Written
from imagesmith.units import MiB

pytestmark = needs_lane


def test_what_was_not_left_there_after_all_is_written_and_is_no_fault_of_the_card(lane: Lane) -> None:
    end = lane.judge(lambda: flash(lane.plan("whole"), written=lambda: Written([(BODY, 3 * MiB)])), "whole")
    assert isinstance(end, Receipt)
    assert end.mended == ()


def test_a_card_that_rots_after_it_was_resumed_is_mended_as_any_other(lane: Lane) -> None:
    lane.card.arm("spoil", 5 * MiB, 5 * MiB + BLOCK, 2)
    end = lane.judge(lambda: flash(lane.plan("whole"), written=lambda: Written([(BODY, 3 * MiB)])), "whole")
    assert isinstance(end, Receipt)
    assert end.mended == ((5 * MiB, BLOCK),)


def test_another_card_in_the_same_reader_is_written_whole(tmp_path: Path) -> None:
    """More than would be mended: the first card is remembered, and this one has nothing of the image."""
    size = MOST_MENDED + 4 * MiB
    image, target = tmp_path / "i.img", dirty_disk(tmp_path / "card", size)
    image.write_bytes(random_bytes(size, 3))
    receipt = flash(
        plan_flash(file_as_device(str(target)), image_of(image)), written=lambda: Written([(BODY, size - BODY)])
    )
    assert receipt.mended == ()
    assert target.read_bytes() == image.read_bytes()
