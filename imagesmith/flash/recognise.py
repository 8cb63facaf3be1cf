"""What lies on a card, where lsblk does not know: its file systems where udev does not run, and how full a FAT is.

Called by `flash.devices`, for cards only, never for disks of this machine. Reads a few blocks of them, as udev does
when a card is put in.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from imagesmith.formats.fat_usage import used_bytes
from imagesmith.model import FileSystem
from imagesmith.tools import run

_UDEV = Path("/run/udev/data")
_FAT = ("vfat", "exfat")


def is_known_to_udev(number: str, udev: Path = _UDEV) -> bool:
    """Whether udev has looked at the device with the kernel's number `8:16`, so that lsblk tells what it found."""
    return (udev / f"b{number}").exists()


def probed(path: str) -> tuple[str, str]:
    """Kind and label of what lies on the disk or partition, as blkid calls them; empty when nothing is recognised.

    Raises ToolMissing. What may not be read is not recognised.
    """
    done = run(["blkid", "--probe", "--output", "export", path], expect=None, timeout_s=30)
    # Letters that a shell would take for something else have a backslash before them.
    told = dict(re.sub(r"\\(.)", r"\1", line).partition("=")[::2] for line in done.text.splitlines())
    return told.get("TYPE", ""), told.get("LABEL", "")


def with_usage(one: FileSystem) -> FileSystem:
    """With how full it is: a camera's card has no label either, only its own tables tell that it is not empty."""
    if one.kind not in _FAT:
        return one
    try:
        with Path("/dev", one.name).open("rb", buffering=0) as file:
            return replace(one, used=used_bytes(lambda offset, size: os.pread(file.fileno(), size, offset)))
    except OSError:
        return one  # not ours to read, or gone again
