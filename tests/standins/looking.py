"""What is in a disk beside what was asked for: every file of both file systems, and the bytes outside of them.

Read by the file systems' own tools, for tests that say what did not change.
"""

from __future__ import annotations

import hashlib
import stat
import subprocess
import tempfile
from pathlib import Path

from image.made_disks import Disk, tool


def files(disk: Disk, role: str) -> dict[str, tuple[str, ...]]:
    """Path to what lies there: kind, content's digest or link's target, and on ext4 mode and owner."""
    with tempfile.TemporaryDirectory() as name:
        top, at = Path(name), f"{disk.path}@@{disk.offsets[role]}"
        if role == "root":
            tool("debugfs", "-R", f"rdump / {top}", f"{disk.path}?offset={disk.offsets[role]}")
        else:
            tool("mcopy", "-s", "-n", "-i", at, "::*", top)
        return {str(path.relative_to(top)): _told(path, role == "root") for path in sorted(top.rglob("*"))}


def _told(path: Path, owned: bool) -> tuple[str, ...]:
    about = path.lstat()
    owner = (f"{stat.S_IMODE(about.st_mode):04o}", f"{about.st_uid}:{about.st_gid}") if owned else ()
    if path.is_symlink():
        return ("link", str(path.readlink()))
    if path.is_dir():
        return ("folder", *owner)
    return ("file", hashlib.sha256(path.read_bytes()).hexdigest(), *owner)


def outside(disk: Disk) -> list[bytes]:
    """The table, the gaps and the tail: digests of every stretch that belongs to no partition."""
    stretches, at = [], 0
    data = disk.path.read_bytes()
    for start, size in sorted((disk.offsets[role], disk.sizes[role]) for role in disk.offsets):
        stretches.append(hashlib.sha256(data[at:start]).digest())
        at = start + size
    return [*stretches, hashlib.sha256(data[at:]).digest()]


def changed(before: dict[str, tuple[str, ...]], after: dict[str, tuple[str, ...]]) -> set[str]:
    """Paths of which one knows something else than the other."""
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def complaints(disk: Disk, folder: Path) -> list[str]:
    """What e2fsck and fsck.fat find wrong, without repairing it."""
    told = []
    for role, check in (("root", ["e2fsck", "-fn"]), ("boot", ["fsck.fat", "-n"])):
        if role in disk.offsets:
            part = disk.extract(role, folder / f"{role}.part")
            done = subprocess.run([*check, part], capture_output=True, text=True, check=False)
            told += [done.stdout + done.stderr] if done.returncode else []
            part.unlink()
    return told
