"""Identities of ZeroTier drawn by trying keys until one proves its work, on all cores. Called by `draw`.

A try takes a sixth of a second, and fifteen are needed on the average. Each is a job of its own, so that all cores work
to the end whether one identity is wanted or ten.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing
from multiprocessing import get_context

from imagesmith.events import Listener, Progress, StepFinished, StepStarted, unheard
from imagesmith.formats.zerotier import Member
from imagesmith.identity.zerotier import KEY_BYTES, tried

Found = tuple[Member, bytes]
"""Who, and the private key."""
STEP = "draw identities"


def found(count: int, listener: Listener = unheard, workers: int = 0) -> list[Found]:
    """So many identities, by so many processes; 0 = as many as there are cores for us.

    The search is told as `counted` tells it; of none nothing is said.
    """
    if not count:
        return []
    # Closed in any case: Ctrl-C may come while the listener is at it, and nobody shall go on trying then.
    with closing(tries(workers or len(os.sched_getaffinity(0)))) as endless:
        return counted(endless, count, listener)


def counted(tried_keys: Iterable[Found | None], count: int, listener: Listener) -> list[Found]:
    """The first `count` of the tries that went well; no more are asked for.

    Emits a step with Progress in items, from 0 on, so that there is something to see before the first one is found.
    """
    listener(StepStarted(STEP, f"{count} for ZeroTier, some seconds of work each"))
    listener(Progress(STEP, 0, count, "items"))
    good: list[Found] = []
    for one in tried_keys:
        if one:
            good.append(one)
            listener(Progress(STEP, len(good), count, "items"))
        if len(good) == count:
            break
    listener(StepFinished(STEP, f"{count} drawn"))
    return good


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
