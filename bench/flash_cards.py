"""How fast cards are written beside `bmaptool copy`, `xz` and `dd`, on loop devices with a cold cache.

Called by `bench.__main__`. The image has 2.5 GiB, 450 MiB of them mapped, half of those compressible: a FAT and an ext4
as `made_base` makes them. Ours always reads back; rows that say "write only" stop the clock at the end of the writing,
and print the read-back beside it. Needs root (loop devices, dropping caches) and bmaptool.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.loop_card import loop_card
from bench.made_base import Base, MiB, make_base
from bench.row import Row, sampled_peak

SIZE = 2560 * MiB
FILES = 1000
"""In the root: with the FAT, 450 MiB are mapped."""
RATE = 20 * MiB
"""Of the slow card, bytes a second."""
_BLKIO = Path("/sys/fs/cgroup/blkio")


@dataclass(frozen=True, slots=True)
class Timing:
    """Of one run of ours: seconds from its start until the image was written, and until it was read back and done."""

    written: float
    whole: float
    peak_mib: float = 0


def rows(base: Base, folder: Path, runs: int) -> list[Row]:
    """Medians of `runs`, alternating. `base` is not used: it has more mapped."""
    made = _Made(Path(tempfile.mkdtemp(prefix="cards-", dir=folder)))
    with contextlib.ExitStack() as stack:
        cards = [stack.enter_context(loop_card(folder / f"card{number}", SIZE + 64 * MiB)) for number in range(4)]
        return [
            *_mapped_raw(made, cards[0], runs),
            *_xz(made, cards[0], runs),
            *_zst(made, cards[0], runs),
            *_unmapped(made, cards[0], runs),
            *_four(made, cards, runs),
            *_slow(made, cards[0]),
        ]


class _Made:
    """The image in every form that is measured, each with bmaptool's own map beside it."""

    def __init__(self, folder: Path) -> None:
        self.raw = make_base(folder, FILES).path
        self.map = folder / "base.bmap"
        _run("bmaptool", "create", "-o", self.map, self.raw)
        self.alone = folder / "alone"
        self.alone.mkdir()
        self.without_map = self.alone / "alone.img"
        os.link(self.raw, self.without_map)
        packed = folder / "packed"
        packed.mkdir()
        self.xz, self.zst = packed / "base.img.xz", packed / "base.img.zst"
        with self.xz.open("wb") as out:
            subprocess.run(["xz", "-c", "-1", "-T2", f"--block-size={24 * MiB}", self.raw], stdout=out, check=True)
        _run("zstd", "-q", "-3", "-T2", "--stream-size", SIZE, self.raw, "-o", self.zst)
        (packed / "base.img.bmap").write_bytes(self.map.read_bytes())


def _mapped_raw(made: _Made, card: str, runs: int) -> list[Row]:
    ours, peers = _both(runs, lambda: _ours(made.raw, card), lambda: _bmaptool(made, made.raw, card))
    return [_written("flash .img with its map, write only", ours, "bmaptool copy", peers, 1.05)]


def _xz(made: _Made, card: str, runs: int) -> list[Row]:
    ours, peers = _both(runs, lambda: _ours(made.xz, card), lambda: _bmaptool(made, made.xz, card))
    decoded = [_timed(lambda: _run("sh", "-c", f"xz -dc -T0 {made.xz} > /dev/null")) for _ in range(runs)]
    return [
        _written("flash .img.xz with its map, write only", ours, "bmaptool copy", peers, 0.75),
        _written("the same", ours, "xz -dc -T0 > /dev/null", decoded, 1.15),
        _whole("flash .img.xz, written and read back", ours, "bmaptool copy", peers, 1.0),
    ]


def _zst(made: _Made, card: str, runs: int) -> list[Row]:
    piped = f"xz -dc {made.xz} | dd of={card} bs=4M conv=fsync status=none"
    ours, peers = _both(runs, lambda: _ours(made.zst, card), lambda: _timed(lambda: _run("sh", "-c", piped)))
    return [_whole("flash .img.zst, written and read back", ours, "xz -dc \\| dd conv=fsync", peers, 0.25)]


def _unmapped(made: _Made, card: str, runs: int) -> list[Row]:
    copy = ("dd", f"if={made.without_map}", f"of={card}", "bs=4M", "oflag=direct", "status=none")
    ours, peers = _both(runs, lambda: _ours(made.without_map, card), lambda: _timed(lambda: _run(*copy)))
    return [_written("flash .img without a map, write only", ours, "dd bs=4M oflag=direct", peers, 1.1)]


