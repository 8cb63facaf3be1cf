"""The GUID partition table: the head of a disk in, a value out, and both copies back.

Called by `image` (tables) and `flash`. Touches nothing, draws no GUIDs: they are given by the plan.
GUIDs are upper-case text; LBAs count in the disk's own sectors, everything else is bytes.
Source: UEFI specification 2.10, section 5.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from imagesmith.errors import ContentMalformed
from imagesmith.formats import mbr
from imagesmith.formats.partitions import refuse_overlap, resize_in
from imagesmith.model import Partition
from imagesmith.units import SECTOR

ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
ROOT_X86_64 = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
ROOT_ARM64 = "B921B045-1DF0-41C3-AF44-4C6F280D3FAE"

_WHERE = "GPT partition table"
_MAGIC = b"EFI PART"
_REVISION = 0x00010000
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_ENTRIES_LBA = 2
_GET_AGAIN = "the image is damaged; get it again"


@dataclass(frozen=True, slots=True)
class Gpt:
    """A partition table. Make a new one with `blank`, a read one larger with `resized`."""

    disk_guid: str
    sector_size: int
    disk_size: int
    """The size that the table was made for: its second copy ends there. The disk may be larger."""
    first_usable: int
    """LBA."""
    last_usable: int
    """LBA, included."""
    partitions: tuple[Partition, ...]
    """In the order of their numbers; `uuid` is the partition's own GUID."""
    attributes: Mapping[int, int] = field(default_factory=dict)
    """Partition number to its 64 attribute bits, where they are not all zero."""
    entries: int = 128
    """How many partitions there is room for."""

    @property
    def entry_sectors(self) -> int:
        return -(-self.entries * _ENTRY.size // self.sector_size)


def blank(disk_guid: str, disk_size: int, sector_size: int = SECTOR) -> Gpt:
    """A table without partitions for a disk of `disk_size` bytes."""
    empty = Gpt(disk_guid.upper(), sector_size, disk_size, 0, 0, ())
    return resized(replace(empty, first_usable=_ENTRIES_LBA + empty.entry_sectors), disk_size)


def parse(head: bytes, disk_size: int, sector_size: int = SECTOR) -> Gpt:
    """The table in a disk's first bytes (34 sectors of 512, or 6 of 4096; more is fine).

    `disk_size` is what there is; `Gpt.disk_size` what the table was made for, never more. Raises ContentMalformed
    on a wrong checksum or sector size, on partitions that overlap or lie outside, on a disk shorter than its table
    says, and on tables that we could not write back as they were (hybrid MBR, unusual places or entry sizes).
    """
    _refuse_other_sector_size(head, sector_size)
    _refuse_hybrid(head)
    header = head[sector_size : 2 * sector_size]
    (_, _, header_size, crc, _, own, other, first, last, guid, entries_lba, count, entry_size, entries_crc) = (
        _HEADER.unpack_from(header)
    )
    if not _HEADER.size <= header_size <= sector_size:
        raise ContentMalformed(f"the header claims {header_size} bytes", where=_WHERE, hint=_GET_AGAIN)
    if zlib.crc32(header[:16] + bytes(4) + header[20:header_size]) != crc:
        raise ContentMalformed("the header's checksum is wrong", where=_WHERE, hint=_GET_AGAIN)
    if own != 1 or entries_lba != _ENTRIES_LBA or entry_size != _ENTRY.size or not 1 <= count <= 1024:
        raise ContentMalformed(
            f"{count} entries of {entry_size} bytes at sector {entries_lba}, header at {own}:"
            " imagesmith knows entries of 128 bytes at sector 2 and the header at 1",
            where=_WHERE,
            hint="rewrite the table with `sgdisk` (option -j 2) on a copy of the image",
        )
    gpt = Gpt(_guid(guid), sector_size, (other + 1) * sector_size, first, last, (), {}, count)
    raw = head[2 * sector_size : 2 * sector_size + count * _ENTRY.size]
    if len(raw) < count * _ENTRY.size:
        raise ContentMalformed(f"truncated: it ends in the partition entries, at byte {len(head)}", where=_WHERE)
    if zlib.crc32(raw) != entries_crc:
        raise ContentMalformed("the partition entries' checksum is wrong", where=_WHERE, hint=_GET_AGAIN)
    if gpt.disk_size > disk_size:
        raise ContentMalformed(
            f"made for a disk of {gpt.disk_size} bytes, but there are only {disk_size}",
            where=_WHERE,
            hint="the image is truncated or not fully decompressed; get it again",
        )
    gpt = _with_entries(gpt, raw)
    _refuse_misfit(gpt)
    return gpt


def encode_primary(gpt: Gpt, boot_code: bytes = b"") -> bytes:
    """The disk's first bytes: protective MBR, header and entries (34 sectors of 512, 6 of 4096).

    `boot_code` is as in `mbr.encode`: give a disk's old first sector (512 bytes) to keep its boot loader.
    Raises ContentMalformed when the partitions don't fit each other or the disk, ValueError on other nonsense.
    """
    _refuse_misfit(gpt)
    entries = _encode_entries(gpt)
    first = mbr.encode(_shield(gpt, boot_code), boot_code).ljust(gpt.sector_size, b"\0")
    last_lba = gpt.disk_size // gpt.sector_size - 1
    return first + _encode_header(gpt, entries, 1, last_lba, _ENTRIES_LBA) + entries


def encode_backup(gpt: Gpt) -> tuple[int, bytes]:
    """The second copy, entries and header, and the offset in bytes where it goes: it ends with the disk."""
    _refuse_misfit(gpt)
    entries = _encode_entries(gpt)
    last_lba = gpt.disk_size // gpt.sector_size - 1
    entries_lba = last_lba - gpt.entry_sectors
    return entries_lba * gpt.sector_size, entries + _encode_header(gpt, entries, last_lba, 1, entries_lba)


def resized(gpt: Gpt, disk_size: int) -> Gpt:
    """The table for a disk of another size, its second copy at the new end.

    What the old copy leaves behind in a disk that has grown is not overwritten by `encode_backup`.
    Raises ValueError when the partitions don't fit.
    """
    last_usable = disk_size // gpt.sector_size - gpt.entry_sectors - 2
    end = max((part.start + part.size for part in gpt.partitions), default=0)
    if last_usable < gpt.first_usable or end > (last_usable + 1) * gpt.sector_size:
        raise ValueError(f"a disk of {disk_size} bytes is too small for this table; partitions end at byte {end}")
    return replace(gpt, disk_size=disk_size // gpt.sector_size * gpt.sector_size, last_usable=last_usable)


def with_partition_size(gpt: Gpt, number: int, size: int) -> Gpt:
    """The table with one partition's size (bytes) changed; ValueError when it is absent or would not fit."""
    partitions = resize_in(gpt.partitions, number, size, _WHERE, end=(gpt.last_usable + 1) * gpt.sector_size)
    return replace(gpt, partitions=partitions)


def _with_entries(gpt: Gpt, raw: bytes) -> Gpt:
    partitions, attributes = [], {}
    for index, (kind, own, first, last, bits, name) in enumerate(_ENTRY.iter_unpack(raw)):
        if kind == bytes(16):
            continue
        number = index + 1
        if last < first:
            raise ContentMalformed(f"partition {number} ends before it starts", where=_WHERE, hint=_GET_AGAIN)
        try:
            text = name.decode("utf-16-le").split("\0", 1)[0]
        except UnicodeDecodeError as error:
            raise ContentMalformed(f"partition {number}'s name is no UTF-16", where=_WHERE) from error
        start, size = first * gpt.sector_size, (last - first + 1) * gpt.sector_size
        partitions.append(Partition(number, start, size, _guid(kind), text, _guid(own)))
        if bits:
            attributes[number] = bits
    return replace(gpt, partitions=tuple(partitions), attributes=attributes)


def _shield(gpt: Gpt, old_sector: bytes) -> mbr.Mbr:
    """The protective MBR; what an old one had beside its size (disk id, the active flag some BIOSes want) stays."""
    shield = mbr.protective(gpt.disk_size, gpt.sector_size)
    if len(old_sector) != SECTOR:
        return shield
    (disk_id,) = struct.unpack_from("<I", old_sector, mbr.BOOT_CODE_SIZE)
    active = (1,) if old_sector[446] == 0x80 and old_sector[450] == int(mbr.PROTECTIVE, 16) else ()
    return replace(shield, disk_id=disk_id, active=active)


def _encode_entries(gpt: Gpt) -> bytes:
    """The entries, filled up to whole sectors."""
    numbers = [part.number for part in gpt.partitions]
    if len(set(numbers)) != len(numbers) or not all(1 <= number <= gpt.entries for number in numbers):
        raise ValueError(f"partition numbers {numbers} must differ and lie in 1 to {gpt.entries}")
    raw = bytearray(gpt.entry_sectors * gpt.sector_size)
    for part in gpt.partitions:
        first, odd_start = divmod(part.start, gpt.sector_size)
        count, odd_size = divmod(part.size, gpt.sector_size)
        if odd_start or odd_size or not count:
            raise ValueError(f"partition {part.number} is not made of whole sectors of {gpt.sector_size} bytes")
        name = part.name.encode("utf-16-le")
        if len(name) > 72:
            raise ValueError(f"partition {part.number}'s name {part.name!r} is longer than 36 characters")
        bits = gpt.attributes.get(part.number, 0)
        kind, own = UUID(part.type).bytes_le, UUID(part.uuid).bytes_le
        _ENTRY.pack_into(raw, (part.number - 1) * _ENTRY.size, kind, own, first, first + count - 1, bits, name)
    return bytes(raw)


def _encode_header(gpt: Gpt, entries: bytes, own: int, other: int, entries_lba: int) -> bytes:
    """The header's sector. `own`, `other`: LBA of this copy and of the other one."""
    size = _ENTRY.size
    entries_crc = zlib.crc32(entries[: gpt.entries * size])
    guid = UUID(gpt.disk_guid).bytes_le
    span = (own, other, gpt.first_usable, gpt.last_usable)

    def packed(crc: int) -> bytes:
        tail = (guid, entries_lba, gpt.entries, size, entries_crc)
        return _HEADER.pack(_MAGIC, _REVISION, _HEADER.size, crc, 0, *span, *tail)

    return packed(zlib.crc32(packed(0))).ljust(gpt.sector_size, b"\0")


def _refuse_misfit(gpt: Gpt) -> None:
    sectors = gpt.disk_size // gpt.sector_size
    if gpt.first_usable < _ENTRIES_LBA + gpt.entry_sectors or gpt.last_usable + gpt.entry_sectors + 1 >= sectors:
        raise ContentMalformed(
            f"space for partitions from sector {gpt.first_usable} to {gpt.last_usable} of {sectors} runs into the"
            " table itself",
            where=_WHERE,
            hint=_GET_AGAIN,
        )
    span = {"first": gpt.first_usable * gpt.sector_size, "end": (gpt.last_usable + 1) * gpt.sector_size}
    refuse_overlap(gpt.partitions, _WHERE, **span)


def _refuse_other_sector_size(head: bytes, sector_size: int) -> None:
    if len(head) >= 2 * sector_size and head[sector_size : sector_size + 8] == _MAGIC:
        return
    for other in (512, 4096):
        if other != sector_size and head[other : other + 8] == _MAGIC:
            raise ContentMalformed(
                f"written for sectors of {other} bytes, but read with {sector_size}",
                where=_WHERE,
                hint=f"this image suits only disks with sectors of {other} bytes; use one made for {sector_size}",
            )
    raise ContentMalformed("there is none: no EFI PART in the second sector", where=_WHERE)


def _refuse_hybrid(head: bytes) -> None:
    kinds = [part.type for part in mbr.parse(head[:SECTOR]).partitions]
    if kinds != [mbr.PROTECTIVE]:
        raise ContentMalformed(
            f"the MBR in front of it has partitions of type {', '.join(kinds) or 'none'}, not just the protective ee",
            where=_WHERE,
            hint="a hybrid of two tables can't be kept true; rewrite it with `sgdisk` on a copy of the image",
        )


def _guid(raw: bytes) -> str:
    return str(UUID(bytes_le=raw)).upper()
