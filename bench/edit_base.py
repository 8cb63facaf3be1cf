"""How long editing a cached base takes beside bare `cp --sparse`, `mcopy` and `debugfs`.

20 files into FAT, 20 into ext4, one of 70 MB; nothing compressed or sealed. Ours is `edit_once`, a program of its own
from start to end; it also reads every edit back and checks both file systems. Called by `bench.__main__`.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from bench.made_base import Base, MiB, run
from bench.row import Row, timed
from imagesmith.model import Digest

LIMIT = 3.0
OURS = Path(__file__).with_name("edit_once.py")


def theirs(base: Base, target: Path, small: list[Path], large: Path) -> float:
    start = time.monotonic()
    run("cp", "--sparse=always", base.path, target)
    run("mcopy", "-i", f"{target}@@{base.fat_at}", *small, "::/")
    writes = "".join(f"write {path} /etc/{path.name}\n" for path in small)
    run("debugfs", "-w", "-f", "/dev/stdin", f"{target}?offset={base.root_at}", stdin=f"{writes}write {large} /large\n")
    return time.monotonic() - start


def rows(base: Base, folder: Path, runs: int) -> list[Row]:
    """Best of `runs`, alternating, so that a busy machine hurts both alike."""
    files, target = folder / "to-put", folder / "node.img"
    small, large = _make_files(files)
    argv = [sys.executable, OURS, base.path, target, files, Digest.of(large.read_bytes())]
    ours, peers = [], []
    for _ in range(runs):
        peers.append(theirs(base, target, small, large))
        target.unlink()
        ours.append(timed(argv, folder))
        target.unlink()
    seconds, peak = min(one[0] for one in ours), max(one[1] for one in ours)
    case = "edit a base of 2.5 GiB, one file of 70 MB"
    return [Row(case, seconds, "cp --sparse + mcopy + debugfs", min(peers), LIMIT, peak)]


def _make_files(folder: Path) -> tuple[list[Path], Path]:
    """20 small files and a large one, of random bytes."""
    chance = random.Random(2)
    folder.mkdir()
    small = [folder / f"small{number}" for number in range(20)]
    for path in small:
        path.write_bytes(chance.randbytes(4000))
    large = folder / "large"
    large.write_bytes(chance.randbytes(70 * MiB))
    return small, large
