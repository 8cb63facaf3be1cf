"""When the list of devices is told again, and when lsblk is left in peace: on made-up trees of /proc and /sys."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from faults.disks import dirty_disk, loop_device, needs_root

from imagesmith.flash.watch import changes, watch
from imagesmith.model import Device, FileSystem
from imagesmith.units import GiB, MiB

DISK = Device("/dev/sda", "sda", "disk", 500 * GiB, bus="sata", number="8:0", diskseq=1)
CARD = Device("/dev/sdb", "sdb", "disk", 32 * GiB, bus="usb", removable=True, number="8:16", diskseq=7)
EMPTY = replace(CARD, size=0, diskseq=8)
PART = replace(CARD, path="/dev/sdb1", name="sdb1", kind="part", number="8:17")


class Over(Exception):
    """Nothing more happens."""


class Machine:
    """A machine on which something happens at each sleep; it counts how often lsblk is asked."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.sys, self.names = folder / "proc", folder / "sys", folder / "by-id"
        (self.proc / "self").mkdir(parents=True)
        (self.sys / "block" / "sdb").mkdir(parents=True)
        self.names.mkdir()
        self.write("proc/self/mountinfo", "")
        self.write("proc/partitions", "8 0 sda")
        self.devices: tuple[Device, ...] = (DISK,)
        self.looks = 0
        self.happens: Iterator[Callable[[], None]] = iter(())

    def write(self, place: str, text: str) -> None:
        (self.proc.parent / place).write_text(text)

    def sleep(self, seconds: float) -> None:
        assert 0.5 <= seconds <= 2
        happen = next(self.happens, None)
        if happen is None:
            raise Over
        happen()

    def look(self) -> tuple[Device, ...]:
        self.looks += 1
        return self.devices

    def told(self, *happens: Callable[[], None]) -> list[tuple[Device, ...]]:
        """Everything that was told until nothing more happens."""
        self.happens = iter(happens)
        lists = []
        with contextlib.suppress(Over):
            for found in watch(sleep=self.sleep, look=self.look, proc=self.proc, sys=self.sys, names=self.names):
                lists.append(found)
        return lists

    def card(self) -> None:
        self.devices = (DISK, CARD)
        self.write("proc/partitions", "8 0 sda\n8 16 sdb")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def nothing() -> None:
    return


def test_the_list_is_told_at_once_and_not_again_while_nothing_changes(machine: Machine) -> None:
    assert machine.told(*[nothing] * 20) == [(DISK,)]


def test_lsblk_is_asked_only_after_something_changed(machine: Machine) -> None:
    machine.told(*[nothing] * 20)
    assert machine.looks <= 3


def test_a_card_put_in_is_told(machine: Machine) -> None:
    assert machine.told(nothing, machine.card, nothing) == [(DISK,), (DISK, CARD)]


def test_what_udev_tells_a_moment_later_is_told_too(machine: Machine) -> None:
    def named() -> None:
        machine.devices = (DISK, replace(CARD, by_id=("/dev/disk/by-id/usb-Card",)))

    assert len(machine.told(machine.card, named, nothing)) == 3


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("proc/partitions", "8 0 sda\n8 1 sda1"),
        ("proc/swaps", "/dev/sdb1 partition"),
        ("proc/self/mountinfo", "30 1 8:17 / /media/card rw - ext4 /dev/sdb1 rw\n"),
        ("proc/self/mountinfo", "30 1 0:50 / /media/card rw - btrfs /dev/sdb1 rw\n"),
        ("sys/block/sdb/diskseq", "9\n"),
        ("sys/block/sdb/size", "62333952\n"),
        ("by-id/usb-Card", ""),
    ],
)
def test_every_trace_of_a_change_is_looked_into(machine: Machine, place: str, text: str) -> None:
    machine.told(*[nothing] * 5)
    before = machine.looks
    machine.told(*[nothing] * 5, lambda: machine.write(place, text), nothing)
    assert machine.looks > 2 * before


def test_mounts_of_containers_are_nobodys_business(machine: Machine) -> None:
    machine.told(*[nothing] * 5)
    before = machine.looks
    other = "31 1 0:61 / /run/containerd/1 rw - overlay overlay rw\n"
    machine.told(*[nothing] * 5, lambda: machine.write("proc/self/mountinfo", other), nothing)
    assert machine.looks == 2 * before


def test_a_change_that_lsblk_does_not_show_is_not_told(machine: Machine) -> None:
    told = machine.told(nothing, lambda: machine.write("proc/partitions", "other"), nothing, nothing)
    assert told == [(DISK,)]


def test_changes_name_whole_disks_that_came_and_went() -> None:
    change = changes((DISK,), (DISK, CARD, PART))
    assert (change.appeared, change.gone, change.altered) == ((CARD,), (), ())
    change = changes((DISK, CARD, PART), (DISK,))
    assert (change.appeared, change.gone, change.altered) == ((), (CARD,), ())


def test_another_card_in_the_same_reader_is_gone_and_come() -> None:
    other = replace(CARD, diskseq=9)
    change = changes((CARD,), (other,))
    assert (change.appeared, change.gone) == ((other,), (CARD,))


def test_the_reader_itself_is_no_news_when_a_card_comes_or_goes() -> None:
    came, went = changes((EMPTY,), (CARD,)), changes((CARD,), (EMPTY,))
    assert (came.appeared, came.gone) == ((CARD,), ())
    assert (went.appeared, went.gone) == ((), (CARD,))
    assert changes((), (EMPTY,)).appeared == (EMPTY,)


def test_a_mount_is_a_change_and_a_file_more_is_none() -> None:
    mounted = replace(CARD, mounts=("/media/ann/bootfs",))
    assert changes((CARD,), (mounted,)).altered == (mounted,)
    fuller = replace(CARD, filesystems=(FileSystem("sdb1", "vfat", "", GiB, 4096),))
    assert changes((CARD,), (fuller,)).altered == ()


class TestOnThisMachine:
    pytestmark = needs_root

    def test_a_loop_device_appears_and_goes(self, tmp_path: Path) -> None:
        disk = dirty_disk(tmp_path / "disk", 2 * MiB)
        stream = watch(sleep=lambda _: None)
        before = next(stream)
        with loop_device(disk) as path:
            after = self.until(stream, lambda found: any(one.path == path for one in found))
            (card,) = [one for one in changes(before, after).appeared if one.path == path]
        self.until(stream, lambda found: all(one.diskseq != card.diskseq for one in found))

    @staticmethod
    def until(stream: Iterator[tuple[Device, ...]], right: Callable[[tuple[Device, ...]], bool]) -> tuple[Device, ...]:
        # Others may use loop devices of this machine meanwhile.
        return next(found for found, _ in zip(stream, range(20), strict=False) if right(found))
