"""Sizes in bytes: reading them, writing them, aligning them."""

from __future__ import annotations

import re

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB
SECTOR = 512

_SIZE = re.compile(r"(\d+)\s*([KMGT]i?B|B)?")
_FACTORS = {
    "B": 1, "KiB": KiB, "MiB": MiB, "GiB": GiB, "TiB": 1024 * GiB,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
}  # fmt: skip


def parse_size(text: str) -> int:
    """Bytes of `8GiB`, `512 MiB`, `2GB` or `4096`; raises ValueError on anything else."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a size; write it like 512MiB or 8GiB")
    return int(match[1]) * _FACTORS[match[2] or "B"]


def show_size(size: int) -> str:
    """A size as a person reads it: `1.5 GiB`, `300 MiB`, `17 B`."""
    for unit, factor in (("TiB", 1024 * GiB), ("GiB", GiB), ("MiB", MiB), ("KiB", KiB)):
        if size >= factor:
            value = size / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{size} B"


def align_up(value: int, step: int) -> int:
    """The smallest multiple of `step` that is not below `value`."""
    return -(-value // step) * step


def align_down(value: int, step: int) -> int:
    """The largest multiple of `step` that is not above `value`."""
    return value // step * step
