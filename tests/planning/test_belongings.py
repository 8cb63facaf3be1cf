"""Which cards look like someone's, told by what lsblk shows of real ones."""

from __future__ import annotations

import pytest

from imagesmith.model import Device, FileSystem
from imagesmith.planning.belongings import FEW, someones_data
from imagesmith.units import GiB, MiB


def card(*systems: tuple[str, str, int] | tuple[str, str, int, int]) -> Device:
    found = tuple(FileSystem(f"sdb{at}", *system) for at, system in enumerate(systems, 1))
    return Device("/dev/sdb", "sdb", "disk", 32 * GiB, bus="usb", removable=True, filesystems=found)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(card(), id="nothing at all"),
        pytest.param(card(("vfat", "bootfs", 512 * MiB), ("ext4", "rootfs", 29 * GiB)), id="Raspberry Pi OS"),
        pytest.param(card(("vfat", "system-boot", 512 * MiB), ("ext4", "writable", 29 * GiB)), id="Ubuntu"),
        pytest.param(card(("ext4", "armbi_root", 29 * GiB)), id="Armbian, one partition"),
        pytest.param(card(("vfat", "", 256 * MiB), ("ext4", "", 29 * GiB)), id="older Armbian, without labels"),
        pytest.param(card(("vfat", "ESP", 512 * MiB), ("ext4", "root", 29 * GiB)), id="our amd64"),
        pytest.param(card(("vfat", "RASPIFIRM", 512 * MiB), ("ext4", "RASPIROOT", 29 * GiB)), id="Debian for the Pi"),
        pytest.param(card(("vfat", "EFI", GiB), ("ext4", "BOOT", GiB), ("btrfs", "fedora", 8 * GiB)), id="Fedora"),
        pytest.param(card(("vfat", "bootfs", 512 * MiB, 70 * MiB), ("ext4", "rootfs", 29 * GiB)), id="boot files"),
        pytest.param(card(("vfat", "", 512 * MiB), ("ext4", "", 8 * GiB), ("swap", "", GiB)), id="with swap"),
        pytest.param(card(("iso9660", "Debian 12 amd64", GiB), ("vfat", "", 9 * MiB, 9 * MiB)), id="installer"),
        pytest.param(card(("exfat", "", 64 * GiB, 300 * 1024)), id="new card"),
        pytest.param(card(("vfat", "KINGSTON", 16 * GiB, 96 * 1024)), id="new stick with its maker's name"),
        pytest.param(card(("vfat", "NO NAME", 16 * GiB)), id="no name, its use not told"),
    ],
)  # fmt: skip
def test_a_nodes_card_and_a_new_one_are_nobodys(found: Device) -> None:
    assert someones_data(found) == ()


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (card(("ntfs", "Photos", 29 * GiB)), 'sdb1 ntfs "Photos", 29 GiB'),
        (card(("exfat", "", 64 * GiB, 12 * GiB)), "sdb1 exfat, 64 GiB, 12 GiB of it in use"),
        (card(("vfat", "", 512 * MiB, 300 * MiB)), "sdb1 vfat, 512 MiB, 300 MiB of it in use"),
        (card(("exfat", "EOS_DIGITAL", 32 * GiB)), 'sdb1 exfat "EOS_DIGITAL", 32 GiB'),
        (card(("crypto_LUKS", "", 29 * GiB)), "encrypted with LUKS"),
        (card(("BitLocker", "", 29 * GiB)), "encrypted with BitLocker"),
        (card(("LVM2_member", "", 29 * GiB)), "a part of a larger store, LVM"),
        (card(("linux_raid_member", "nas:0", 29 * GiB)), "a part of a larger store, RAID"),
        (card(("isw_raid_member", "", 29 * GiB)), "a part of a larger store, RAID"),
        (card(("zfs_member", "tank", 29 * GiB)), "a part of a larger store, ZFS"),
        (card(("ext4", "", 29 * GiB)), "sdb1 ext4, 29 GiB, without a partition to boot from"),
        (card(("xfs", "", 29 * GiB)), "without a partition to boot from"),
        (card(("ext4", "backup", 29 * GiB)), 'sdb1 ext4 "backup", 29 GiB'),
        (card(("apfs", "", 29 * GiB)), "sdb1 apfs, 29 GiB"),
        (card(("vfat", "EFI", 200 * MiB), ("hfsplus", "Time Machine", 29 * GiB)), 'sdb2 hfsplus "Time Machine"'),
        (card(("exfat", "Ventoy", 29 * GiB, 9 * GiB), ("vfat", "VTOYEFI", 32 * MiB)), 'sdb1 exfat "Ventoy"'),
        (card(("vfat", "bootfs", 512 * MiB), ("ext4", "rootfs", GiB), ("ext4", "data", 9 * GiB)), 'sdb3 ext4 "data"'),
        (card(("vfat", "bootfs", 29 * GiB, 12 * GiB)), "12 GiB of it in use"),
    ],
)  # fmt: skip
def test_what_looks_like_someones_is_told_in_words(found: Device, words: str) -> None:
    assert words in "; ".join(someones_data(found))


def test_a_full_boot_partition_does_not_hide_what_lies_beside_it() -> None:
    told = someones_data(card(("vfat", "bootfs", 512 * MiB), ("ntfs", "", GiB), ("exfat", "X", GiB, GiB)))
    assert [words.split()[0] for words in told] == ["sdb2", "sdb3"]


def test_a_new_card_may_have_used_a_little_for_itself() -> None:
    assert someones_data(card(("exfat", "", GiB, FEW))) == ()
    assert someones_data(card(("exfat", "", GiB, FEW + 4096))) != ()
