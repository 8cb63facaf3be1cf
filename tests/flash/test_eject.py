"""What a reader is told when a card is done, and which devices are left alone."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
from faults.disks import call, dirty_disk, loop_device, mounted, needs_root

from imagesmith.flash.eject import eject
from imagesmith.model import Device
from imagesmith.units import MiB

DOOR_UNLOCK, EJECT = 0x5381, 0x5309


class Reader:
    """A slot in a made-up /sys, and what it was told."""

    def __init__(self, folder: Path, *, removable: str = "1", answer: int | OSError = 0) -> None:
        self.sys, self.path, self.answer = folder / "sys", folder / "sdb", answer
        node = self.sys / "block" / "sdb"
        node.mkdir(parents=True)
        (node / "removable").write_text(f"{removable}\n")
        (node / "diskseq").write_text("7\n")
        self.path.write_bytes(b"card")
        self.told: list[int] = []
        self.card = Device(str(self.path), "sdb", "disk", 4, bus="usb", removable=True, diskseq=7)

    def command(self, descriptor: int, number: int, argument: int) -> int:
        assert os.pread(descriptor, 4, 0) == b"card"
        self.told.append(number)
        if number == EJECT and isinstance(self.answer, OSError):
            raise self.answer
        return int(self.answer) if number == EJECT and isinstance(self.answer, int) else 0

    def eject(self, **change: object) -> str:
        return eject(replace(self.card, **change), sys=self.sys, command=self.command)  # type: ignore[arg-type]


def test_a_reader_unlocks_the_card_and_then_lets_it_go(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    assert reader.eject() == "was ejected and may be taken out"
    assert reader.told == [DOOR_UNLOCK, EJECT]


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "loop"},
        {"kind": "file"},
        {"kind": "part"},
        {"bus": "mmc"},
        {"bus": "sata"},
        {"bus": "nvme"},
        {"bus": ""},
    ],
)
def test_what_is_no_usb_medium_is_left_alone(tmp_path: Path, change: dict[str, object]) -> None:
    reader = Reader(tmp_path)
    assert reader.eject(**change) == ""
    assert reader.told == []


def test_a_usb_disk_that_is_its_own_medium_is_left_alone(tmp_path: Path) -> None:
    reader = Reader(tmp_path, removable="0")
    assert reader.eject() == ""
    assert reader.told == []


def test_a_card_put_in_meanwhile_stays_in(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    assert "another medium" in reader.eject(diskseq=6)
    assert reader.told == []


@pytest.mark.parametrize("answer", [OSError(errno.EIO, "Input/output error"), 0x8000002])
def test_a_reader_that_refuses_is_told_in_words(tmp_path: Path, answer: int | OSError) -> None:
    assert "could not be ejected" in Reader(tmp_path, answer=answer).eject()


def test_a_reader_that_was_pulled_out_is_told_in_words(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    reader.path.unlink()
    assert "No such file" in reader.eject()
    assert reader.told == []


class TestOnThisMachine:
    pytestmark = needs_root

    def test_a_kernel_that_knows_no_such_command_is_told_in_words(self, tmp_path: Path) -> None:
        reader = Reader(tmp_path)
        with loop_device(dirty_disk(tmp_path / "disk", MiB)) as path:
            told = eject(replace(reader.card, path=path), sys=reader.sys)
        assert "could not be ejected" in told

    def test_a_card_that_was_mounted_again_is_not_pulled_from_under_its_user(self, tmp_path: Path) -> None:
        reader = Reader(tmp_path)
        with loop_device(dirty_disk(tmp_path / "disk", 2 * MiB)) as path:
            call("mke2fs", "-q", path)
            with mounted(path, tmp_path / "mnt"):
                told = eject(replace(reader.card, path=path), sys=reader.sys, command=reader.command)
        assert "in use again" in told
        assert reader.told == []
