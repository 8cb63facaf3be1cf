"""What lies on a card, where lsblk does not know: its file systems where udev does not run, and how full a FAT is.

Called by `flash.devices`, for cards only, never for disks of this machine. A few blocks of each card are read by
children: a card that hangs keeps its child, and nobody else. Of a FAT's tables, root opens the card only; the user
behind sudo reads them.

    python -m imagesmith.flash.recognise PARTITION      prints how many bytes of a FAT or exFAT are in use
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from imagesmith.formats.fat_usage import used_bytes
from imagesmith.invoker import become, behind_sudo
from imagesmith.model import FileSystem
from imagesmith.tools import own_argv, run_together

_UDEV = Path("/run/udev/data")
_FAT = ("vfat", "exfat")
_PATIENCE_S = 5.0


def is_known_to_udev(number: str, udev: Path = _UDEV) -> bool:
    """Whether udev has looked at the device with the kernel's number `8:16`, so that lsblk tells what it found."""
    return (udev / f"b{number}").exists()


def probed(paths: Sequence[str], within_s: float = _PATIENCE_S) -> list[tuple[str, str]]:
    """Kind and label of what lies on each disk or partition, as blkid calls them; empty when nothing is recognised.

    Raises ToolMissing. What may not be read, or does not answer in time, is not recognised.
    """
    argvs = [["blkid", "--probe", "--output", "export", path] for path in paths]
    return [_told(output or b"") for output in run_together(argvs, within_s)]


def _told(output: bytes) -> tuple[str, str]:
    lines = output.decode("utf-8", "replace").splitlines()
    # Letters that a shell would take for something else have a backslash before them.
    told = dict(re.sub(r"\\(.)", r"\1", line).partition("=")[::2] for line in lines)
    return told.get("TYPE", ""), told.get("LABEL", "")


def with_usage(given: Iterable[FileSystem], within_s: float = _PATIENCE_S) -> tuple[FileSystem, ...]:
    """With how full they are: a camera's card has no label either, only its own tables tell that it is not empty."""
    filesystems = tuple(given)
    asked = [one for one in filesystems if one.kind in _FAT]
    argvs = [own_argv("imagesmith.flash.recognise", f"/dev/{one.name}") for one in asked]
    answers = {one.name: answer for one, answer in zip(asked, run_together(argvs, within_s), strict=True)}
    return tuple(replace(one, used=_number(answers.get(one.name))) for one in filesystems)


def _number(answer: bytes | None) -> int | None:
    text = (answer or b"").strip()
    return int(text) if text.isdigit() else None


def main(path: str) -> None:
    """Print nothing for what is not ours to read, or gone again."""
    try:
        with Path(path).open("rb", buffering=0) as file:
            if user := behind_sudo():
                become(user)
            sys.stdout.write(str(used_bytes(lambda offset, size: os.pread(file.fileno(), size, offset))))
    except OSError:
        return


if __name__ == "__main__":
    main(*sys.argv[1:])
