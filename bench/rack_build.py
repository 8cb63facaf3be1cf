"""How long `imagesmith build --all` takes for five nodes from three cached bases, beside `cp`, `sha256sum`, `zstd -T0`.

Called by `bench.__main__`. The bases have 1, 1 and 2 GiB, with about 400 MiB in each, and lie in the cache as a fetch
leaves them. That each is compared with its digest once, and none expanded again, is counted in the same runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.made_base import Base, MiB, make_base, run
from bench.row import Row, sampled_peak
from imagesmith.model import Digest
from imagesmith.sources.cache import Cache

LIMIT = 1.5
SIZES = {"one": 1024 * MiB, "two": 1024 * MiB, "three": 2048 * MiB}
FILES = 940
NODES = {"node-1": "one", "node-2": "one", "node-3": "two", "node-4": "three", "node-5": "three"}
_BASE = """\
schema: 1
name: {name}
family: debian-generic
http: {{url: https://bench.invalid/{name}.img, digest: {digest}, released: 2026-10-06}}
"""
_PROFILE = "schema: 1\ntitle: The bench's\nboard: qemu-arm64\nrole: worker\nbase: one\n"
_INVENTORY = "schema: 1\nname: bench\ndefaults: {sudo_nopasswd: true}\nnodes:\n"


def rows(base: Base, folder: Path, runs: int) -> list[Row]:
    """Medians of `runs`, alternating. `base` is not used: here there are three."""
    work = folder / "rack"
    env = {**os.environ, "IMAGESMITH_CACHE": str(work / "cache")}
    _lay_out(work)
    ours: list[tuple[float, float]] = []
    peers: list[float] = []
    _build(work, env)  # brings the images that the peer works on
    for _ in range(runs):
        peers.append(_peer(work))
        ours.append(_build(work, env))
    shutil.rmtree(work)
    seconds = statistics.median(one[0] for one in ours)
    peak = max(one[1] for one in ours)
    case = "build --all, five nodes from three cached bases"
    return [Row(case, seconds, "cp + sha256sum + zstd -T0", statistics.median(peers), LIMIT, peak)]


def _lay_out(work: Path) -> None:
    """The inventory, its profiles, and the bases in the cache."""
    bases, boards = work / "profiles/bases", work / "profiles/boards"
    bases.mkdir(parents=True)
    boards.mkdir()
    cache = Cache(work / "cache")
    for seed, (name, size) in enumerate(SIZES.items()):
        digest = _filed(cache, make_base(work / f"made-{name}", FILES, size=size, seed=seed).path)
        shutil.rmtree(work / f"made-{name}")
        (bases / f"{name}.yaml").write_text(_BASE.format(name=name, digest=digest))
    board = (Path(__file__).parent.parent / "profiles/boards/qemu-arm64.yaml").read_text()
    text = board.replace("bases: [debian-arm64]", f"bases: [{', '.join(SIZES)}]")
    (boards / "qemu-arm64.yaml").write_text(text)
    (work / "profiles/bench.yaml").write_text(_PROFILE)
    lines = "".join(f"  - {{name: {node}, profile: bench, base: {name}}}\n" for node, name in NODES.items())
    (work / "cluster.yaml").write_text(_INVENTORY + lines)


def _filed(cache: Cache, image: Path) -> Digest:
    """Put an image where a fetch would have; its digest."""
    with image.open("rb") as file:
        digest = Digest("sha256", hashlib.file_digest(file, "sha256").hexdigest())
    facts = {"published": str(digest), "published_size": image.stat().st_size, "trust": "made by the bench", "url": ""}
    with cache.scratch("raw", digest.hex) as scratch:
        run("cp", "--sparse=always", image, scratch / "raw")
        cache.publish("raw", digest.hex, scratch / "raw", digest, facts)
    return digest


def _build(work: Path, env: dict[str, str]) -> tuple[float, float]:
    """Seconds and peak MiB of one run. Raises RuntimeError where a base was read more than once."""
    argv = [sys.executable, "-m", "imagesmith", "build", "--all", "--json"]
    start = time.monotonic()
    process = subprocess.Popen(argv, cwd=work, env=env, stdout=subprocess.PIPE, text=True)
    with sampled_peak(process.pid) as peak:
        said = process.communicate()[0]
    seconds = time.monotonic() - start
    told = [json.loads(line) for line in said.splitlines()]
    if process.returncode:
        raise RuntimeError(f"{argv}: {told[-1]}")
    ended = [one["step"] for one in told if one.get("event") == "Progress" and one["done"] == one["total"]]
    looks, expanded = ended.count("check the cache"), ended.count("expand")
    if (looks, expanded) != (len(SIZES), 0):
        raise RuntimeError(f"{looks} looks at {len(SIZES)} bases, {expanded} of them expanded")
    return seconds, peak[0]


def _peer(work: Path) -> float:
    copy, packed = work / "copy.img", work / "copy.img.zst"
    start = time.monotonic()
    for node in NODES:
        run("cp", "--sparse=always", work / f"out/{node}/{node}.img", copy)
        run("sha256sum", copy)
        run("zstd", "-q", "-T0", "-f", copy, "-o", packed)
        copy.unlink()
        packed.unlink()
    return time.monotonic() - start
