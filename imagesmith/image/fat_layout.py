"""What a FAT says of itself: its boot sector, label, and which clusters are in use. Bytes in, values out.

Called by `image.probe` (what is this?) and `image.allocation` (what must be written?). Touches nothing.
Source: Microsoft's FAT specification 1.03; where it and Linux differ (which FAT is it?), Linux's rule is kept.
"""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from imagesmith.image.layout import Reader, Unsure


@dataclass(frozen=True, slots=True)
class BootSector:
    """The geometry of a FAT, in bytes and clusters."""

    kind: Literal["fat12", "fat16", "fat32"]
    sector_size: int
    cluster_size: int
    reserved_size: int
    """Of everything before the first FAT."""
    fats: int
    fat_size: int
    """Of one copy."""
    root_size: int
    """Of the fixed root directory; 0 on FAT32."""
    root_cluster: int
    """0 unless FAT32."""
    clusters: int
    size: int
    serial: str
    """As the kernel shows it: 1234-ABCD."""

    @property
    def root_at(self) -> int:
        return self.reserved_size + self.fats * self.fat_size

    @property
    def data_at(self) -> int:
        """Where cluster 2, the first, begins."""
        return self.root_at + self.root_size


def parse_boot_sector(data: bytes) -> BootSector | None:
    """The boot sector in a file system's first 512 bytes; None when that is no FAT (exFAT and NTFS are none)."""
    if len(data) < 512 or data[510:512] != b"\x55\xaa" or data[0] not in (0xEB, 0xE9):
        return None
    sector, per_cluster, reserved, fats, root_entries, small, media, fat16 = struct.unpack_from("<HBHBHHBH", data, 11)
    large, fat32 = struct.unpack_from("<II", data, 32)
    sectors, fat = small or large, fat16 or fat32
    if sector not in (512, 1024, 2048, 4096) or per_cluster not in (1, 2, 4, 8, 16, 32, 64, 128):
        return None
    if not reserved or fats not in (1, 2) or not fat or media < 0xF0:
        return None
    root_sectors = -(-root_entries * 32 // sector)
    clusters = (sectors - reserved - fats * fat - root_sectors) // per_cluster
    if clusters < 1:
        return None
    kind: Literal["fat12", "fat16", "fat32"] = "fat32" if not fat16 else "fat16" if clusters > 4084 else "fat12"
    if clusters + 2 > fat * sector * 8 // {"fat12": 12, "fat16": 16, "fat32": 32}[kind]:
        return None
    (serial,) = struct.unpack_from("<I", data, 67 if kind == "fat32" else 39)
    return BootSector(
        kind=kind,
        sector_size=sector,
        cluster_size=per_cluster * sector,
        reserved_size=reserved * sector,
        fats=fats,
        fat_size=fat * sector,
        root_size=root_sectors * sector,
        root_cluster=struct.unpack_from("<I", data, 44)[0] if kind == "fat32" else 0,
        clusters=clusters,
        size=sectors * sector,
        serial=f"{serial >> 16:04X}-{serial & 0xFFFF:04X}",
    )


def label(boot: BootSector, read: Reader) -> str:
    """The volume label in the root directory; the boot sector's copy is often stale and is not asked. Empty if none."""
    at, size = (
        (boot.root_at, boot.root_size)
        if boot.root_size
        else (boot.data_at + (boot.root_cluster - 2) * boot.cluster_size, boot.cluster_size)
    )
    directory = read(at, size)
    for entry in (directory[start : start + 32] for start in range(0, len(directory) - 31, 32)):
        if entry[0] == 0:
            break
        if entry[0] != 0xE5 and entry[11] & 0x18 == 0x08 and entry[11] != 0x0F:
            return entry[:11].decode("ascii", "replace").rstrip()
    return ""


def free_clusters(boot: BootSector, read: Reader) -> int:
    """How many clusters are free."""
    return _entries(boot, _fat(boot, read, 0)).count(0)


def used_ranges(boot: BootSector, read: Reader) -> Iterator[tuple[int, int]]:
    """The bytes in use as (start, end) in order: all before the clusters, used clusters, what follows the last one.

    Raises Unsure when the copies of the FAT differ.
    """
    fat = _fat(boot, read, 0)
    if boot.fats == 2 and _fat(boot, read, 1) != fat:
        raise Unsure("its two FATs differ")
    yield 0, boot.data_at
    used = bytes(1 if entry else 0 for entry in _entries(boot, fat))
    for match in re.finditer(b"\x01+", used):
        start, end = (boot.data_at + index * boot.cluster_size for index in match.span())
        yield start, end
    end_of_clusters = boot.data_at + boot.clusters * boot.cluster_size
    if end_of_clusters < boot.size:
        yield end_of_clusters, boot.size


def _fat(boot: BootSector, read: Reader, copy: int) -> bytes:
    raw = read(boot.reserved_size + copy * boot.fat_size, boot.fat_size)
    if len(raw) < boot.fat_size:
        raise Unsure("its FAT is cut short")
    return raw


def _entries(boot: BootSector, fat: bytes) -> list[int]:
    """The entries of clusters 2 and on; 0 is a free cluster, anything else is in use, reserved or bad."""
    count = boot.clusters
    if boot.kind == "fat12":
        triples = zip(fat[0::3], fat[1::3], fat[2::3], strict=False)
        pairs = ((low | (mid & 0x0F) << 8, mid >> 4 | high << 4) for low, mid, high in triples)
        return [entry for pair in pairs for entry in pair][2 : 2 + count]
    if boot.kind == "fat16":
        return array("H", fat[4 : 4 + 2 * count]).tolist()
    # The top four bits of a FAT32 entry are not part of it.
    return [entry & 0x0FFFFFFF for entry in array("I", fat[8 : 8 + 4 * count])]