def _four(made: _Made, cards: list[str], runs: int) -> list[Row]:
    ours, alone = _both(runs, lambda: _ours(made.xz, *cards), lambda: _ours(made.xz, cards[0]).whole)
    return [_whole("flash .img.xz to 4 cards, read back", ours, "ours to one card", alone, 1.3)]


def _slow(made: _Made, card: str) -> list[Row]:
    """Each pass beside the time that the card's rate allows; once, for it takes as long as it takes."""
    if not (_BLKIO / "blkio.throttle.write_bps_device").exists():
        return []
    mapped = sum(size for size in _mapped_sizes(made.map))
    status = Path(card).stat()
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    group = _BLKIO / f"imagesmith-bench-{os.getpid()}"
    group.mkdir()
    try:
        for door in ("read", "write"):
            (group / f"blkio.throttle.{door}_bps_device").write_text(f"{number} {RATE}\n")
        begun, ended, _, _ = _flashed(made.raw, (card,), f"echo $$ > {group}/cgroup.procs")
    finally:
        group.rmdir()
    return [
        Row(f"slow card (20 MiB/s), {step} pass", ended[step] - begun[step], "mapped bytes / rate", mapped / RATE, 1.05)
        for step in ("write", "read back")
    ]


def _mapped_sizes(path: Path) -> Iterator[int]:
    from imagesmith.formats import bmap

    block_map = bmap.parse(path.read_text())
    for part in block_map.ranges:
        yield (part.last - part.first + 1) * block_map.block_size


def _both(runs: int, ours: Callable[[], Timing], peer: Callable[[], float]) -> tuple[list[Timing], list[float]]:
    found: tuple[list[Timing], list[float]] = ([], [])
    for _ in range(runs):
        found[1].append(peer())
        found[0].append(ours())
    return found


def _written(case: str, ours: list[Timing], peer: str, peers: list[float], limit: float) -> Row:
    back = statistics.median(one.whole - one.written for one in ours)
    seconds = statistics.median(one.written for one in ours)
    return Row(f"{case} (+ {back:.2f} s read back)", seconds, peer, statistics.median(peers), limit, _peak(ours))


def _whole(case: str, ours: list[Timing], peer: str, peers: list[float], limit: float) -> Row:
    return Row(case, statistics.median(one.whole for one in ours), peer, statistics.median(peers), limit, _peak(ours))


def _peak(ours: list[Timing]) -> float:
    return max(one.peak_mib for one in ours)


def _ours(image: Path, *cards: str) -> Timing:
    """One flash, as a user starts it; the steps' ends as they are told."""
    _, ended, peak, start = _flashed(image, cards)
    return Timing(ended["write"] - start, ended["end"] - start, peak)


def _flashed(
    image: Path, cards: Sequence[str], before: str = ":"
) -> tuple[dict[str, float], dict[str, float], float, float]:
    """When each step began (the first card's) and ended (the last one's), the peak in MiB, and when it was started."""
    _drop_caches()
    command = [sys.executable, "-m", "imagesmith", "flash", "--json", "--yes", str(image), *cards]
    begun: dict[str, float] = {}
    ended: dict[str, float] = {}
    start = time.monotonic()
    process = subprocess.Popen(
        ["sh", "-c", f'{before}; exec "$@"', "sh", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with sampled_peak(process.pid) as peak:
        assert process.stdout
        for line in process.stdout:
            told = json.loads(line)
            if told.get("event") == "StepStarted":
                begun.setdefault(told["step"], time.monotonic())
            elif told.get("event") == "StepFinished":
                ended[told["step"]] = time.monotonic()
        process.wait()
    ended["end"] = time.monotonic()
    if process.returncode:
        raise RuntimeError(f"{command}: {process.stderr.read().decode() if process.stderr else ''}")
    return begun, ended, peak[0], start


def _bmaptool(made: _Made, image: Path, card: str) -> float:
    return _timed(lambda: _run("bmaptool", "copy", "--bmap", made.map, image, card))


def _timed(act: Callable[[], None]) -> float:
    _drop_caches()
    start = time.monotonic()
    act()
    return time.monotonic() - start


def _run(*argv: object) -> None:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv}: {done.stderr}")


def _drop_caches() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
