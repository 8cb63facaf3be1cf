"""installer/choose-disk, on a machine made of files: which disk it takes, and when it takes none."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imagesmith.families.ubuntu_live import UNCHOSEN

SCRIPT = Path(__file__).parents[2] / "installer" / "choose-disk"
GB = 10**9
MOUNTS = """\
22 1 0:21 / / rw - overlay /cow rw
31 22 8:17 / /cdrom ro,noatime - iso9660 /dev/sdb1 ro
"""
UDEVADM = """#!/bin/sh
for word; do case $word in --name=*) cat "$PROPERTIES/${word##*/}" 2>/dev/null ;; esac; done
"""


@dataclass
class Machine:
    """A PC's /sys, mounts and udev, with the stick as sdb."""

    folder: Path
    mounts: str = MOUNTS
    numbers: int = field(default=100)

    def disk(
        self, name: str, size: int, *, serial: str = "", on: str = "pci0000:00/ata1", number: str = "", **flags: int
    ) -> Path:
        self.numbers += 1
        place = self.folder / "sys/devices" / on / "block" / name
        place.mkdir(parents=True)
        self.write(place / "size", size // 512)
        self.write(place / "dev", number or f"259:{self.numbers}")
        for flag, value in {"ro": 0, "removable": 0, "queue/rotational": 0, **flags}.items():
            self.write(place / flag, value)
        (self.folder / "sys/block").mkdir(exist_ok=True)
        (self.folder / "sys/block" / name).symlink_to(place)
        if serial:
            self.write(self.folder / "udev" / name, f"ID_SERIAL=Maker_{serial}\nID_SERIAL_SHORT={serial}")
        return place

    def part(self, disk: Path, name: str, number: str) -> Path:
        self.write(disk / name / "partition", 1)
        self.write(disk / name / "dev", number)
        return disk / name

    def stick(self, size: int = 64 * GB) -> None:
        disk = self.disk("sdb", size, serial="STICK00001", on="pci0000:00/usb1/1-2", number="8:16", removable=1)
        self.part(disk, "sdb1", "8:17")

    def write(self, place: Path, content: object) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{content}\n")

    def choose(self, **wanted: object) -> subprocess.CompletedProcess[str]:
        conf = "".join(f"DISK_{key.upper()}='{value}'\n" for key, value in wanted.items())
        self.write(self.folder / "disk.conf", conf)
        (self.folder / "mountinfo").write_text(self.mounts)
        (self.folder / "bin").mkdir(exist_ok=True)
        udevadm = self.folder / "bin/udevadm"
        udevadm.write_text(UDEVADM)
        udevadm.chmod(0o755)
        if not self.answers.exists():
            self.answers.write_text(f"storage: {{layout: {{match: {{path: {UNCHOSEN}}}}}}}\n")
        env = {
            **os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "SYS": str(self.folder / "sys"),
            "MOUNTINFO": str(self.folder / "mountinfo"), "CONSOLE": str(self.folder / "console"),
            "PROPERTIES": str(self.folder / "udev"),
        }  # fmt: skip
        argv = ["sh", SCRIPT, self.folder / "disk.conf", self.answers]
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)

    @property
    def answers(self) -> Path:
        return self.folder / "autoinstall.yaml"

    def takes(self, name: str, **wanted: object) -> None:
        done = self.choose(**wanted)
        assert done.returncode == 0, done.stderr
        assert self.answers.read_text() == f"storage: {{layout: {{match: {{path: /dev/{name}}}}}}}\n"

    def takes_none(self, *said: str, **wanted: object) -> None:
        done = self.choose(**wanted)
        assert done.returncode == 1
        for word in said:
            assert word in done.stderr
        assert UNCHOSEN in self.answers.read_text()
        # The person stands before the screen.
        assert (self.folder / "console").read_text() == done.stderr


