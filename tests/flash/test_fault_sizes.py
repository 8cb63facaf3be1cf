"""Cards and images whose sizes do not fit by a sector, cards of 4096-byte sectors, and files on a full disk."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from faults.badcard import BadCard, bad_card
from faults.disks import BLOCK, call, dirty_disk, image_of, listed, loop_device, random_bytes
from faults.lane import CARD_SIZE, IMAGE_SIZE, Lane, at_step, lane_image, names_place, needs_lane
from faults.writing import COMMAND, flash, surroundings

from imagesmith.errors import DeviceRefused, ImagesmithError, IOFailed, NoSpace, ReadbackDiffers
from imagesmith.flash.devices import file_as_device
from imagesmith.flash.writing import Receipt
from imagesmith.planning.flash import SourceImage, plan_flash
from imagesmith.units import MiB

pytestmark = needs_lane
SECTOR = 512


# -- by one sector --------------------------------------------------------------------------------


def test_a_card_too_small_by_one_sector_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    image, disk = lane_image(tmp_path / "i.img"), dirty_disk(tmp_path / "card", IMAGE_SIZE - SECTOR)
    with loop_device(disk, direct=True) as device:
        done = subprocess.run(
            [*COMMAND, str(image), device, "--yes"],
            **surroundings(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == DeviceRefused.exit_code, done.stderr
    assert "small" in done.stderr
    assert disk.read_bytes() == b"\xff" * (IMAGE_SIZE - SECTOR)


def test_an_image_of_unknown_size_that_is_one_sector_too_large_leaves_no_head(tmp_path: Path) -> None:
    image, disk = lane_image(tmp_path / "i.img"), dirty_disk(tmp_path / "card", IMAGE_SIZE - SECTOR)
    unknown = replace(image_of(image), size=0)
    with loop_device(disk, direct=True) as device, pytest.raises(DeviceRefused, match="is too small") as caught:
        flash(plan_flash(listed(device), unknown))
    assert "not bootable" in caught.value.hint
    assert disk.read_bytes()[:MiB] == bytes(MiB)
    assert b"EFI PART" not in disk.read_bytes()[-MiB:]


@pytest.mark.parametrize("known", ["known", "unknown"])
def test_an_image_exactly_as_large_as_the_card_is_copied_whole(tmp_path: Path, known: str) -> None:
    image, disk = lane_image(tmp_path / "i.img"), dirty_disk(tmp_path / "card", IMAGE_SIZE)
    source = image_of(image) if known == "known" else replace(image_of(image), size=0)
    with loop_device(disk, direct=True) as device:
        flash(plan_flash(listed(device), source))
    assert disk.read_bytes() == image.read_bytes()


@pytest.mark.parametrize("more", [1, 511, 513])
def test_a_bad_card_is_found_in_the_last_sector_of_an_image_that_ends_within_one(lane: Lane, more: int) -> None:
    path = lane.card.backing.with_name("odd.img")
    path.write_bytes(random_bytes(3 * MiB + more, more))
    at = (3 * MiB + more - 1) // SECTOR * SECTOR
    lane.card.arm("drop", at, at + SECTOR)
    end = lane.judge(lambda: flash(plan_flash(lane.device, image_of(path))))
    assert isinstance(end, ReadbackDiffers)
    assert names_place(end, lane.card.device, at)


# -- sectors of 4096 bytes ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large_ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BadCard]:
    folder = tmp_path_factory.mktemp("sectors")
    with bad_card(folder, dirty_disk(folder / "card", CARD_SIZE), sector=4096) as card:
        yield card


@pytest.fixture
def large_sectors(large_ground: BadCard, record_property: Callable[[str, int], None]) -> BadCard:
    large_ground.heal()
    dirty_disk(large_ground.backing, CARD_SIZE)
    record_property("faults tried", 1)
    return large_ground


@pytest.fixture
def plain_image(tmp_path: Path) -> SourceImage:
    path = tmp_path / "i.img"
    path.write_bytes(random_bytes(IMAGE_SIZE, 7))
    return image_of(path)


@pytest.mark.parametrize(
    ("fault", "failure"),
    [("write_eio", IOFailed), ("read_eio", IOFailed), ("drop", ReadbackDiffers), ("rot", ReadbackDiffers)],
)
@pytest.mark.parametrize(("at", "step"), [(0, "finish"), (MiB, "blank"), (IMAGE_SIZE - BLOCK, "blank")])
def test_faults_of_a_card_with_large_sectors(
    large_sectors: BadCard, plain_image: SourceImage, fault: str, failure: type[ImagesmithError], at: int, step: str
) -> None:
    card = large_sectors
    plan = plan_flash(listed(card.device), plain_image)
    with pytest.raises(failure) as caught:
        flash(plan, at_step(step, lambda: card.arm(fault, at, at + BLOCK)))
    assert names_place(caught.value, card.device, at)
    if "not bootable" in caught.value.hint:
        assert card.truth(0, MiB) == bytes(MiB)
    else:
        assert "could not be blanked" in caught.value.hint
        assert at == 0


def test_a_card_with_large_sectors_is_written_right(large_sectors: BadCard, plain_image: SourceImage) -> None:
    assert isinstance(flash(plan_flash(listed(large_sectors.device), plain_image)), Receipt)
    assert large_sectors.truth(0, IMAGE_SIZE) == plain_image.path.read_bytes()


# -- a file instead of a card ---------------------------------------------------------------------


def test_a_file_on_a_disk_that_is_full_is_told_as_that(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    call("mount", "-t", "tmpfs", "-o", "size=4m", "none", small)
    try:
        target = small / "target"
        with target.open("wb") as file:
            file.truncate(IMAGE_SIZE)
        image = lane_image(tmp_path / "i.img")
        with pytest.raises(NoSpace) as caught:
            flash(plan_flash(file_as_device(str(target)), image_of(image)))
        assert "card" not in caught.value.what
        assert "free some space" in caught.value.hint
        with target.open("rb") as file:
            assert file.read(MiB) == bytes(MiB)
    finally:
        call("umount", small)
