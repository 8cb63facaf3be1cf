"""How much memory many cards take: one image on 16 cards, and 12 images on 12 cards. Small images: the bar is memory's.

Called by `bench.__main__`. The peer is the same work, one card after the other. Needs root (loop devices).
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.loop_card import loop_card
from bench.made_base import Base, MiB
from bench.row import Row, sampled_peak

SIZE = 64 * MiB
CARDS, IMAGES = 16, 12
_FLASH = """
import sys
from pathlib import Path
from imagesmith.events import unheard
from imagesmith.workflow.flash import Request, first_failure, flash
from imagesmith.workflow.jobs import typed
request = Request(typed(sys.argv[1:]), Path("."), yes=True, eject=False)
failure = first_failure(flash(request, ask=lambda _: "", current_plan_id=lambda _: "a" * 64, listener=unheard))
sys.exit(str(failure) if failure else 0)
"""


def rows(base: Base, folder: Path, runs: int) -> list[Row]:
    """The slowest and the largest of `runs`. `base` is not used: it is larger than is needed."""
    place = folder / "many"
    place.mkdir()
    images = _images(place)
    with contextlib.ExitStack() as stack:
        cards = [stack.enter_context(loop_card(place / f"card{number}", SIZE + 8 * MiB)) for number in range(CARDS)]
        alone = min(_flashed(place, [images[0].name, cards[0]])[0] for _ in range(runs))
        each = [f"node-{number}={card}" for number, card in enumerate(cards[:IMAGES], 1)]
        return [
            _row(f"one image to {CARDS} cards, read back", CARDS * alone, place, [images[0].name, *cards], runs),
            _row(f"{IMAGES} images to {IMAGES} cards, read back", IMAGES * alone, place, each, runs),
        ]


def _row(case: str, one_by_one: float, place: Path, words: Sequence[str], runs: int) -> Row:
    found = [_flashed(place, words) for _ in range(runs)]
    seconds, peak = max(seconds for seconds, _ in found), max(peak for _, peak in found)
    return Row(case, seconds, "one card after the other", one_by_one, 1.0, peak)


def _images(place: Path) -> list[Path]:
    """Of nodes, recorded as a build does it."""
    from imagesmith.model import Digest, Image
    from imagesmith.workflow.built import record_build

    made = []
    for number in range(1, IMAGES + 1):
        path = place / f"node-{number}.img"
        path.write_bytes(bytes(512) + random.Random(number).randbytes(SIZE - 512))
        made.append(Image(path.stem, path, None, SIZE, Digest.of(b""), "a" * 64, path, path))
    record_build(place, made)
    return [image.path for image in made]


def _flashed(place: Path, words: Sequence[str]) -> tuple[float, float]:
    """Seconds, and the peak in MiB."""
    environment = {**os.environ, "IMAGESMITH_CACHE": str(place / "cache"), "PYTHONPATH": str(Path(__file__).parents[1])}
    words = [f"./{words[0]}" if words[0].endswith(".img") else words[0], *words[1:]]
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", _FLASH, *words], cwd=place, env=environment, stderr=subprocess.PIPE, text=True
    )
    with sampled_peak(process.pid) as peak:
        _, complaint = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{words}: {complaint}")
    return time.monotonic() - start, peak[0]
