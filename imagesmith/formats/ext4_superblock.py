"""What an ext4 file system notes of its own life in its superblock: when and how often it was mounted, and written to.

Called by `planning.lived`, to tell a card that was booted from a damaged one. Touches nothing. Bytes of a stranger's
card are taken: whatever they are, the answer is a value or None.
Source: the kernel's Documentation/filesystems/ext4/super.rst; checked with mke2fs and real mounts.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

AT = 1024
"""Where the superblock begins in its partition."""
SIZE = 1024
_MAGIC = 0xEF53
_METADATA_CSUM = 0x400
_NEEDS_RECOVERY = 0x4
_CHECKSUM_AT = 0x3FC
_POLYNOMIAL = 0x82F63B78


@dataclass(frozen=True, slots=True)
class Ext4Life:
    """What one superblock says. Times are seconds since 1970 by the clock of whoever mounted it; 0 = never."""

    uuid: str
    """Hex, without dashes."""
    made: int
    mounts: int
    """Since it was made, or since its last check by e2fsck."""
    mounted: int
    """When it was mounted last."""
    written: int
    """When the superblock was written last."""
    in_use: bool
    """Mounted now, or not unmounted properly."""
    proven: bool
    """The superblock has a checksum, and it is right."""


def parse_life(start: bytes) -> Ext4Life | None:
    """From a partition's first bytes, 2 KiB or more.

    None when there is no ext4 (2 and 3 are called so too), or its checksum says that it is damaged.
    """
    block = start[AT : AT + SIZE]
    if len(block) < SIZE or _half(block, 0x38) != _MAGIC:
        return None
    has_checksum = bool(_word(block, 0x64) & _METADATA_CSUM)
    if has_checksum and crc32c(block[:_CHECKSUM_AT]) != _word(block, _CHECKSUM_AT):
        return None
    return Ext4Life(
        uuid=block[0x68:0x78].hex(),
        made=_time(block, 0x108, 0x276),
        mounts=_half(block, 0x34),
        mounted=_time(block, 0x2C, 0x275),
        written=_time(block, 0x30, 0x274),
        in_use=bool(_word(block, 0x60) & _NEEDS_RECOVERY),
        proven=has_checksum,
    )


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum as ext4 keeps it: begun with all ones, not inverted at the end."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc


def _row(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE = tuple(_row(value) for value in range(256))


def _word(block: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", block, at)[0])


def _half(block: bytes, at: int) -> int:
    return int(struct.unpack_from("<H", block, at)[0])


def _time(block: bytes, at: int, high_at: int) -> int:
    return _word(block, at) | block[high_at] << 32
