"""How work is told: NDJSON for scripts, plain lines for pipes, one bar on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import click
import pytest

from imagesmith.cli.progress import listener_for
from imagesmith.events import Event, Noted, Progress, StepFinished, StepStarted, Warned

MIB = 1024 * 1024
STORY: tuple[Event, ...] = (
    StepStarted("seal", "digest, block map, zst"),
    *(Progress("seal", done * MIB, 500 * MIB) for done in range(501)),
    StepFinished("seal", "300 MiB of 500 MiB to be written"),
    Noted("node-1 is standalone: it joins nothing"),
    Warned("nobody will be able to log in to node-1", "give a key: --ssh-key FILE"),
)


def tell(events: tuple[Event, ...], *, as_json: bool) -> None:
    context = click.Context(click.Command("some"))
    context.params["as_json"] = as_json
    listener = listener_for(context)
    for event in events:
        listener(event)


def test_json_is_one_object_a_line_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    tell(STORY, as_json=True)
    told = capsys.readouterr()
    assert told.err == ""
    facts = [json.loads(line) for line in told.out.splitlines()]
    assert facts[0] == {"event": "StepStarted", "step": "seal", "detail": "digest, block map, zst"}
    assert facts[-1]["event"] == "Warned"
    assert facts[-1]["hint"] == "give a key: --ssh-key FILE"


def test_json_tells_progress_at_most_once_a_second_and_always_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    tell(STORY, as_json=True)
    facts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    progress = [fact for fact in facts if fact["event"] == "Progress"]
    # 501 were given within a fraction of a second: the first, the last, and a few more on a very busy machine.
    assert 2 <= len(progress) <= 10
    assert progress[-1]["done"] == progress[-1]["total"] == 500 * MIB


def test_each_step_has_a_rate_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    tell((Progress("fetch", 1, 9), Progress("expand", 1, 9), Progress("fetch", 2, 9)), as_json=True)
    steps = [json.loads(line)["step"] for line in capsys.readouterr().out.splitlines()]
    assert steps == ["fetch", "expand"]


def test_lines_in_a_pipe_are_plain_and_few(capsys: pytest.CaptureFixture[str]) -> None:
    tell(STORY, as_json=False)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "seal: digest, block map, zst",
        "seal: 300 MiB of 500 MiB to be written",
        "  node-1 is standalone: it joins nothing",
        "warning: nobody will be able to log in to node-1",
        "         give a key: --ssh-key FILE",
    ]


@pytest.mark.parametrize("as_json", [True, False])
def test_work_goes_on_where_nobody_can_hear_of_it(as_json: bool) -> None:
    with Path("/dev/full").open("w") as full, redirect_stdout(full), redirect_stderr(full):
        tell(STORY, as_json=as_json)
        # What waits can't be written on closing either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


@pytest.mark.slow
def test_a_long_step_tells_rate_and_time_left_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    script = (
        "import click, time\n"
        "from imagesmith.cli.progress import listener_for\n"
        "from imagesmith.events import Progress\n"
        "listener = listener_for(click.Context(click.Command('some')))\n"
        "listener(Progress('fetch', 0, 100 << 20))\n"
        "time.sleep(5.1)\n"
        "listener(Progress('fetch', 51 << 20, 100 << 20))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    (line,) = done.stderr.splitlines()
    assert line.startswith("fetch: 51 MiB of 100 MiB, ")
    assert "MiB/s, " in line
    assert line.endswith(" s left")


@pytest.mark.slow
def test_of_items_that_take_seconds_each_no_rate_is_told() -> None:
    script = (
        "import click, time\n"
        "from imagesmith.cli.progress import listener_for\n"
        "from imagesmith.events import Progress\n"
        "listener = listener_for(click.Context(click.Command('some')))\n"
        "listener(Progress('draw identities', 0, 8, 'items'))\n"
        "time.sleep(5.1)\n"
        "listener(Progress('draw identities', 3, 8, 'items'))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"draw identities: 3 of 8, \d+ s left\n", done.stderr)


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    script = (
        "import click, time\n"
        "from imagesmith.cli.progress import listener_for\n"
        "from imagesmith.events import Noted, Progress, StepFinished, StepStarted\n"
        "listener = listener_for(click.Context(click.Command('some')))\n"
        "listener(StepStarted('seal', 'all of it'))\n"
        "for done in range(1, 6):\n"
        "    listener(Progress('seal', done << 20, 10 << 20))\n"
        "    time.sleep(0.12)\n"
        "listener(Noted('halfway'))\n"
        "listener(StepFinished('seal', 'done'))\n"
    )
    shown = on_terminal([sys.executable, "-c", script])
    assert "seal: all of it\r\n" in shown
    assert "M/10.0M [" in shown  # bytes, of how many
    assert "%|" in shown
    assert "halfway\r\n" in shown
    assert shown.rstrip().endswith("seal: done")


def on_terminal(argv: list[str]) -> str:
    """What a program shows on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    shown = bytearray()

    def read() -> None:
        # A terminal that was closed at its other end answers EIO.
        try:
            while data := os.read(ours, 65536):
                shown.extend(data)
        except OSError:
            pass

    reader = threading.Thread(target=read, daemon=True)
    try:
        process = subprocess.Popen(
            argv, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "COLUMNS": "80"}
        )
        os.close(theirs)
        reader.start()
        assert process.wait(timeout=60) == 0, shown.decode()
        reader.join(10)
    finally:
        os.close(ours)
    return shown.decode()
