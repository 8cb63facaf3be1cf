"""How much of a FAT or exFAT is in use, told from its own tables without mounting it.

Called by `flash.devices`, to tell a camera's card from a new one. Touches nothing: reads by the reader it is given.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from imagesmith.units import KiB

ReadAt = Callable[[int, int], bytes]
"""`size` bytes at `offset` of the file system; fewer at its end."""
_TABLE_PART = 256 * KiB
"""Of a large table only this much is read: files are put at the front first."""
_FREE_UNKNOWN = 0xFFFFFFFF


def used_bytes(read: ReadAt) -> int | None:
    """Bytes in use, at least; None when it is no FAT, or contradicts itself. Raises what `read` raises."""
    head = read(0, 512)
    if len(head) < 512 or head[510:512] != b"\x55\xaa":
        return None
    try:
        return _exfat(head, read) if head[3:11] == b"EXFAT   " else _fat(head, read)
    except ZeroDivisionError:
        return None


def _fat(head: bytes, read: ReadAt) -> int | None:
    sector, per_cluster, reserved, tables = _number(head, 11, 2), head[13], _number(head, 14, 2), head[16]
    entries, sectors = _number(head, 17, 2), _number(head, 19, 2) or _number(head, 32, 4)
    wide = _number(head, 22, 2) == 0
    fat_size = _number(head, 36, 4) if wide else _number(head, 22, 2)
    data = sectors - reserved - tables * fat_size - -(-entries * 32 // sector)
    clusters, cluster = data // per_cluster, sector * per_cluster
    if sector not in (512, 1024, 2048, 4096) or clusters <= 0 or fat_size == 0:
        return None
    table = read(reserved * sector, min(fat_size * sector, _TABLE_PART))
    if wide:
        used = max(_counted(table, "I", clusters, 0x0FFFFFFF), _told_by_fsinfo(head, read, sector, clusters))
    elif clusters < 4085:
        used = _counted12(table, clusters)
    else:
        used = _counted(table, "H", clusters, 0xFFFF)
    return used * cluster


def _counted(table: bytes, code: str, clusters: int, mask: int) -> int:
    """Clusters that the table gives to a file; its first two entries belong to none."""
    width = struct.calcsize(code)
    whole = table[2 * width : min((clusters + 2) * width, len(table) // width * width)]
    return sum(1 for (entry,) in struct.iter_unpack(f"<{code}", whole) if entry & mask)


def _counted12(table: bytes, clusters: int) -> int:
    """The same for entries of a byte and a half."""
    pairs = (table[at : at + 3] for at in range(0, len(table) - 2, 3))
    entries = [half for a, b, c in pairs for half in (a | (b & 15) << 8, b >> 4 | c << 4)]
    return sum(1 for entry in entries[2 : clusters + 2] if entry)


def _told_by_fsinfo(head: bytes, read: ReadAt, sector: int, clusters: int) -> int:
    """What FAT32 notes of itself, for what lies behind the part of the table that was read; 0 when it notes nothing."""
    info = read(_number(head, 48, 2) * sector, 512)
    if info[:4] != b"RRaA" or info[484:488] != b"rrAa":
        return 0
    free = _number(info, 488, 4)
    return 0 if free == _FREE_UNKNOWN or free > clusters else clusters - free


def _number(data: bytes, at: int, width: int) -> int:
    return int.from_bytes(data[at : at + width], "little")


def _exfat(head: bytes, read: ReadAt) -> int | None:
    heap, clusters, root = _number(head, 88, 4), _number(head, 92, 4), _number(head, 96, 4)
    sector_shift, cluster_shift = head[108], head[109]
    if not 9 <= sector_shift <= 12 or sector_shift + cluster_shift > 25 or not clusters:
        return None
    cluster = 1 << (sector_shift + cluster_shift)

    def at(number: int) -> int:
        return (heap << sector_shift) + (number - 2) * cluster

    folder = read(at(root), min(cluster, _TABLE_PART))
    for place in range(0, len(folder) - 31, 32):
        if folder[place] == 0x81:  # the bitmap of clusters in use
            bitmap = read(at(_number(folder, place + 20, 4)), min(_number(folder, place + 24, 8), _TABLE_PART))
            return int.from_bytes(bitmap, "little").bit_count() * cluster
    return None