@pytest.fixture
def pc(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.stick()
    return machine


@pytest.mark.parametrize("serial", ["S4EVNX0M1", "Maker_S4EVNX0M1"])
def test_a_serial_number_long_or_short(pc: Machine, serial: str) -> None:
    pc.disk("nvme0n1", 500 * GB, serial="S4EVNX0M1")
    pc.disk("sda", 500 * GB, serial="WD1")
    pc.takes("nvme0n1", serial=serial)


def test_a_piece_of_a_serial_number_is_none(pc: Machine) -> None:
    pc.disk("sda", 500 * GB, serial="S4EVNX0M1")
    pc.takes_none("no disk is what", "sda, 500000000000 bytes", "its serial number is another", serial="S4EVNX0M")


def test_a_dot_in_a_serial_number_is_a_dot(pc: Machine) -> None:
    pc.disk("sda", 500 * GB, serial="S4XV")
    pc.takes_none(serial="S4.V")


def test_two_disks_with_one_serial_number(pc: Machine) -> None:
    pc.disk("sda", 500 * GB, serial="0123456789")
    pc.disk("sdc", 500 * GB, serial="0123456789")
    pc.takes_none("2 disks are what", serial="0123456789")


def test_the_largest_and_the_smallest(pc: Machine) -> None:
    pc.disk("sda", 500 * GB)
    pc.disk("nvme0n1", 1000 * GB)
    pc.takes("nvme0n1", size="largest")
    pc.answers.unlink()
    pc.takes("sda", size="smallest")


def test_two_largest_are_none(pc: Machine) -> None:
    pc.disk("sda", 500 * GB)
    pc.disk("sdc", 500 * GB)
    pc.disk("sdd", 400 * GB)
    pc.takes_none("2 disks are what", size="largest")


def test_the_stick_is_not_taken_though_it_is_the_only_disk(pc: Machine) -> None:
    pc.takes_none("sdb", "this installer's own medium", size="largest")


def test_the_stick_is_not_taken_by_its_serial_number_either(pc: Machine) -> None:
    pc.disk("sda", 500 * GB, serial="S4EVNX0M1")
    pc.takes_none("this installer's own medium", serial="STICK00001")


def test_a_stick_larger_than_the_disk(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.stick(2000 * GB)
    machine.disk("sda", 500 * GB)
    machine.takes("sda", size="largest")


def test_the_medium_may_be_mounted_through_a_mapper(pc: Machine) -> None:
    """As a stick with several ISOs does it."""
    disk = pc.disk("sdc", 900 * GB)
    part = pc.part(disk, "sdc1", "8:33")
    pc.disk("dm-0", 3 * GB, number="253:0")
    (part / "holders").mkdir()
    (part / "holders/dm-0").symlink_to(pc.folder / "sys/block/dm-0")
    pc.disk("sda", 500 * GB)
    pc.mounts = MOUNTS.replace("8:17", "253:0")
    pc.takes("sda", size="largest")


def test_where_no_medium_is_mounted_nothing_is_chosen(pc: Machine) -> None:
    pc.disk("sda", 500 * GB, serial="S4EVNX0M1")
    pc.mounts = MOUNTS.replace("/cdrom", "/media")
    pc.takes_none("can't be told", serial="S4EVNX0M1")


def test_another_disk_on_usb_is_taken_by_its_serial_number_alone(pc: Machine) -> None:
    pc.disk("sdc", 500 * GB, serial="USBDISK1", on="pci0000:00/usb2/2-1")
    pc.takes_none("it is on USB", size="largest")
    pc.takes("sdc", serial="USBDISK1")


def test_what_can_be_taken_out_is_not_taken_by_size(pc: Machine) -> None:
    pc.disk("mmcblk0", 128 * GB, on="pci0000:00/mmc0", removable=1)
    pc.takes_none("it can be taken out", at_least=1)


def test_one_path_to_an_nvme_disk_is_not_a_second_disk(pc: Machine) -> None:
    """With several controllers the kernel lists the paths beside the disk; they have no device file."""
    pc.disk("nvme0n1", 500 * GB, serial="S4EVNX0M1")
    path = pc.disk("nvme0c0n1", 500 * GB, hidden=1)
    pc.write(path / "device/serial", "S4EVNX0M1")
    pc.takes("nvme0n1", serial="S4EVNX0M1")
    pc.answers.unlink()
    pc.takes("nvme0n1", size="largest")


def test_bounds_and_kind_together_leave_one(pc: Machine) -> None:
    pc.disk("sda", 4000 * GB, **{"queue/rotational": 1})
    pc.disk("nvme0n1", 500 * GB)
    pc.disk("nvme1n1", 100 * GB)
    pc.takes("nvme0n1", at_least=200 * GB, ssd="yes")


def test_a_bound_from_above(pc: Machine) -> None:
    pc.disk("sda", 4000 * GB)
    pc.disk("sdc", 500 * GB)
    pc.takes("sdc", at_most=600 * GB)


def test_rotating_disks(pc: Machine) -> None:
    pc.disk("sda", 4000 * GB, **{"queue/rotational": 1})
    pc.disk("nvme0n1", 500 * GB)
    pc.takes("sda", ssd="no")


@pytest.mark.parametrize(
    ("flags", "said"), [({"ro": 1}, "read-only"), ({"size": 0}, "no medium in it")], ids=["read-only", "empty"]
)
def test_what_can_not_be_written(pc: Machine, flags: dict[str, int], said: str) -> None:
    disk = pc.disk("sda", 500 * GB)
    for flag, value in flags.items():
        pc.write(disk / flag, value)
    pc.takes_none(said, size="largest")


def test_a_disk_in_use(pc: Machine) -> None:
    pc.part(pc.disk("sda", 500 * GB), "sda1", "8:1")
    pc.mounts += "40 22 8:1 / /mnt rw - ext4 /dev/sda1 rw\n"
    pc.takes_none("something of it is mounted", size="largest")


def test_loops_and_cds_are_no_disks(pc: Machine) -> None:
    pc.disk("loop0", 900 * GB)
    pc.disk("sr0", 900 * GB)
    pc.disk("mmcblk0boot0", 900 * GB)
    pc.disk("sda", 500 * GB)
    pc.takes("sda", size="largest")


def test_answers_in_another_layout_are_changed_too(pc: Machine) -> None:
    """The installer writes what it got from cloud-init anew."""
    pc.answers.write_text(f"---\nstorage:\n    layout:\n        match:\n            path: {UNCHOSEN}\n...\n")
    pc.disk("sda", 500 * GB)
    assert pc.choose(size="largest").returncode == 0
    assert "            path: /dev/sda\n" in pc.answers.read_text()


def test_answers_without_a_place_for_the_disk_fail(pc: Machine) -> None:
    pc.answers.write_text("storage: {layout: {name: lvm}}\n")
    pc.disk("sda", 500 * GB)
    done = pc.choose(size="largest")
    assert done.returncode == 1
    assert "no place for the disk" in done.stderr


def test_a_second_run_comes_to_the_same(pc: Machine) -> None:
    pc.disk("sda", 500 * GB)
    pc.takes("sda", size="largest")
    pc.takes("sda", size="largest")
