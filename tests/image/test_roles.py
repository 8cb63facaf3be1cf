"""Which partition is what: told by content, type and label, whatever its number and wherever on the disk it lies."""

from __future__ import annotations

import itertools

import pytest

from imagesmith.formats import gpt
from imagesmith.image.probe import FileSystem
from imagesmith.image.roles import Found, Volume, assign, contenders
from imagesmith.model import Partition

BIOS = "21686148-6449-6E6F-744E-656564454649"
BOOT = "BC13C2FF-59E6-4262-A352-B275FD6F7172"
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"


def found(number: int, kind: str, label: str = "", type: str = LINUX, *paths: str, start: int = 0) -> Found:
    partition = Partition(number, start or number << 20, 1 << 20, type)
    return Found(Volume(partition, FileSystem(kind, label)), frozenset(paths))  # type: ignore[arg-type]


def roles(*all_found: Found) -> dict[int, str]:
    return {volume.partition.number: volume.role for volume in assign(all_found) if volume.role}


UBUNTU = (
    found(1, "ext4", "cloudimg-rootfs", LINUX, "/etc", start=900 << 20),
    found(14, "unknown", "", BIOS, start=1 << 20),
    found(15, "fat", "UEFI", gpt.ESP, "/EFI", start=5 << 20),
    found(16, "ext4", "BOOT", BOOT, start=111 << 20),
)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_ubuntus_root_and_esp_are_found_in_every_order(order: tuple[int, ...]) -> None:
    assert roles(*(UBUNTU[at] for at in order)) == {1: "root", 15: "esp"}


def test_the_number_of_boot_does_not_matter() -> None:
    assert roles(*UBUNTU[:3], found(13, "ext4", "BOOT", BOOT)) == {1: "root", 15: "esp"}


def test_a_boot_partition_with_an_etc_of_its_own_is_not_the_root() -> None:
    assert roles(*UBUNTU[:3], found(16, "ext4", "BOOT", BOOT, "/etc")) == {1: "root", 15: "esp"}


def test_debians_root_has_no_label_and_is_known_by_what_is_in_it() -> None:
    debian = found(1, "ext4", "", gpt.ROOT_X86_64, "/etc", start=131 << 20)
    assert roles(debian, found(14, "unknown", "", BIOS), found(15, "fat", "EFI", gpt.ESP, "/EFI")) == {
        1: "root",
        15: "esp",
    }


def test_ubuntus_boot_partition_for_a_pi_is_known_by_its_files_or_its_label() -> None:
    writable = found(2, "ext4", "writable", "83", "/etc")
    for boot in (found(1, "fat", "system-boot", "c"), found(1, "fat", "", "c", "/config.txt")):
        assert roles(boot, writable) == {1: "boot", 2: "root"}


def test_two_roots_of_one_kind_are_told_and_none_is_taken() -> None:
    twins = (found(1, "ext4", "rootfs", LINUX, "/etc"), found(2, "ext4", "rootfs", LINUX, "/etc"))
    assert roles(*twins) == {}
    assert [volume.partition.number for volume in contenders(twins, "root")] == [1, 2]


def test_an_esp_without_files_for_efi_is_none() -> None:
    assert roles(found(15, "fat", "UEFI", gpt.ESP)) == {}
