"""What a FAT notes of its own life: whether it was left properly, and how much is free in it.

Called by `planning.lived`, to tell a card that was used from a damaged one. Touches nothing. Bytes of a stranger's card
are taken: whatever they are, the answer is a value or None.
Source: Microsoft's FAT specification 1.03; byte 0x25 or 0x41, and its bit 0, as Linux' fs/fat/inode.c sets it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_SECTORS = (512, 1024, 2048, 4096)
_UNKNOWN = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class FatState:
    """What one FAT says."""

    serial: int
    dirty: bool
    """Mounted now, or not unmounted properly."""
    free: int | None
    """Free clusters; FAT32 alone notes it."""
    next_free: int | None


def parse_state(start: bytes) -> FatState | None:
    """From a partition's first bytes, 64 KiB or all. None when there is no FAT."""
    if len(start) < 512 or start[510:512] != b"\x55\xaa" or start[0] not in (0xEB, 0xE9):
        return None
    sector, reserved, tables = _number(start, 11, 2), _number(start, 14, 2), start[16]
    if sector not in _SECTORS or not reserved or tables not in (1, 2) or start[21] < 0xF0:
        return None
    wide = _number(start, 22, 2) == 0
    serial = _number(start, 0x43 if wide else 0x27, 4)
    mounted = bool(start[0x41 if wide else 0x25] & 1)
    if not wide:
        return FatState(serial, mounted, None, None)
    entry = start[reserved * sector + 4 : reserved * sector + 8]
    # The second entry of a FAT32 has a bit that is 1 when it was left properly.
    left_open = len(entry) == 4 and not _number(entry, 0, 4) & 0x08000000
    at = _number(start, 48, 2) * sector
    info = start[at : at + 512]
    if len(info) < 512 or info[:4] != b"RRaA" or info[484:488] != b"rrAa":
        return FatState(serial, mounted or left_open, None, None)
    free, following = struct.unpack_from("<II", info, 488)
    return FatState(serial, mounted or left_open, _known(free), _known(following))


def _known(value: int) -> int | None:
    return None if value == _UNKNOWN else value


def _number(data: bytes, at: int, width: int) -> int:
    return int.from_bytes(data[at : at + width], "little")
