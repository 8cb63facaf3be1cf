"""One guest under QEMU: its throw-away disk, its console and power button, and its certain end.

Called by `workflow.boot`. Touches a temporary folder and processes; the image is only ever the overlay's backing file.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from imagesmith import tools
from imagesmith.disk import failures, room_for_large_files
from imagesmith.errors import BootFailed, ToolMissing

_OLDEST = (10, 0)
_ANSWER_S = 3.0


def require(emulator: str) -> str:
    """The emulator's version, as `10.0.2`. Raises ToolMissing where it is absent or older than 10.

    QEMU 7.2 let half of all amd64 guests die of a double fault; its verdicts are worth nothing.
    """
    text = tools.run([emulator, "--version"]).text
    found = re.search(r"version (\d+)\.(\d+)(\.\d+)?", text)
    if not found:
        raise ToolMissing(f"{emulator} does not tell its version: {text.strip()[:80]!r}")
    version = found[0].removeprefix("version ")
    if (int(found[1]), int(found[2])) < _OLDEST:
        package = tools.TOOLS[emulator].package if emulator in tools.TOOLS else emulator
        raise ToolMissing(
            f"{emulator} is version {version}; guests crash in it that are healthy, so 10 or newer is needed",
            hint=f"on Debian 12 add the backports suite, then: apt-get install -t bookworm-backports {package}",
        )
    return version


def make_overlay(image: Path, overlay: Path, size: int) -> None:
    """A qcow2 file of `size` bytes (virtual) that takes all writes meant for the raw `image`."""
    tools.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image.resolve()), str(overlay), str(size)]
    )


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A private folder for one guest's files, gone afterwards. Raises NoSpace, IOFailed."""
    room = room_for_large_files()
    with failures(room, "making a folder for the guest's disk"):
        made = tempfile.TemporaryDirectory(prefix="imagesmith-boot-", dir=room)
    with made as folder:
        yield Path(folder)


@dataclass(slots=True)
class Guest:
    """A running QEMU, as a context manager: whatever happens inside, it is ended and reaped on the way out.

    `argv` is called with the descriptor of the control socket and gives QEMU's command line, which must put the
    console on stdout. Everything read from the console also goes to `transcript`.
    """

    argv: Callable[[int], tuple[str, ...]]
    transcript: IO[bytes]
    grace_s: float = 5.0
    """How long QEMU may take to end when it is told to, before it is killed."""
    started: float = field(default=0.0, init=False)
    """`time.monotonic()` of the start."""
    _process: tools.Process = field(init=False)
    _control: Control = field(init=False)
    _complaints: IO[bytes] = field(init=False)
    _at_end: bool = field(default=False, init=False)

    def __enter__(self) -> Self:
        ours, theirs = socket.socketpair()
        self._complaints = tempfile.TemporaryFile()
        try:
            with theirs:
                argv = [*_bound_to_us(), *self.argv(theirs.fileno())]
                # Its own session, so that Ctrl-C reaches us alone and we end it in order.
                self._process = tools.spawn(
                    argv, stderr=self._complaints, pass_fds=(theirs.fileno(),), new_session=True
                )
        except BaseException:
            ours.close()
            self._complaints.close()
            raise
        self.started = time.monotonic()
        self._control = Control(ours, min(_ANSWER_S, self.grace_s))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._end()
        finally:
            self._control.close()
            self._complaints.close()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    @property
    def pid(self) -> int:
        return self._process.pid

    def read(self, timeout_s: float) -> bytes | None:
        """The next console bytes; empty when none came in time, None once QEMU has ended."""
        if self._at_end:
            return None
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        if not select.select([descriptor], [], [], max(timeout_s, 0.0))[0]:
            return b""
        data = os.read(descriptor, 65536)
        if not data:
            self._at_end = True
            return None
        with failures(getattr(self.transcript, "name", "transcript"), "writing the console's transcript"):
            self.transcript.write(data)
            self.transcript.flush()
        return data

    def power_off(self, wait_s: float, press_every_s: float = 5.0) -> bool:
        """Press the power button; whether the guest went down by itself within `wait_s`. Keeps the transcript."""
        until, press = time.monotonic() + wait_s, 0.0
        while (now := time.monotonic()) < until:
            if now >= press:
                # A press is lost on a guest whose logind does not watch the button yet, so it is repeated.
                press = now + press_every_s
                with contextlib.suppress(OSError, BootFailed):
                    self._control.command("system_powerdown")
            if self.read(min(1.0, until - now)) is None:
                return True
        return False

    def last_words(self) -> str:
        """How QEMU ended: its own complaint, else its exit code. Call once `read` has returned None."""
        with contextlib.suppress(tools.TimeoutExpired):
            self._process.wait(self.grace_s)
        self._complaints.seek(0)
        lines = self._complaints.read()[-4000:].decode("utf-8", "replace").strip().splitlines()
        return "\n".join(lines[-5:]) or f"QEMU ended with exit code {self._process.returncode}"

    def failed_to_start(self) -> bool:
        """Whether QEMU ended with an error of its own (not: the guest went down). Call after `last_words`."""
        return bool(self._process.returncode)

    def _end(self) -> None:
        if self._process.stdout:
            # A guest that writes more than anyone reads would keep QEMU from hearing us.
            self._process.stdout.close()
        if self._process.poll() is None and not (self._told_to_quit() and self._gone(self.grace_s)):
            self._process.send_signal(signal.SIGTERM)
            if not self._gone(self.grace_s):
                # Its session is its own, so its group is exactly it and its children.
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _told_to_quit(self) -> bool:
        try:
            self._control.command("quit")
        except (OSError, BootFailed):
            return False
        return True

    def _gone(self, wait_s: float) -> bool:
        try:
            self._process.wait(wait_s)
        except tools.TimeoutExpired:
            return False
        return True


class Control:
    """QEMU's control channel (QMP) over one end of a socket pair. Source: QEMU's qmp-spec."""

    def __init__(self, connection: socket.socket, answer_s: float) -> None:
        self._socket = connection
        self._socket.settimeout(answer_s)
        self._lines = connection.makefile("rb")
        self._ready = False

    def command(self, name: str) -> Mapping[str, object]:
        """Run a command without arguments and return its answer. Raises BootFailed, OSError (also on time-out)."""
        if not self._ready:
            self._ready = True
            self._next()  # the greeting
            self._ask("qmp_capabilities")
        return self._ask(name)

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def _ask(self, name: str) -> Mapping[str, object]:
        self._socket.sendall(json.dumps({"execute": name}).encode() + b"\n")
        while True:
            message = self._next()
            if "error" in message:
                raise BootFailed(f"QEMU refused {name}: {message['error']}")
            if "return" in message:
                return message  # everything else is an event that nobody waits for

    def _next(self) -> Mapping[str, object]:
        line = self._lines.readline()
        if not line:
            raise ConnectionError("QEMU closed its control channel")
        message = json.loads(line)
        if not isinstance(message, dict):
            raise BootFailed(f"QEMU's control channel says {line[:80]!r}")
        return message


def _bound_to_us() -> tuple[str, ...]:
    """The start of a command line that the kernel kills when we die, even of SIGKILL. Empty without setpriv."""
    try:
        return (tools.find("setpriv"), "--pdeathsig", "KILL", "--")
    except ToolMissing:
        return ()
