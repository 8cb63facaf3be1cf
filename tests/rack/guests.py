"""One node of a rack as a guest: switched on and off like a machine, its disk kept in between.

Used by `rack.running`. QEMU's command line and the guest's files are those of `imagesmith boot`; only its network is
another, so that guests hear each other. The image itself is an overlay's backing file and is never written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from imagesmith.boot.console import Console
from imagesmith.boot.qemu import Guest
from imagesmith.boot.report import quoted
from imagesmith.errors import BootFailed
from imagesmith.formats import manifest
from imagesmith.planning.boot import guest_argv
from imagesmith.workflow.boot import guest_files

USER_NETWORK = "user,id=net"
"""What `planning.boot` gives a guest alone."""


def on_network(argv: Sequence[str], switch: Path, mac: str) -> tuple[str, ...]:
    """A guest's command line with its network card, of the address `mac`, plugged into the socket `switch`."""
    words = list(argv)
    at = words.index(USER_NETWORK)
    words[at] = f"stream,id=net,server=off,addr.type=unix,addr.path={switch}"
    cards = [number for number, word in enumerate(words) if "netdev=net" in word]
    assert len(cards) == 1, words
    words[cards[0]] += f",mac={mac}"
    return tuple(words)


class Machine:
    """A node's machine with its card in it, off at first. The card is `image`; its manifest lies beside it.

    `folder` takes its disk, which lives as long as the folder, and a console log for every time that it is switched on.
    """

    def __init__(self, name: str, image: Path, switch: Path, folder: Path, memory: int = 0) -> None:
        self.name, self._switch, self._folder = name, switch, folder
        told = manifest.parse(image.with_suffix(".manifest.json").read_bytes())
        assert told.machine is not None, f"{name}: no machine of QEMU resembles its board"
        # One processor: several guests share few cores, and two that wait for each other under load cost more than one.
        self._machine = replace(told.machine, cpus=1, memory=max(memory, told.machine.memory))
        self._architecture = told.architecture
        folder.mkdir(parents=True)
        self._files = guest_files(image, self._machine, told.architecture, folder)
        self._mac = "52:54:" + hashlib.sha256(name.encode()).digest()[:4].hex(":")
        self.starts = 0
        self._running: contextlib.ExitStack | None = None

    @property
    def is_on(self) -> bool:
        """Whether it was switched on and has not gone down by itself."""
        return self._running is not None and not self._ended.is_set()

    @property
    def died(self) -> bool:
        """Whether it is switched on and went down by itself, or its kernel or first boot gave up."""
        return self._running is not None and (self._ended.is_set() or bool(self._console.disaster))

    def switch_on(self, clock: str = "") -> None:
        """Start it on its disk as it is. `clock` is what its battery clock says, as 1970-01-01; else the right time."""
        assert self._running is None, f"{self.name} is on"
        self.starts += 1
        self.log = self._folder / f"{self.name}.{self.starts}.console.log"
        nonce = secrets.token_hex(16)
        self._console, self._ended, self._stop = Console(nonce), threading.Event(), threading.Event()

        def argv(control: int) -> tuple[str, ...]:
            words = guest_argv(self._machine, self._architecture, self._files, nonce, control)
            return (*on_network(words, self._switch, self._mac), *(("-rtc", f"base={clock}") if clock else ()))

        with contextlib.ExitStack() as stack:
            self._guest = stack.enter_context(Guest(argv, stack.enter_context(self.log.open("wb"))))
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
            stack.callback(self._stop_reading)
            self._running = stack.pop_all()

    def cut_power(self) -> None:
        """What a pulled plug does: whatever the guest had not flushed to its disk is lost."""
        os.killpg(self._guest.pid, signal.SIGKILL)
        self.switch_off()

    def shut_down(self, within_s: float = 90) -> bool:
        """Press the power button; whether it went down by itself in time. It is off afterwards in any case."""
        self._stop_reading()
        down = self._guest.power_off(within_s)
        self.switch_off()
        return down

    def switch_off(self) -> None:
        """End it, if it is on, without telling it."""
        running, self._running = self._running, None
        if running:
            running.close()

    def report(self, within_s: float) -> Mapping[str, str]:
        """What it tells of this start once its first boot is over. Raises BootFailed with the console's end."""
        while self._console.facts is None:
            if self._console.disaster:
                raise self._failed(self._console.disaster)
            if self._ended.is_set():
                raise self._failed(f"it went down or restarted before its report: {self._guest.last_words()}")
            if self._guest.elapsed > within_s:
                raise self._failed(f"no report within {within_s:.0f} s ({self._console.complaint or 'none began'})")
            time.sleep(0.2)
        return self._console.facts

    @property
    def elapsed(self) -> float:
        """Seconds since it was switched on."""
        return self._guest.elapsed

    @property
    def busy_s(self) -> float:
        """Seconds of a processor that it has used: how far it has come, on a busy machine too."""
        words = Path(f"/proc/{self._guest.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def tail(self) -> str:
        """The console's end, for a failure's message."""
        return quoted(self._console.tail)

    def _failed(self, what: str) -> BootFailed:
        return BootFailed(f"{self.name}: {what}\n{self.tail()}", hint=f"the whole console is in {self.log}")

    def _read(self) -> None:
        """Of the reading thread: a console that nobody reads stops the guest."""
        while not self._stop.is_set():
            data = self._guest.read(0.3)
            if data is None:
                self._ended.set()
                return
            self._console.feed(data)

    def _stop_reading(self) -> None:
        self._stop.set()
        self._reader.join()
