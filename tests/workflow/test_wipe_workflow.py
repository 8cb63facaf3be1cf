"""Cards wiped: nothing finds a table or a file system any more; with --full every byte is zero, and read back."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from faults.badcard import bad_card
from faults.disks import FAT, ROOT, call, dirty_disk, listed, loop_device, make_image, needs_root

from imagesmith.errors import Interrupted, IOFailed, ReadbackDiffers
from imagesmith.events import Event, Progress, StepStarted, unheard
from imagesmith.flash.wipe import Wiped
from imagesmith.units import MiB
from imagesmith.workflow.asking import Question
from imagesmith.workflow.overwriting import Request
from imagesmith.workflow.wipe import wipe

pytestmark = needs_root
fuse = pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="needs FUSE for the bad card")


def never(question: Question) -> str:
    raise AssertionError("asked")


def wiped(device: str, listener: object = unheard, *, full: bool = False) -> Wiped:
    return wipe(Request(device, full, yes=True), ask=never, listener=listener)  # type: ignore[arg-type]


def holding(folder: Path, label: str) -> Path:
    """A card of 40 MiB that was written by dd with an image of 32 MiB, and was full before."""
    image = make_image(folder / "i.img", label)
    disk = dirty_disk(folder / "card", 40 * MiB)
    with disk.open("r+b") as file:
        file.write(image.read_bytes())
    return disk


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_nothing_is_recognised_afterwards(tmp_path: Path, label: str) -> None:
    disk = holding(tmp_path, label)
    with loop_device(disk) as device:
        found = wiped(device)
        call("udevadm", "settle") if Path("/run/udev").exists() else None
        assert listed(device).contents == ()
        # No table is left that a tool would take for the old one, and no partition begins with a file system.
        assert subprocess.run(["sfdisk", "--dump", device], capture_output=True, check=False).returncode != 0
    for at, _ in (FAT, ROOT):
        probe = ["blkid", "--probe", "--offset", str(at), str(disk)]
        assert subprocess.run(probe, capture_output=True, check=False).returncode == 2
    assert found.partitions == 2
    assert b"EFI PART" not in disk.read_bytes()


def test_the_data_in_between_stays_and_is_not_claimed(tmp_path: Path) -> None:
    disk = holding(tmp_path, "gpt")
    with loop_device(disk) as device:
        found = wiped(device)
    assert found.size < 6 * MiB
    assert disk.read_bytes().count(bytes(4096)) * 4096 < 40 * MiB
    assert not found.full


def test_full_leaves_zeros_alone(tmp_path: Path) -> None:
    size = 41 * MiB + 512
    disk = dirty_disk(tmp_path / "card", size)
    with loop_device(disk) as device:
        assert wiped(device, full=True) == Wiped(found_size(size, device), size, 0, True)
    assert disk.read_bytes() == bytes(size)


def found_size(size: int, path: str) -> object:
    device = listed(path)
    assert device.size == size
    return device


@fuse
@pytest.mark.parametrize("offset", [0, 20 * MiB, 40 * MiB - 4096])
def test_what_does_not_become_zero_is_told(tmp_path: Path, offset: int) -> None:
    with bad_card(tmp_path, dirty_disk(tmp_path / "card", 40 * MiB)) as card:
        card.arm("drop", offset, offset + 4096)
        with pytest.raises(ReadbackDiffers, match=f"at byte {offset}-{offset + 4095}") as caught:
            wiped(card.device, full=True)
    assert "destroy it" in caught.value.hint


@fuse
def test_an_io_error_is_told_with_its_byte(tmp_path: Path) -> None:
    with bad_card(tmp_path, dirty_disk(tmp_path / "card", 40 * MiB)) as card:
        card.arm("write_eio", 20 * MiB, 20 * MiB + 4096)
        with pytest.raises(IOFailed) as caught:
            wiped(card.device, full=True)
        assert "byte 2" in caught.value.where
        assert card.truth(0, MiB) == bytes(MiB)


def test_progress_of_writing_and_reading_reaches_its_end(tmp_path: Path) -> None:
    heard: list[Event] = []
    with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
        wiped(device, heard.append, full=True)
    for step in ("write", "read back"):
        last = [one for one in heard if isinstance(one, Progress) and one.step == step][-1]
        assert last.done == last.total == 40 * MiB


def test_ctrl_c_ends_it_soon_and_says_so(tmp_path: Path) -> None:
    disk = dirty_disk(tmp_path / "card", 40 * MiB)
    stopped = 0.0

    def listener(event: Event) -> None:
        nonlocal stopped
        if isinstance(event, StepStarted) and event.step == "write":
            stopped = time.monotonic()
            os.kill(os.getpid(), signal.SIGINT)

    assert threading.current_thread() is threading.main_thread()
    with loop_device(disk) as device, pytest.raises(Interrupted, match="stopped by you") as caught:
        wiped(device, listener, full=True)
    assert time.monotonic() - stopped < 2
    assert "its start is blank" in caught.value.hint
    assert disk.read_bytes()[:MiB] == bytes(MiB)


def test_the_question_tells_what_is_lost_and_no_writes_nothing(tmp_path: Path) -> None:
    disk = holding(tmp_path, "dos")
    before = disk.read_bytes()
    asked: list[Question] = []

    def no(question: Question) -> str:
        asked.append(question)
        return ""

    with loop_device(disk, partitions=True) as device, pytest.raises(Interrupted, match="nothing was written"):
        wipe(Request(device, full=True), ask=no, listener=unheard)
    assert disk.read_bytes() == before
    assert "every byte will be overwritten" in asked[0].facts[-1]
    assert "ext4" in " ".join(asked[0].facts)
