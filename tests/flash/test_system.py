"""What the system stands on, told from trees of /proc and /sys as kernels show them."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.disks import call, dirty_disk, listed, loop_device, mounted, needs_root

from imagesmith.flash.system import is_system_place, numbers_beneath, system_numbers
from imagesmith.units import MiB


class Machine:
    """A made-up /proc and /sys."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.sys = folder / "proc", folder / "sys"
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "self" / "mountinfo").write_text("")
        (self.sys / "dev" / "block").mkdir(parents=True)

    def mount(self, number: str, point: str, source: str = "/dev/x", options: str = "rw") -> None:
        with (self.proc / "self" / "mountinfo").open("a") as file:
            file.write(f"30 1 {number} / {point} rw,relatime shared:1 - ext4 {source} {options}\n")

    def disk(self, name: str, number: str) -> Path:
        return self._node(self.sys / "devices" / name, number)

    def partition(self, disk: Path, name: str, number: str) -> Path:
        node = self._node(disk / name, number)
        (node / "partition").write_text("1\n")
        return node

    def stacked(self, name: str, number: str, below: list[Path]) -> Path:
        node = self.disk(name, number)
        (node / "slaves").mkdir()
        for path in below:
            (node / "slaves" / path.name).symlink_to(path)
        return node

    def _node(self, path: Path, number: str) -> Path:
        path.mkdir(parents=True)
        (path / "dev").write_text(f"{number}\n")
        (self.sys / "dev" / "block" / number).symlink_to(path)
        return path

    def numbers(self) -> frozenset[str]:
        return system_numbers(self.proc, self.sys)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_partition_leads_to_its_disk(machine: Machine) -> None:
    machine.partition(machine.disk("sda", "8:0"), "sda1", "8:1")
    machine.mount("8:1", "/")
    assert machine.numbers() == {"8:1", "8:0"}


def test_stacked_layers_lead_to_every_disk_below(machine: Machine) -> None:
    parts = [
        machine.partition(machine.disk(f"sd{letter}", f"8:{at}"), f"sd{letter}1", f"8:{at + 1}")
        for letter, at in (("a", 0), ("b", 16))
    ]
    raid = machine.stacked("md0", "9:0", parts)
    machine.stacked("dm-0", "252:0", [machine.stacked("dm-1", "252:1", [raid])])
    machine.mount("252:0", "/usr")
    assert {"8:0", "8:16"} <= machine.numbers()


def test_every_device_of_a_btrfs_counts(machine: Machine) -> None:
    one, two = machine.disk("sda", "8:0"), machine.disk("sdb", "8:16")
    family = machine.sys / "fs" / "btrfs" / "uuid" / "devices"
    family.mkdir(parents=True)
    for node in (one, two):
        (family / node.name).symlink_to(node)
    machine.mount("8:0", "/")
    assert machine.numbers() == {"8:0", "8:16"}


def test_other_mounts_do_not_count(machine: Machine) -> None:
    machine.disk("sda", "8:0")
    machine.mount("8:0", "/media/card")
    assert machine.numbers() == frozenset()


def test_mount_points_with_spaces_are_read(machine: Machine) -> None:
    machine.disk("sda", "8:0")
    machine.mount("8:0", "/boot/my\\040loader")
    assert machine.numbers() == {"8:0"}


def test_a_mount_of_process_one_counts_too(machine: Machine) -> None:
    machine.disk("sda", "8:0")
    (machine.proc / "1").mkdir()
    (machine.proc / "1" / "mountinfo").write_text("30 1 8:0 / / rw - ext4 /dev/sda rw\n")
    assert machine.numbers() == {"8:0"}


def test_an_overlay_leads_to_the_disks_of_its_layers(machine: Machine, tmp_path: Path) -> None:
    machine.mount("0:50", "/", "overlay", f"rw,lowerdir={tmp_path},upperdir={tmp_path}")
    status = tmp_path.stat().st_dev
    expected = {f"{status >> 8 & 0xFFF}:{status & 0xFF}"} if status >> 8 & 0xFFF else set()
    assert machine.numbers() == expected


@pytest.mark.parametrize("point", ["/", "/boot", "/boot/firmware", "/usr", "[SWAP]"])
def test_places_of_the_system(point: str) -> None:
    assert is_system_place(point)


@pytest.mark.parametrize("point", ["/media/card", "/home/ann/usr", "/bootleg", ""])
def test_places_of_others(point: str) -> None:
    assert not is_system_place(point)


class TestOnThisMachine:
    pytestmark = needs_root

    def test_a_file_on_a_card_leads_to_the_card(self, tmp_path: Path) -> None:
        disk = dirty_disk(tmp_path / "disk", 24 * MiB)
        call("sfdisk", "--quiet", disk, stdin="label: dos\nsize=16MiB, type=83\n")
        with loop_device(disk, partitions=True) as path:
            call("mke2fs", "-q", f"{path}p1")
            with mounted(f"{path}p1", tmp_path / "mnt") as point:
                (point / "node.img").write_bytes(b"image")
                (tmp_path / "link").symlink_to(point / "node.img")
                numbers = numbers_beneath(tmp_path / "link")
                assert {listed(path).number, listed(f"{path}p1").number} <= numbers
            assert listed(path).number not in numbers_beneath(disk)

    def test_a_file_that_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            numbers_beneath(tmp_path / "none")

    def test_a_file_on_a_btrfs_leads_to_the_disk_that_is_mounted_there(self, tmp_path: Path) -> None:
        machine = Machine(tmp_path / "machine")
        with loop_device(dirty_disk(tmp_path / "disk", MiB)) as path:
            # Only the mount table tells: as a btrfs does, the file's own number leads elsewhere.
            machine.mount("0:50", "/", "/dev/none")
            machine.mount("0:51", str(tmp_path), path)
            machine.mount("0:52", f"{tmp_path}/machine", "/dev/none")
            assert listed(path).number in numbers_beneath(tmp_path / "disk", machine.proc, machine.sys)
            assert listed(path).number not in numbers_beneath(machine.proc, machine.proc, machine.sys)
