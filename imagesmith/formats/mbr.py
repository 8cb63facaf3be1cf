"""The MBR partition table: 512 bytes in, a value out, and back.

Called by `image` (tables), `formats.gpt` (the protective MBR) and `flash`. Touches nothing.
Sectors are 512 bytes here: an MBR on a 4096-byte-sector disk counts in its disk's sectors and is not handled.
Source: UEFI specification 2.10, section 5.2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace

from imagesmith.errors import ContentMalformed
from imagesmith.formats.partitions import refuse_overlap, resize_in
from imagesmith.model import Partition
from imagesmith.units import SECTOR

FAT32 = "0c"
LINUX = "83"
PROTECTIVE = "ee"
BOOT_CODE_SIZE = 440

_EXTENDED = ("05", "0f", "85")
_ENTRY = struct.Struct("<B3sB3sII")
_ENTRIES_AT = 446
_WHERE = "MBR partition table"
_NO_TABLE = "this is a file system without a partition table; a whole-disk image is needed"
_CHS_BEYOND = b"\xfe\xff\xff"


@dataclass(frozen=True, slots=True)
class Mbr:
    """A partition table. `disk_id` is 32 bits; the kernel's PARTUUIDs are made of it."""

    disk_id: int
    partitions: tuple[Partition, ...]
    """In the order of their numbers, 1 to 4; start and size in bytes, type as two hex digits."""
    active: tuple[int, ...] = ()
    """Numbers of the partitions with the active ("bootable") flag, which `Partition` has no place for."""


def partition_uuid(disk_id: int, number: int) -> str:
    """The PARTUUID by which the kernel knows an MBR partition, as `5e1a02c4-02`."""
    return f"{disk_id:08x}-{number:02x}"


def parse(sector: bytes, disk_size: int | None = None) -> Mbr:
    """The table in a disk's first 512 bytes.

    Entries without type or size are free. Raises ContentMalformed when this is no MBR, when partitions overlap,
    cover the table, or are extended; and, where `disk_size` (bytes) is known, when one ends behind it.
    """
    if len(sector) < SECTOR:
        raise ContentMalformed(f"only {len(sector)} bytes, a partition table has {SECTOR}", where=_WHERE)
    if sector[510:512] != b"\x55\xaa":
        raise ContentMalformed(
            "no 55 AA at byte 510: this is no disk image, or not a decompressed one",
            where=_WHERE,
            hint="look at it with `file`; a whole-disk image starts with a partition table",
        )
    (disk_id,) = struct.unpack_from("<I", sector, BOOT_CODE_SIZE)
    partitions, active = [], []
    for number in range(1, 5):
        status, _, kind, _, start, count = _ENTRY.unpack_from(sector, _ENTRIES_AT + 16 * (number - 1))
        if status not in (0x00, 0x80):
            raise ContentMalformed(
                f"entry {number} has the flag {status:#04x}, only 00 and 80 exist", where=_WHERE, hint=_NO_TABLE
            )
        if kind == 0 or count == 0:
            continue
        if status == 0x80:
            active.append(number)
        uuid = partition_uuid(disk_id, number)
        partitions.append(Partition(number, start * SECTOR, count * SECTOR, f"{kind:02x}", "", uuid))
    if not partitions and b"FAT" in (sector[54:57], sector[82:85]):
        raise ContentMalformed("there is none, but a FAT file system", where=_WHERE, hint=_NO_TABLE)
    _refuse_extended(partitions)
    table = Mbr(disk_id, tuple(partitions), tuple(active))
    # A protective entry may claim more than there is (FFFFFFFF sectors): the GPT knows the true size.
    refuse_overlap(partitions, _WHERE, first=SECTOR, end=None if is_protective(table) else disk_size)
    return table


