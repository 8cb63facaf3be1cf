"""What on a card looks like someone's data, and what a node's card or a new card looks like.

Called by `planning.refusals`. Pure: judges what was told without mounting anything, by kinds, labels and sizes.
It can't know that a card is worthless; it knows what a node's card, an installer and a new card look like, and takes
the rest for someone's.
"""

from __future__ import annotations

from imagesmith.model import Device, FileSystem
from imagesmith.units import GiB, MiB, show_size

BOOT_LABELS = frozenset(
    (
        "boot", "bootfs", "system-boot", "firmware", "raspifirm", "esp", "efi", "uefi", "efisys", "efi-system",
        "armbi_boot", "hassos-boot", "opi_boot", "bpi-boot", "piboot", "cidata", "config-2",
    )
)  # fmt: skip
"""Labels, in lower case, that distributors' images give to what firmware and loaders read."""
ROOT_LABELS = frozenset(
    (
        "root", "rootfs", "writable", "cloudimg-rootfs", "raspiroot", "armbi_root", "armbian_root", "piroot",
        "opi_root", "bpi-root", "fedora", "hassos-kernel", "hassos-system", "hassos-overlay", "linuxroot",
    )
)  # fmt: skip
"""Labels that images give to their root."""
BOOT_MAX = 2 * GiB
"""No image has a larger boot partition."""
FEW = 8 * MiB
"""What a formatted new card uses for itself, and for the hidden folders that a computer leaves on it."""
_FAT = ("vfat", "exfat")
_LINUX = ("ext2", "ext3", "ext4", "btrfs", "xfs", "f2fs")
_IMAGES = ("squashfs", "erofs", "cramfs", "iso9660")
"""Written as a whole and never changed since: nobody keeps anything there."""
_NEUTRAL = (*_IMAGES, "swap", "swsuspend", "DM_verity_hash")
_ENCRYPTED = {"crypto_LUKS": "LUKS", "BitLocker": "BitLocker"}
_STORES = {
    "LVM2_member": "LVM", "LVM1_member": "LVM", "linux_raid_member": "RAID", "zfs_member": "ZFS", "bcache": "bcache",
    "ceph_bluestore": "Ceph", "drbd": "DRBD", "VMFS_volume_member": "VMFS",
}  # fmt: skip


def someones_data(device: Device) -> tuple[str, ...]:
    """What on `device` looks like someone's data, each in words (`sdb1 ntfs "Photos", 29 GiB`); empty = nothing."""
    found = device.filesystems
    # A FAT without a label boots something only where there is something to boot; alone it is a camera's card.
    accompanied = any(one.kind in (*_LINUX, *_IMAGES) for one in found)
    boots = any(_is_boot(one, accompanied) for one in found)
    judged = ((one, None if _is_boot(one, accompanied) else _judged(one, boots)) for one in found)
    return tuple(_in_words(one, why) for one, why in judged if why is not None)


def _judged(one: FileSystem, boots: bool) -> str | None:
    """None when it is nobody's data; else more about it, "" when its kind says enough."""
    if one.kind in _NEUTRAL:
        return None
    if one.kind in _FAT:
        return _judged_fat(one)
    if one.kind in _LINUX:
        return _judged_linux(one, boots)
    if one.kind in _ENCRYPTED:
        return f"encrypted with {_ENCRYPTED[one.kind]}"
    if one.kind in _STORES or one.kind.endswith("_raid_member"):
        return f"a part of a larger store, {_STORES.get(one.kind, 'RAID')}"
    return ""


def _is_boot(one: FileSystem, accompanied: bool) -> bool:
    if one.size > BOOT_MAX:
        return False
    if one.kind == "vfat":
        return one.label.lower() in BOOT_LABELS or (accompanied and not one.label)
    return one.kind in ("ext2", "ext3", "ext4") and one.label.lower() in BOOT_LABELS


def _judged_fat(one: FileSystem) -> str | None:
    if one.used is not None:
        # What it says of itself is better than any label: makers label new cards, cameras don't label full ones.
        return None if one.used <= FEW else f"{show_size(one.used)} of it in use"
    return None if one.label in ("", "NO NAME") else ""


def _judged_linux(one: FileSystem, boots: bool) -> str | None:
    if one.label:
        return None if one.label.lower() in ROOT_LABELS else ""
    return None if boots else "without a partition to boot from"


def _in_words(one: FileSystem, why: str) -> str:
    label = f' "{one.label}"' if one.label else ""
    return f"{one.name} {one.kind}{label}, {show_size(one.size)}{f', {why}' if why else ''}"
