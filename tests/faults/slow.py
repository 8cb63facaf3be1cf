"""A card that is only slow: the kernel's own throttle for one device, for the processes of a test (cgroup v1)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_GROUPS = Path("/sys/fs/cgroup")

needs_throttle = pytest.mark.skipif(
    not os.access(_GROUPS / "blkio" / "blkio.throttle.write_bps_device", os.W_OK),
    reason="needs the cgroup blkio to slow a card",
)


@contextlib.contextmanager
def slowed(device: str, bytes_a_second: int) -> Iterator[Callable[[], int]]:
    """This process, and what it starts meanwhile, reads and writes the device at that rate each.

    Gives a function for how many bytes of theirs wait in memory to be written to any disk.
    """
    number = Path(device).stat().st_rdev
    with _group("blkio") as throttle, _group("memory") as memory:
        for doing in ("read", "write"):
            rule = f"{os.major(number)}:{os.minor(number)} {bytes_a_second}"
            (throttle / f"blkio.throttle.{doing}_bps_device").write_text(rule)
        yield lambda: _waiting(memory)


def _waiting(memory: Path) -> int:
    facts = dict(line.split() for line in (memory / "memory.stat").read_text().splitlines())
    return int(facts["dirty"]) + int(facts["writeback"])


@contextlib.contextmanager
def _group(controller: str) -> Iterator[Path]:
    """A group of our own; what is in it goes back to where we were."""
    before = _present(controller)
    group = _GROUPS / controller / f"imagesmith-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (before / "cgroup.procs").write_text(pid)
        group.rmdir()


def _present(controller: str) -> Path:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return _GROUPS / controller / path.lstrip("/")
    return _GROUPS / controller


def bytes_written(device: str) -> int:
    """What the device has taken since it exists."""
    return 512 * int(Path("/sys/block", Path(device).name, "stat").read_text().split()[6])
