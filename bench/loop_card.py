"""A card for the bench: a loop device over a file. Called by the cases that write cards. Needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def loop_card(file: Path, size: int) -> Iterator[str]:
    """A loop device of `size` bytes that keeps nothing in the page cache below it.

    Its file is allocated as a card's blocks are, and gone afterwards.
    """
    with file.open("wb") as opened:
        os.posix_fallocate(opened.fileno(), 0, size)
    argv = ["losetup", "--find", "--show", "--direct-io=on", str(file)]
    device = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=False)
        file.unlink()
