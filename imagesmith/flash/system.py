"""Which disks the running system, or a file, stands on: found from mounts and swap, down through every layer beneath.

Called by `flash.devices` and `workflow.flash`. Reads /proc and /sys only; both roots are arguments, so that tests pass
a tree of their own.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

PLACES = ("/", "/boot", "/efi", "/etc", "/usr", "/var", "/nix", "/sysroot")
"""Mount points that a running system can't live without; what is mounted below /boot counts too."""


def is_system_place(mount_point: str) -> bool:
    """Whether a mount point, as lsblk or mountinfo names it, belongs to the system; swap does."""
    return mount_point in PLACES or mount_point.startswith("/boot/") or mount_point == "[SWAP]"


def system_numbers(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> frozenset[str]:
    """Kernel numbers (`8:0`) of all devices beneath the system's mounts and swap.

    Follows partitions to their disk, dm and md to their members, loop devices to the disk of their file, overlays to
    their layers, btrfs to all its devices. What lies beneath ZFS is not known here; opening such a disk fails (O_EXCL).
    """
    found: set[str] = set()
    for number in (*_mounted(proc), *_swapping(proc)):
        _descend(number, sys, found)
    return frozenset(found)


def numbers_beneath(path: Path, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> frozenset[str]:
    """Kernel numbers (`8:0`) of all devices beneath the file system that holds `path`: partition, disk, and so on.

    Empty where that is no disk of this machine (tmpfs, a network). Raises OSError when there is no such path.
    """
    real = path.resolve(strict=True)
    found: set[str] = set()
    for number in (*_number_of(str(real)), *_number_of(_source_of(real, proc))):
        _descend(number, sys, found)
    return frozenset(found)


def _source_of(path: Path, proc: Path) -> str:
    """What is mounted where `path` lies, as mountinfo names it: a btrfs numbers its files otherwise than its disk."""
    best, source = Path(), ""
    for line in _lines(proc / "self" / "mountinfo"):
        fields = line.split(" ")
        point = Path(unescape(fields[4]))
        # Of two at one place, the later lies on top.
        if "-" in fields and path.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, source = point, unescape(fields[fields.index("-") + 2])
    return source if source.startswith("/dev/") else ""


def _mounted(proc: Path) -> Iterator[str]:
    # Process 1 sees the host's mounts also when we run in a mount namespace of our own.
    for table in (proc / "self" / "mountinfo", proc / "1" / "mountinfo"):
        try:
            lines = table.read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        for line in lines:
            fields = line.split(" ")
            if len(fields) < 10 or "-" not in fields or not is_system_place(unescape(fields[4])):
                continue
            dash = fields.index("-")
            if not fields[2].startswith("0:"):
                yield fields[2]
                continue
            # A device number of 0:N says that the file system is not simply on one disk (btrfs, overlay, zfs).
            options = fields[dash + 3] if len(fields) > dash + 3 else ""
            for path in (unescape(fields[dash + 2]), *_layers(options)):
                yield from _number_of(path)


def _layers(options: str) -> Iterator[str]:
    for option in options.split(","):
        key, _, value = option.partition("=")
        if key in ("lowerdir", "upperdir"):
            yield from (unescape(path) for path in value.split(":") if path)


def _swapping(proc: Path) -> Iterator[str]:
    try:
        lines = (proc / "swaps").read_text("utf-8", "replace").splitlines()[1:]
    except OSError:
        return
    for line in lines:
        if line.split():
            yield from _number_of(unescape(line.split()[0]))


def _number_of(path: str) -> Iterator[str]:
    """The device that `path` is, or that the file `path` lies on; nothing when that can't be told."""
    if not path.startswith("/"):
        return
    try:
        status = Path(path).stat()
    except OSError:
        return
    number = status.st_rdev if stat.S_ISBLK(status.st_mode) else status.st_dev
    if os.major(number):
        yield f"{os.major(number)}:{os.minor(number)}"


def _descend(number: str, sys: Path, found: set[str]) -> None:
    if number in found:
        return
    found.add(number)
    node = (sys / "dev" / "block" / number).resolve()
    if not node.is_dir():
        return
    below = [node.parent] if (node / "partition").exists() else []
    below += [path.resolve() for path in sorted((node / "slaves").glob("*"))]
    for family in (sys / "fs" / "btrfs").glob("*/devices"):
        members = [path.resolve() for path in family.iterdir()]
        below += members if node in members else []
    for path in below:
        for line in _lines(path / "dev"):
            _descend(line, sys, found)
    for line in _lines(node / "loop" / "backing_file"):
        for deeper in _number_of(line):
            _descend(deeper, sys, found)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


def unescape(text: str) -> str:
    """mountinfo writes space, tab, newline and backslash as `\\040`."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