def encode(mbr: Mbr, boot_code: bytes = b"") -> bytes:
    """The table's 512 bytes.

    `boot_code` is a program of at most 440 bytes, or the disk's old first sector: then all but the table stays as
    it was there. Raises ValueError on what the format can't hold (a fifth partition, 2 TiB, odd sectors).
    """
    whole = len(boot_code) == SECTOR
    if len(boot_code) > BOOT_CODE_SIZE and not whole:
        raise ValueError(f"boot code of {len(boot_code)} bytes; it has room for {BOOT_CODE_SIZE}")
    numbers = [partition.number for partition in mbr.partitions]
    if len(set(numbers)) != len(numbers) or not set(mbr.active) <= set(numbers):
        raise ValueError(f"partition numbers {numbers} with active {list(mbr.active)} do not fit together")
    sector = bytearray(boot_code.ljust(SECTOR, b"\0"))
    old = bytes(sector)
    struct.pack_into("<I", sector, BOOT_CODE_SIZE, mbr.disk_id)
    sector[_ENTRIES_AT:510] = bytes(64)
    for partition in mbr.partitions:
        at = _ENTRIES_AT + 16 * (partition.number - 1)
        entry = _encode_entry(partition, partition.number in mbr.active)
        if old[at + 8 : at + 16] == entry[8:16]:
            # An entry that did not move keeps its cylinders, whatever geometry its maker believed in.
            entry = entry[:1] + old[at + 1 : at + 4] + entry[4:5] + old[at + 5 : at + 8] + entry[8:]
        sector[at : at + 16] = entry
    sector[510:512] = b"\x55\xaa"
    return bytes(sector)


def is_protective(mbr: Mbr) -> bool:
    """Whether the table only says that the true one is a GPT."""
    return any(partition.type == PROTECTIVE for partition in mbr.partitions)


def protective(disk_size: int, sector_size: int = SECTOR) -> Mbr:
    """The MBR that keeps tools without GPT away from a GPT disk of `disk_size` bytes."""
    # Its numbers count in the disk's own sectors, so with 4096-byte ones the bytes here are not true; see encode.
    count = min(disk_size // sector_size - 1, 0xFFFFFFFF)
    return Mbr(0, (Partition(1, SECTOR, count * SECTOR, PROTECTIVE, "", partition_uuid(0, 1)),))


def with_partition_size(mbr: Mbr, number: int, size: int) -> Mbr:
    """The table with one partition's size (bytes) changed; ValueError when it is absent or would overlap."""
    return replace(mbr, partitions=resize_in(mbr.partitions, number, size, _WHERE))


def _refuse_extended(partitions: Iterable[Partition]) -> None:
    for part in partitions:
        if part.type in _EXTENDED:
            raise ContentMalformed(
                f"partition {part.number} is an extended one (type {part.type}), which imagesmith does not handle",
                where=_WHERE,
                hint="use an image with primary partitions only, or with a GPT",
            )


def _encode_entry(part: Partition, active: bool) -> bytes:
    start, odd_start = divmod(part.start, SECTOR)
    count, odd_size = divmod(part.size, SECTOR)
    if odd_start or odd_size:
        raise ValueError(f"partition {part.number} is not made of whole sectors of {SECTOR} bytes")
    if not 1 <= part.number <= 4 or not 1 <= start <= 0xFFFFFFFF or not 1 <= count <= 0xFFFFFFFF:
        raise ValueError(f"partition {part.number} at byte {part.start} with {part.size} bytes does not fit an MBR")
    status = 0x80 if active else 0x00
    return _ENTRY.pack(status, _chs(start), int(part.type, 16), _chs(start + count - 1), start, count)


def _chs(sector: int) -> bytes:
    """Cylinder, head and sector on the usual 255 by 63 geometry; FE FF FF beyond its 1024 cylinders."""
    cylinder, rest = divmod(sector, 255 * 63)
    if cylinder > 1023:
        return _CHS_BEYOND
    head, number = divmod(rest, 63)
    return bytes((head, (number + 1) | (cylinder >> 8) << 6, cylinder & 0xFF))
