"""Sizes in bytes and durations in seconds: reading them, writing them, aligning sizes."""

from __future__ import annotations

import re

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB
SECTOR = 512

_SIZE = re.compile(r"(\d+)\s*([KMGT]i?B|B)?")
_DURATION = re.compile(r"(?=\d)(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s)?")
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


def parse_duration(text: str) -> int:
    """Seconds of `90s`, `2m`, `1h30m`; raises ValueError on anything else."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text[:40]!r} is not a duration; write it like 90s, 2m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def show_duration(seconds: int) -> str:
    """A duration as `parse_duration` reads it: `1m30s`, `2h`."""
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    shown = "".join(f"{value}{unit}" for value, unit in ((hours, "h"), (minutes, "m"), (left, "s")) if value)
    return shown or "0s"
