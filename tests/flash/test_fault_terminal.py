"""The real command where talking is hard: a narrow terminal, nobody who listens, Ctrl-C while the card is stuck."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.disks import BLOCK
from faults.killing import wait_until_free
from faults.lane import Lane, needs_lane
from faults.slow import needs_throttle, slowed
from faults.writing import COMMAND, surroundings

from imagesmith.units import MiB

pytestmark = needs_lane
COLUMNS = 20


def words(lane: Lane) -> list[str]:
    image = str(lane.images["whole"].path)
    return [*COMMAND, image, lane.card.device, "--yes", "--no-eject"]


class Terminal:
    """A command at a terminal of COLUMNS columns, and what it said so far."""

    def __init__(self, argv: list[str], **surrounded: Any) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *argv], stdin=theirs, stdout=theirs, stderr=theirs, **surrounded
        )
        os.close(theirs)
        self.said = ""

    def wait(self, for_text: str = "", within_s: float = 30) -> int | None:
        """Until the text was said, or the command ended: then its exit code."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if select.select([self._ours], [], [], 0.05)[0]:
                try:
                    self.said += os.read(self._ours, 65536).decode()
                except OSError:  # the last process that had the other end is gone
                    return self._process.wait(10)
            elif self._process.poll() is not None:
                return self._process.returncode
            if for_text and for_text in self.said:
                return None
        raise AssertionError(f"waited in vain for {for_text or 'its end'}: {self.said[-2000:]}")

    def press(self, key: bytes) -> None:
        os.write(self._ours, key)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)
        os.close(self._ours)


@contextlib.contextmanager
def terminal(lane: Lane, folder: Path) -> Iterator[Terminal]:
    surrounded = surroundings(folder)
    surrounded["env"] = {name: value for name, value in surrounded["env"].items() if name != "COLUMNS"}
    found = Terminal(words(lane), **surrounded)
    try:
        yield found
    finally:
        found.close()


@needs_throttle
def test_a_narrow_terminal_gets_bars_that_fit(lane: Lane, tmp_path: Path) -> None:
    with slowed(lane.card.device, 6 * MiB), terminal(lane, tmp_path) as screen:
        assert screen.wait() == 0, screen.said
    assert "Traceback" not in screen.said
    drawn = [
        part for line in screen.said.split("\n") for part in line.split("\r") if part.startswith("  ") and "%" in part
    ]
    assert drawn
    assert max(len(part.rstrip()) for part in drawn) <= COLUMNS
    assert lane.is_exact("whole")
    lane.tried += 1


@pytest.mark.slow
def test_ctrl_c_at_the_terminal_is_answered_while_the_card_is_stuck(lane: Lane, tmp_path: Path) -> None:
    lane.card.arm("hang", 1100 * BLOCK, 1101 * BLOCK)
    with terminal(lane, tmp_path) as screen:
        screen.wait("has not answered", within_s=15)
        pressed = time.monotonic()
        screen.press(b"\x03")
        assert screen.wait(within_s=10) == 130, screen.said
        answered_s = time.monotonic() - pressed
    assert answered_s < 2
    assert "Traceback" not in screen.said
    assert "not bootable" in screen.said.replace("\r\n", " ")
    lane.card.wake()
    wait_until_free(lane.card.device)
    lane.complete_or_not_bootable()
    assert not lane.boots()
    lane.tried += 1


@pytest.mark.parametrize("closed", ["stdout", "stderr", "all"])
def test_a_card_is_written_whole_where_nobody_listens(lane: Lane, tmp_path: Path, closed: str) -> None:
    ends = {"stdout": ">&-", "stderr": "2>&-", "all": ">&- 2>&- <&-"}
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {ends[closed]}', "sh", *words(lane)],
        **surroundings(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr + done.stdout
    assert done.returncode == 0, done.stderr
    assert lane.is_exact("whole")
    lane.tried += 1


@pytest.mark.parametrize("option", ["", "--json"])
def test_a_reader_that_goes_away_does_not_stop_the_writing(lane: Lane, tmp_path: Path, option: str) -> None:
    process = subprocess.Popen(
        [*words(lane), *([option] if option else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **surroundings(tmp_path),
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    told = process.stderr.read().decode()
    process.stderr.close()
    code = process.wait(30)
    assert "Traceback" not in told
    assert lane.is_exact("whole")
    # The answer was not heard, and that is told by the exit code alone.
    assert code in (0, 6), told
    lane.tried += 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_that_end_it_leave_no_head(lane: Lane, tmp_path: Path, number: signal.Signals) -> None:
    lane.card.arm("delay", count=30_000)
    process = subprocess.Popen(
        words(lane), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **surroundings(tmp_path)
    )
    assert process.stderr
    for line in process.stderr:
        if line.startswith("write"):
            process.send_signal(number)
            break
    rest = process.communicate(timeout=30)
    wait_until_free(lane.card.device)
    assert process.returncode != 0
    assert "Traceback" not in "".join(rest)
    assert not lane.boots()
    lane.tried += 1
