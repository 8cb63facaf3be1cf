"""Tell which disks and cards there are, again whenever that changes.

Called by `cli.devices`. Reads /proc, /sys and /dev/disk/by-id about once a second, and asks lsblk only when something
there changed: it needs no udev, and leaves sleeping disks asleep.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from imagesmith.flash.devices import list_devices
from imagesmith.model import Device

_EVERY_S = 1.0
_SETTLING = 3
"""Looks after a change: udev tells names and file systems a moment after the kernel tells the disk."""


@dataclass(frozen=True, slots=True)
class Changes:
    """From one list of disks to the next. A disk with another medium in it both went and appeared."""

    appeared: tuple[Device, ...]
    gone: tuple[Device, ...]
    altered: tuple[Device, ...]
    """As they are now: mounted, unmounted, written by someone."""


def watch(
    *,
    sleep: Callable[[float], None] = time.sleep,
    look: Callable[[], tuple[Device, ...]] = list_devices,
    proc: Path = Path("/proc"),
    sys: Path = Path("/sys"),
    names: Path = Path("/dev/disk/by-id"),
) -> Iterator[tuple[Device, ...]]:
    """All devices now, then again each time when they are no longer what they were; endless.

    `look` lists them, `sleep` is called between two looks. Raises what `look` raises.
    """
    before: Hashable = None
    told: tuple[Device, ...] | None = None
    looks = 0
    while True:
        now = _traces(proc, sys, names)
        if now != before:
            before, looks = now, _SETTLING
        if looks:
            looks -= 1
            found = look()
            if found != told:
                told = found
                yield found
        sleep(_EVERY_S)


def changes(before: tuple[Device, ...], after: tuple[Device, ...]) -> Changes:
    """What a person wants to hear: whole disks only; the disks' own partitions are told with them."""
    old, new = ({_identity(one): one for one in devices if one.kind != "part"} for devices in (before, after))
    came = [one for key, one in new.items() if key not in old]
    went = [one for key, one in old.items() if key not in new]
    # A reader that stays is no news beside the card that came or went.
    return Changes(
        tuple(one for one in came if one.size or one.number not in {other.number for other in went}),
        tuple(one for one in went if one.size or one.number not in {other.number for other in came}),
        tuple(one for key, one in new.items() if key in old and _seen(one) != _seen(old[key])),
    )


def _identity(device: Device) -> Hashable:
    return device.number, device.name, device.diskseq, device.size


def _seen(device: Device) -> Device:
    # How full a mounted card is changes all the time, and nobody asked.
    return replace(device, filesystems=())


def _traces(proc: Path, sys: Path, names: Path) -> Hashable:
    """Whatever is different when a disk, its medium, its partitions, its mounts or its names are."""
    mounts = [line for line in _text(proc / "self" / "mountinfo").splitlines() if _of_a_disk(line)]
    media = [
        (disk.name, *(_text(disk / file) for file in ("diskseq", "size", "ro")))
        for disk in sorted((sys / "block").glob("*"))
    ]
    links = sorted(path.name for path in names.glob("*"))
    return _text(proc / "partitions"), _text(proc / "swaps"), tuple(mounts), tuple(media), tuple(links)


def _of_a_disk(line: str) -> bool:
    """Containers come and go with mounts of their own, which are no disk's."""
    fields = line.split(" ")
    return len(fields) > 2 and (not fields[2].startswith("0:") or " /dev/" in line)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
