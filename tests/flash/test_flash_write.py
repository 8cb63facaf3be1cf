"""Real images written to real block devices (loop devices over dirty files), and the ways in which that fails."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from faults.disks import (
    FAT,
    IMAGE_SIZE,
    ROOT,
    call,
    cut,
    dirty_disk,
    image_of,
    listed,
    loop_device,
    make_image,
    map_of,
    mounted,
    mounted_elsewhere,
    needs_root,
    random_bytes,
)
from faults.writing import flash
from image.made_disks import flip

from imagesmith.errors import DeviceRefused, DigestMismatch, Interrupted
from imagesmith.events import Event, Progress, unheard
from imagesmith.flash.devices import file_as_device
from imagesmith.model import Digest
from imagesmith.planning.flash import plan_flash
from imagesmith.units import MiB

pytestmark = needs_root


@contextlib.contextmanager
def card(folder: Path, size: int = 40 * MiB, **options: object) -> Iterator[tuple[Path, str]]:
    disk = dirty_disk(folder / "card", size)
    with loop_device(disk, **options) as device:  # type: ignore[arg-type]
        yield disk, device


def stop_at(step: str, done: int) -> object:
    pressed = []

    def listener(event: Event) -> None:
        if isinstance(event, Progress) and event.step == step and event.done >= done and not pressed:
            pressed.append(True)
            os.kill(os.getpid(), signal.SIGINT)  # as the terminal does

    return listener


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_a_mapped_image_on_a_dirty_card_has_sound_file_systems(tmp_path: Path, label: str) -> None:
    image = make_image(tmp_path / "i.img", label)
    with card(tmp_path) as (disk, device):
        receipt = flash(plan_flash(listed(device), image_of(image, map_of(image))), unheard)
    assert receipt.written == map_of(image).mapped_bytes < IMAGE_SIZE
    call("e2fsck", "-fn", cut(disk, ROOT, tmp_path / "root"))
    call("fsck.fat", "-n", cut(disk, FAT, tmp_path / "fat"))
    names = call("debugfs", "-R", f"dump file3 {tmp_path}/out", tmp_path / "root")
    assert (tmp_path / "out").read_bytes() == (image.with_suffix(".tree") / "file3").read_bytes(), names


def test_free_blocks_are_not_written(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    with card(tmp_path) as (disk, device):
        flash(plan_flash(listed(device), image_of(image, map_of(image))), unheard)
    assert disk.read_bytes()[28 * MiB : 29 * MiB] == b"\xff" * MiB


def test_without_a_map_zeros_are_written_too(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    with card(tmp_path) as (disk, device):
        flash(plan_flash(listed(device), image_of(image)), unheard)
    assert disk.read_bytes()[:IMAGE_SIZE] == image.read_bytes()


def test_a_gpt_is_moved_to_the_end_of_a_larger_card(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "gpt")
    with card(tmp_path) as (disk, device):
        flash(plan_flash(listed(device), image_of(image, map_of(image))), unheard)
    assert "No problems found" in call("sgdisk", "--verify", disk)
    assert disk.read_bytes()[-512:].startswith(b"EFI PART")


def test_an_image_as_large_as_its_card_is_copied_whole(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "gpt")
    with card(tmp_path, IMAGE_SIZE) as (disk, device):
        flash(plan_flash(listed(device), image_of(image)), unheard)
    assert disk.read_bytes() == image.read_bytes()


def test_tables_of_the_former_content_are_gone(tmp_path: Path) -> None:
    old, image = make_image(tmp_path / "old.img", "gpt"), make_image(tmp_path / "i.img", "dos")
    with card(tmp_path) as (disk, device):
        flash(plan_flash(listed(device), image_of(old)), unheard)
        flash(plan_flash(listed(device), image_of(image, map_of(image))), unheard)
    assert b"EFI PART" not in disk.read_bytes()[39 * MiB :]
    assert "label: dos" in call("sfdisk", "--dump", disk)


@pytest.mark.parametrize("sector", [512, 4096])
def test_an_image_that_ends_within_a_sector_is_written_whole(tmp_path: Path, sector: int) -> None:
    image = tmp_path / "i.img"
    image.write_bytes(random_bytes(3 * MiB + 777, 5))
    with card(tmp_path, 8 * MiB, sector=sector) as (disk, device):
        flash(plan_flash(listed(device), image_of(image)), unheard)
    assert disk.read_bytes()[: 3 * MiB + 777] == image.read_bytes()


def test_a_file_is_written_without_growing(tmp_path: Path) -> None:
    image, target = tmp_path / "i.img", dirty_disk(tmp_path / "target", 3 * MiB + 777)
    image.write_bytes(random_bytes(3 * MiB + 777, 5))
    flash(plan_flash(file_as_device(str(target)), image_of(image)), unheard)
    assert target.read_bytes() == image.read_bytes()


def test_a_mount_in_another_namespace_is_refused_by_the_kernel(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    with card(tmp_path) as (disk, device):
        call("mke2fs", "-q", device)
        before = disk.read_bytes()
        with mounted_elsewhere(device, tmp_path / "mnt"), pytest.raises(DeviceRefused, match="something uses it"):
            # No mount table that we can see names it.
            flash(plan_flash(listed(device), image_of(image)), unheard)
        assert disk.read_bytes()[4 * MiB :] == before[4 * MiB :]
        assert disk.read_bytes()[1080:1082] == b"\x53\xef"


def test_a_partition_mounted_in_another_namespace_is_refused_by_the_kernel(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    with loop_device(image, partitions=True) as device:
        report = listed(device)
        with (
            mounted_elsewhere(f"{device}p2", tmp_path / "mnt"),
            pytest.raises(DeviceRefused, match="something uses it"),
        ):
            flash(plan_flash(report, image_of(image)), unheard)


def test_what_was_mounted_on_purpose_is_not_unmounted(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    with card(tmp_path) as (_, device):
        call("mke2fs", "-q", device)
        # The report is from before the mount.
        report = listed(device)
        with mounted(device, tmp_path / "mnt"), pytest.raises(DeviceRefused, match="not unmounted for you"):
            flash(plan_flash(report, image_of(image)), unheard)


def test_a_read_only_device_is_refused(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    with card(tmp_path, read_only=True) as (_, device):
        report = replace(listed(device), read_only=False)
        with pytest.raises(DeviceRefused, match="read-only"):
            flash(plan_flash(report, image_of(image)), unheard)


def test_a_card_swapped_after_the_question_is_refused(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    with card(tmp_path) as (_, device):
        report = listed(device)
    assert report.diskseq
    with card(tmp_path) as (disk, again):
        report = replace(report, path=again, number=listed(again).number)
        with pytest.raises(DeviceRefused, match="another medium was put in"):
            flash(plan_flash(report, image_of(image)), unheard)
    assert disk.read_bytes() == b"\xff" * 40 * MiB


def test_a_card_of_another_size_is_refused(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    with card(tmp_path) as (_, device), pytest.raises(DeviceRefused, match="it had 41 MiB"):
        flash(plan_flash(replace(listed(device), size=41 * MiB), image_of(image)), unheard)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    with card(tmp_path) as (_, device):
        report = listed(device)
        other = os.open(device, os.O_RDWR | os.O_EXCL)
        try:
            with pytest.raises(DeviceRefused, match="something uses it"):
                flash(plan_flash(report, image_of(image)), unheard)
        finally:
            os.close(other)


def test_a_rotten_image_is_told_from_a_bad_card(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    block_map = map_of(image)
    flip(image, FAT[0] + 70_000)
    with card(tmp_path) as (disk, device), pytest.raises(DigestMismatch, match="image file is damaged") as caught:
        flash(plan_flash(listed(device), image_of(image, block_map)), unheard)
    assert "not bootable" in caught.value.hint
    assert "The card is not at fault" in caught.value.hint
    assert disk.read_bytes()[:MiB] == bytes(MiB)


def test_rot_in_the_head_is_found_though_the_head_is_written_last(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    block_map = map_of(image)
    flip(image, 100)
    with card(tmp_path) as (_, device), pytest.raises(DigestMismatch):
        flash(plan_flash(listed(device), image_of(image, block_map)), unheard)


def test_without_a_map_the_image_is_checked_against_its_digest(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    digest = Digest.of(image.read_bytes())
    flip(image, 20 * MiB)
    with card(tmp_path) as (disk, device), pytest.raises(DigestMismatch, match="promised"):
        flash(plan_flash(listed(device), replace(image_of(image), digest=digest)), unheard)
    assert disk.read_bytes()[:MiB] == bytes(MiB)


@pytest.mark.parametrize(("step", "done"), [("write", 1), ("write", 12 * MiB), ("read back", 8 * MiB)])
def test_ctrl_c_leaves_a_blank_head(tmp_path: Path, step: str, done: int) -> None:
    image = make_image(tmp_path / "i.img", "gpt")
    with card(tmp_path) as (disk, device), pytest.raises(Interrupted) as caught:
        flash(plan_flash(listed(device), image_of(image)), stop_at(step, done))  # type: ignore[arg-type]
    assert disk.read_bytes()[:MiB] == bytes(MiB)
    assert b"EFI PART" not in disk.read_bytes()[39 * MiB :]
    assert "not bootable" in caught.value.hint


@pytest.mark.parametrize(("step", "done"), [("write", 1), ("write", 12 * MiB), ("read back", 8 * MiB)])
def test_a_killed_writer_leaves_a_blank_head(tmp_path: Path, step: str, done: int) -> None:
    image = make_image(tmp_path / "i.img", "gpt")
    with card(tmp_path) as (disk, device):
        script = Path(__file__).with_name("killed_writer.py")
        argv = [sys.executable, script, image, device, step, str(done)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        child = subprocess.run(argv, env=env, check=False, capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert disk.read_bytes()[:MiB] == bytes(MiB)
    assert b"EFI PART" not in disk.read_bytes()[39 * MiB :]


def test_the_same_command_works_after_a_failure(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "gpt")
    with card(tmp_path) as (disk, device):
        with pytest.raises(Interrupted):
            flash(plan_flash(listed(device), image_of(image)), stop_at("write", MiB))  # type: ignore[arg-type]
        flash(plan_flash(listed(device), image_of(image)), unheard)
    assert "No problems found" in call("sgdisk", "--verify", disk)


def test_progress_counts_mapped_bytes(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    block_map = map_of(image)
    heard: list[Event] = []
    with card(tmp_path) as (_, device):
        flash(plan_flash(listed(device), image_of(image, block_map)), heard.append)
    for step in ("write", "read back"):
        last = [event for event in heard if isinstance(event, Progress) and event.step == step][-1]
        # The first MiB is read back at the end, by itself.
        assert last.done == last.total == block_map.mapped_bytes - (MiB if step == "read back" else 0)
