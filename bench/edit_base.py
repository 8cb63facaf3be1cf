"""How long editing a cached base takes beside bare `cp --sparse`, `mcopy` and `debugfs`.

20 files into FAT, 20 into ext4, one of 70 MB; nothing compressed or sealed. Ours also reads every edit back and
checks both file systems. Called by `bench.__main__`.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

from bench.made_base import Base, MiB, run
from bench.row import Row
from imagesmith.image.apply import apply
from imagesmith.image.raw import RawImage
from imagesmith.model import Digest, Edit, EnsureToken, FileContent, PutFile
from imagesmith.secret import Secret

LIMIT = 3.0


def ours(base: Base, target: Path, edits: list[Edit]) -> float:
    start = time.monotonic()
    with RawImage.copy_of(base.path, target) as raw:
        apply(raw, edits, epoch=1_700_000_000, open_secret=lambda ref: Secret(b""))
    return time.monotonic() - start


def theirs(base: Base, target: Path, small: list[Path], large: Path) -> float:
    start = time.monotonic()
    run("cp", "--sparse=always", base.path, target)
    run("mcopy", "-i", f"{target}@@{base.fat_at}", *small, "::/")
    writes = "".join(f"write {path} /etc/{path.name}\n" for path in small)
    run("debugfs", "-w", "-f", "/dev/stdin", f"{target}?offset={base.root_at}", stdin=f"{writes}write {large} /large\n")
    return time.monotonic() - start


def rows(base: Base, folder: Path, runs: int) -> list[Row]:
    """Best of `runs`, alternating, so that a busy machine hurts both alike."""
    chance = random.Random(2)
    small = [folder / f"small{number}" for number in range(20)]
    for path in small:
        path.write_bytes(chance.randbytes(4000))
    large = folder / "large"
    large.write_bytes(chance.randbytes(70 * MiB))
    content = FileContent(large, Digest.of(large.read_bytes()), 70 * MiB)
    edits: list[Edit] = [EnsureToken("boot", "/cmdline.txt", "cgroup_memory=1")]
    for path in small:
        edits.append(PutFile("boot", f"/{path.name}", path.read_bytes()))
        edits.append(PutFile("root", f"/etc/bench/{path.name}", path.read_bytes(), 0o600))
    edits.append(PutFile("root", "/usr/local/bin/large", content, 0o755))
    times = []
    target = folder / "node.img"
    for _ in range(runs):
        peer = theirs(base, target, small, large)
        target.unlink()
        mine = ours(base, target, edits)
        target.unlink()
        times.append((mine, peer))
    mine, peer = min(mine for mine, _ in times), min(peer for _, peer in times)
    return [Row("edit a base of 2.5 GiB, one file of 70 MB", mine, "cp --sparse + mcopy + debugfs", peer, LIMIT)]
