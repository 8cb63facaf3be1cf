"""One measurement: ours beside a peer in the same run, as a ratio with a bar, and our process tree's peak memory."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MEMORY_LIMIT_MIB = 256


@dataclass(frozen=True, slots=True)
class Row:
    case: str
    ours_s: float
    peer: str
    peer_s: float
    limit: float
    """The ratio may not be above."""
    peak_mib: float = 0
    """0 = not measured."""
    unit: str = "s"
    """Of what is measured, where it is not time."""

    @property
    def ratio(self) -> float:
        return self.ours_s / self.peer_s

    @property
    def met(self) -> bool:
        return self.ratio <= self.limit and self.peak_mib <= MEMORY_LIMIT_MIB


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| case | ours | peer | peer's | ratio | at most | peak MiB | |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        peak = f"{row.peak_mib:.0f}" if row.peak_mib else ""
        ours, peers = f"{row.ours_s:.2f} {row.unit}", f"{row.peer_s:.2f} {row.unit}"
        lines.append(
            f"| {row.case} | {ours} | {row.peer} | {peers} | {row.ratio:.2f} | {row.limit}"
            f" | {peak} | {'met' if row.met else 'MISSED'} |"
        )
    return "\n".join(lines)


def timed(argv: Sequence[object], folder: Path) -> tuple[float, float]:
    """Seconds that a command takes, and the peak memory in MiB of it and all that it starts, sampled every 20 ms."""
    start, peak = time.monotonic(), 0.0
    process = subprocess.Popen([str(word) for word in argv], cwd=folder, stdout=subprocess.DEVNULL, stderr=-1)
    try:
        while process.poll() is None:
            peak = max(peak, memory_of(process.pid))
            time.sleep(0.02)
        seconds = time.monotonic() - start
        if process.returncode:
            said = process.stderr.read().decode() if process.stderr else ""
            raise RuntimeError(f"{argv}: exit code {process.returncode}: {said}")
        return seconds, peak
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def sampled_peak(pid: int) -> Iterator[list[float]]:
    """The peak memory in MiB of a process tree inside the block, as its one number, sampled every 20 ms."""
    peak, over = [0.0], threading.Event()

    def sample() -> None:
        while not over.wait(0.02):
            peak[0] = max(peak[0], memory_of(pid))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def memory_of(pid: int) -> float:
    """MiB of a process tree now: proportional set sizes, so that shared pages count once."""
    total = 0.0
    for one in _tree(pid):
        try:
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) / 1024
        except OSError:
            continue
    return total


def _tree(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += [int(word) for word in (task / "children").read_text().split()]
        except OSError:
            continue
    return found
