"""How long `imagesmith build` takes with its base in the cache, beside `cp`, `sha256sum` and `zstd -T0` of the image.

Called by `bench.__main__`. Ours is the program as a person starts it: reading profiles, planning, editing, reading
back, checking, mapping, sealing, publishing.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from bench.made_base import Base, run
from bench.row import Row, timed

LIMIT = 1.5
_PROFILE = """\
schema: 1
title: The bench's own base
board: qemu-arm64
role: worker
base: bench
"""
_BASE = """\
schema: 1
name: bench
family: debian-generic
file:
  path: {path}
"""


def rows(base: Base, folder: Path, runs: int) -> list[Row]:
    """Best of `runs`, alternating."""
    profile = _profile(base, folder)
    os.environ["IMAGESMITH_CACHE"] = str(folder / "cache")
    argv = [sys.executable, "-m", "imagesmith", "build", profile, "--no-cluster", "--output", folder / "out"]
    timed(argv, folder)  # fills the cache
    image, copy = folder / "out/bench/bench.img", folder / "copy.img"
    ours, peers = [], []
    for _ in range(runs):
        start = time.monotonic()
        run("cp", "--sparse=always", image, copy)
        run("sha256sum", copy)
        run("zstd", "-q", "-T0", "-f", copy, "-o", folder / "copy.img.zst")
        peers.append(time.monotonic() - start)
        copy.unlink()
        ours.append(timed(argv, folder))
    shutil.rmtree(folder / "out")
    seconds, peak = min(one[0] for one in ours), max(one[1] for one in ours)
    return [Row("imagesmith build, base cached", seconds, "cp + sha256sum + zstd -T0", min(peers), LIMIT, peak)]


def _profile(base: Base, folder: Path) -> Path:
    (folder / "bases").mkdir()
    (folder / "boards").mkdir()
    (folder / "bases/bench.yaml").write_text(_BASE.format(path=base.path))
    board = Path(__file__).parent.parent / "profiles/boards/qemu-arm64.yaml"
    text = board.read_text().replace("bases: [debian-arm64]", "bases: [bench]")
    (folder / "boards/qemu-arm64.yaml").write_text(text)
    (folder / "bench.yaml").write_text(_PROFILE)
    return folder / "bench.yaml"
