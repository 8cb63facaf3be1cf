"""Processes that get SIGKILL while a card is written: the conductor, in a process of its own here, or its children.

The moment is a barrier (a step that starts or has finished) or a time after the first byte.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from faults.writing import flash

from imagesmith.events import Event, StepFinished, StepStarted
from imagesmith.planning.flash import FlashPlan

STEPS = ("blank", "write", "read back", "finish")
BARRIERS = [(step, kind) for step in STEPS for kind in ("starts", "has finished")]
Moment = tuple[str, str] | float
"""A barrier, or seconds after the first one."""
CHILDREN = {"feeder": "imagesmith.sources.feeder", "card writers": "imagesmith.flash.card_writers"}


def at(moment: Moment, act: Callable[[], object]) -> Callable[[Event], None]:
    """A listener that acts at that moment, once. A time is kept by a thread."""
    step, kind = ("blank", "starts") if isinstance(moment, float) else moment
    wanted = StepStarted if kind == "starts" else StepFinished
    done: list[bool] = []

    def listener(event: Event) -> None:
        if isinstance(event, wanted) and event.step == step and not done:
            done.append(True)
            if isinstance(moment, float):
                threading.Timer(moment, act).start()
            else:
                act()

    return listener


def flash_and_kill_conductor(plan: FlashPlan, moment: Moment) -> None:
    """Returns when no process of the run has the card any more."""
    process = multiprocessing.get_context("fork").Process(target=_doomed, args=(plan, moment))
    process.start()
    process.join(60)
    assert process.exitcode in (-signal.SIGKILL, 0), process.exitcode
    wait_until_free(plan.device.path)


def _doomed(plan: FlashPlan, moment: Moment) -> None:
    flash(plan, at(moment, lambda: os.kill(os.getpid(), signal.SIGKILL)))


def flash_and_kill_child(plan: FlashPlan, child: str, moment: Moment) -> object:
    """What became of the card."""
    over = threading.Event()

    def kill() -> None:
        # A moment after the run's end must not be the next run's.
        for pid in () if over.is_set() else children(child):
            os.kill(pid, signal.SIGKILL)

    try:
        return flash(plan, at(moment, kill))
    finally:
        over.set()


def children(name: str) -> list[int]:
    """The processes that this one started as `name` of CHILDREN; as `card writer`, what `card writers` forked."""
    if name == "card writer":
        return [child for parent in children("card writers") for child in _started_by(parent)]
    return [pid for pid in _started_by(os.getpid()) if CHILDREN[name].encode() in _command(pid)]


def _started_by(pid: int) -> list[int]:
    tasks = Path("/proc", str(pid), "task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _command(pid: int) -> bytes:
    """Empty for who has ended. Who was just started has none for a moment, too, though Popen has returned."""
    deadline = time.monotonic() + 1
    try:
        while not (command := Path("/proc", str(pid), "cmdline").read_bytes()) and time.monotonic() < deadline:
            time.sleep(0.001)
    except (FileNotFoundError, ProcessLookupError):
        return b""
    return command


def wait_until_free(device: str, within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while True:
        try:
            return os.close(os.open(device, os.O_RDWR | os.O_EXCL))
        except OSError:
            assert time.monotonic() < deadline, f"a process still has {device}"
            time.sleep(0.01)
