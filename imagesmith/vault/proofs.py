"""Identities of ZeroTier drawn by trying keys until one proves its work, on all cores. Called by `draw`.

A try takes a sixth of a second, and fifteen are needed on the average. Each is a job of its own, so that all cores work
to the end whether one identity is wanted or ten.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from multiprocessing import get_context

from imagesmith.formats.zerotier import Member
from imagesmith.identity.zerotier import KEY_BYTES, tried

Found = tuple[Member, bytes]
"""Who, and the private key."""


def found(count: int, workers: int = 0) -> list[Found]:
    """So many identities, by so many processes; 0 = as many as there are cores for us."""
    workers = workers or len(os.sched_getaffinity(0))
    if not count:
        return []
    good = (one for one in tries(workers) if one)
    return list(islice(good, count))


def attempt() -> Found | None:
    """One key, drawn and tried."""
    private = secrets.token_bytes(KEY_BYTES)
    member = tried(private)
    return (member, private) if member else None


def tries(workers: int) -> Generator[Found | None, None, None]:
    """Without end; who has enough stops asking."""
    if workers == 1:
        while True:
            yield attempt()
    # Not forked: what another thread holds at that moment would be held for ever.
    with ProcessPoolExecutor(workers, get_context("spawn"), _leave_interrupts) as pool:
        running: set[Future[Found | None]] = set()
        try:
            while True:
                running |= {pool.submit(attempt) for _ in range(workers - len(running))}
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (one.result() for one in done)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _leave_interrupts() -> None:
    """Ctrl-C is for who waits, who then ends this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
