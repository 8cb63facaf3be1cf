"""What speaks against a device, which flag lifts it, and what is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagesmith.model import Device, FileSystem
from imagesmith.planning.refusals import (
    expected_answer,
    has_stable_name,
    is_fixed,
    refusals,
    unmountable,
    why_typed,
)
from imagesmith.units import GiB

CARD = Device("/dev/sdb", "sdb", "disk", 32 * GiB, "Reader", "123", "usb", removable=True)


def reasons(device: Device, image_size: int = GiB, *, allow_fixed: bool = False, **options: object) -> str:
    found = refusals(device, image_size, allow_fixed=allow_fixed, **options)  # type: ignore[arg-type]
    return "\n".join(refusal.reason for refusal in found)


def test_nothing_speaks_against_a_usb_card() -> None:
    assert refusals(CARD, GiB, allow_fixed=False) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"holds_system": True}, "holds the running system"),
        ({"kind": "part", "parent": "/dev/sdb"}, "the whole disk is /dev/sdb"),
        ({"kind": "crypt"}, "crypt device"),
        ({"read_only": True}, "read-only"),
        ({"size": GiB - 512}, "too small by 512 bytes"),
        ({"size": 0}, "no medium"),
        ({"mounts": ("/media/card", "/data")}, "mounted as /media/card, /data"),
        ({"holders": ("md0 (raid1)",)}, "in use by md0 (raid1)"),
    ],
)
def test_what_no_flag_lifts(change: dict[str, object], words: str) -> None:
    found = refusals(replace(CARD, **change), GiB, allow_fixed=True, name_typed=True)  # type: ignore[arg-type]
    assert [refusal.override for refusal in found] == [""]
    assert words in found[0].reason


def test_the_system_disk_is_refused_whatever_is_allowed() -> None:
    system = replace(CARD, holds_system=True, bus="nvme", removable=False)
    assert "system" in reasons(system, 0, allow_fixed=True, name_typed=True)


def test_the_disk_that_holds_the_image_is_refused_whatever_is_allowed() -> None:
    stick = replace(CARD, mounts=("/media/ann/images",))
    assert "holds the image" in reasons(stick, 0, allow_fixed=True, name_typed=True, holds_image=True)


def test_a_fixed_disk_needs_its_flag() -> None:
    fixed = replace(CARD, bus="sata", removable=False)
    assert [refusal.override for refusal in refusals(fixed, GiB, allow_fixed=False)] == ["--allow-fixed-disk"]
    assert refusals(fixed, GiB, allow_fixed=True) == ()


def test_a_large_disk_must_be_named() -> None:
    assert reasons(replace(CARD, size=256 * GiB)) == ""
    assert "more than the 256 GiB" in reasons(replace(CARD, size=256 * GiB + 512))
    assert reasons(replace(CARD, size=512 * GiB), name_typed=True) == ""


def test_all_reasons_come_at_once() -> None:
    worst = Device(
        "/dev/sda1", "sda1", "part", 100, read_only=True, mounts=("/",), holders=("dm-0",), holds_system=True
    )  # fmt: skip
    assert len(refusals(worst, GiB, allow_fixed=False, table_sector=4096)) == 8


def test_a_table_for_other_sectors_is_refused() -> None:
    assert "sectors of 512 bytes, but" in reasons(CARD, table_sector=4096)
    assert reasons(replace(CARD, logical_sector=4096), table_sector=4096) == ""


def test_a_mmc_slot_and_a_loop_device_are_no_fixed_disks() -> None:
    assert not is_fixed(Device("/dev/mmcblk0", "mmcblk0", "disk", GiB, bus="mmc"))
    assert not is_fixed(Device("/dev/loop0", "loop0", "loop", GiB))
    assert is_fixed(Device("/dev/vda", "vda", "disk", GiB))


def test_what_must_be_typed() -> None:
    assert expected_answer(CARD) == "yes"
    assert expected_answer(replace(CARD, size=257 * GiB)) == "sdb"
    assert expected_answer(replace(CARD, bus="sata", removable=False)) == "sdb"


def test_which_names_last() -> None:
    assert not has_stable_name(CARD)
    assert not has_stable_name(replace(CARD, path="/dev/disk/by-id/../../sdb"))
    assert has_stable_name(replace(CARD, path="/dev/disk/by-id/usb-Reader_123"))
    assert has_stable_name(Device("/dev/loop3", "loop3", "loop", GiB))


BACKUP = replace(CARD, filesystems=(FileSystem("sdb1", "ntfs", "Backup", 29 * GiB),))


def test_someones_data_is_refused_until_its_name_is_typed() -> None:
    (found,) = refusals(BACKUP, GiB, allow_fixed=False)
    assert found.reason == 'looks like it holds someone\'s data: sdb1 ntfs "Backup", 29 GiB'
    assert found.override == "typing its name, sdb (with --yes: --allow-fixed-disk)"
    assert refusals(BACKUP, GiB, allow_fixed=False, name_typed=True) == ()


def test_the_question_for_someones_data_wants_the_name_and_tells_why() -> None:
    assert expected_answer(BACKUP) == "sdb"
    assert "Backup" in "; ".join(why_typed(BACKUP))
    assert why_typed(CARD) == ()


def test_a_loop_device_with_someones_data_is_no_exception_but_a_file_is() -> None:
    assert expected_answer(replace(BACKUP, kind="loop", name="loop3")) == "loop3"
    assert expected_answer(replace(BACKUP, kind="file", size=GiB * 512)) == "yes"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mmcblk0boot0", "boot area"),
        ("mmcblk12boot1", "boot area"),
        ("mmcblk0rpmb", "RPMB"),
        ("mmcblk1gp0", "special area"),
        ("mtdblock0", "flash chip"),
        ("zram0", "memory"),
        ("ram3", "memory"),
    ],
)
def test_what_the_kernel_calls_a_disk_and_is_none_is_never_offered(name: str, words: str) -> None:
    device = Device(f"/dev/{name}", name, "disk", GiB, bus="mmc", removable=True)
    assert words in reasons(device, 0, allow_fixed=True, name_typed=True)


def test_the_card_beside_its_boot_areas_is_one() -> None:
    assert refusals(Device("/dev/mmcblk0", "mmcblk0", "disk", 32 * GiB, bus="mmc"), GiB, allow_fixed=False) == ()


def test_an_empty_reader_is_told_as_one() -> None:
    assert "no medium" in reasons(replace(CARD, size=0), 0)


@pytest.mark.parametrize("point", ["/media/ann/bootfs", "/run/media/ann/bootfs", "/media/usb0", "/mnt", "/mnt/card"])
def test_a_card_that_the_desktop_mounted_is_offered_to_be_unmounted(point: str) -> None:
    card = replace(CARD, mounts=(point,))
    assert unmountable(card) == (point,)
    assert refusals(card, GiB, allow_fixed=False) == ()


@pytest.mark.parametrize(
    "point",
    ["/", "/boot/firmware", "[SWAP]", "/home", "/srv/data", "/media", "/mnt2", "/media/../home", "/var/lib/kubelet"],
)
def test_a_card_in_use_elsewhere_is_refused_with_all_its_mounts(point: str) -> None:
    card = replace(CARD, mounts=("/media/ann/bootfs", point))
    assert unmountable(card) == ()
    assert "in use, mounted as /media/ann/bootfs" in reasons(card)


@pytest.mark.parametrize(
    "change",
    [
        {"bus": "sata", "removable": False},
        {"holds_system": True},
        {"holders": ("md0 (raid1)",)},
    ],
)
def test_nothing_is_unmounted_from_disks_of_this_machine(change: dict[str, object]) -> None:
    disk = replace(CARD, mounts=("/mnt/data",), **change)  # type: ignore[arg-type]
    assert unmountable(disk) == ()
    assert "unmount it first" in reasons(disk, 0, allow_fixed=True, name_typed=True)
