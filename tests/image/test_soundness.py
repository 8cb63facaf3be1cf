"""Every file system of an image held against its own checker: the sound ones told, the damaged one refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from building import small_disk
from image.made_disks import Disk, noise, tool

from imagesmith.errors import EditFailed
from imagesmith.image.soundness import check_filesystems


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return small_disk(tmp_path)


@pytest.fixture
def room(tmp_path: Path) -> Path:
    (tmp_path / "room").mkdir()
    return tmp_path / "room"


def test_sound_ones_are_told_and_nothing_is_changed_or_left(disk: Disk, room: Path) -> None:
    before = disk.path.read_bytes()
    assert check_filesystems(disk.path, room) == ("partition 1 (fat 'BOOTFS')", "partition 2 (ext4 'rootfs')")
    assert disk.path.read_bytes() == before
    assert list(room.iterdir()) == []


def test_a_damaged_ext4_is_named(disk: Disk, room: Path) -> None:
    tool("debugfs", "-w", "-R", "clri /etc", f"{disk.path}?offset={disk.offsets['root']}")
    with pytest.raises(EditFailed, match=r"partition 2.*e2fsck found the ext4 damaged"):
        check_filesystems(disk.path, room)


def test_a_damaged_fat_is_named(disk: Disk, room: Path) -> None:
    reserved = int.from_bytes(disk.path.read_bytes()[disk.offsets["boot"] + 14 :][:2], "little") * 512
    disk.patch(disk.offsets["boot"] + reserved + 64, noise(64))
    with pytest.raises(EditFailed, match=r"partition 1.*fsck.fat found the FAT damaged"):
        check_filesystems(disk.path, room)
