"""How long a try at an identity of ZeroTier takes beside its bare hash, on all cores as the vault draws them.

Called by `bench.__main__`. Luck decides how many tries an identity takes, so what is measured is a try: the keys of
both sides are drawn anew, and their sides take turns.
"""

from __future__ import annotations

import os
import secrets
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from bench.made_base import Base
from bench.row import Row
from imagesmith.identity import zerotier
from imagesmith.vault import proofs

LIMIT = 1.2
_A_CORE = 12
"""Tries in one run."""


def rows(base: Base, folder: Path, runs: int) -> list[Row]:
    """Medians. Neither `base` nor `folder` is used: nothing here reads or writes a file."""
    workers = len(os.sched_getaffinity(0))
    count = _A_CORE * workers
    publics = [secrets.token_bytes(zerotier.KEY_BYTES) for _ in range(count)]
    ours, bare = [], []
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        list(pool.map(zerotier.proof, publics[:workers]))  # so that they are there
        tries = proofs.tries(workers)
        next(tries)
        for _ in range(runs):
            bare.append(_timed(lambda: list(pool.map(zerotier.proof, publics))))
            ours.append(_timed(lambda: list(islice(tries, count))))
        tries.close()
    own, peer = statistics.median(ours) / count * 1000, statistics.median(bare) / count * 1000
    return [Row("a try at a ZeroTier identity", own, "its hash alone", peer, LIMIT, unit="ms")]


def _timed(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return time.perf_counter() - start
