"""A card that misbehaves on command: a FUSE file under a loop device, its faults armed while it is in use.

Tests use `bad_card`. The backing file is the truth to compare with; `badcard_server` serves it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KINDS = {
    "read_eio": "reading FIRST to END fails",
    "write_eio": "writing there fails",
    "write_enospc": "the same with another error",
    "drop": "writes there seem to work and are lost",
    "rot": "one bit of every sector there reads wrong",
    "rot_later": "the same after COUNT reads there",
    "spoil": "the first COUNT writes there arrive with one bit of every sector flipped",
    "fsync_eio": "a flush fails, and only that one, as the kernel reports it; COUNT flushes before it succeed",
    "wrap": "the card is as large as END, and writes beyond start again at 0",
    "delay": "every operation takes COUNT microseconds longer",
    "vanish": "from the first operation there on, every operation fails",
    "hang": "a write there does not end until `wake`",
    "volatile": "what is written is lost by a power cut unless it was flushed",
    "lying": "flushes do nothing",
    "cut": "the power is cut: at once, or when FIRST writes were made; END is the seed of what survives, 0 = nothing",
}
"""Each fault has three numbers, FIRST, END (bytes, END excluded) and COUNT."""
ALWAYS = 1 << 40
PREFIX = "user.fault."
SERVED = "disk"
_SERVER = Path(__file__).with_name("badcard_server.py")


@dataclass
class BadCard:
    """The card in a test's hand."""

    device: str
    served: Path
    backing: Path
    server: int
    """The process that serves it."""

    def arm(self, kind: str, first: int = 0, end: int = 1 << 62, count: int = 0) -> None:
        assert kind in KINDS
        os.setxattr(self.served, PREFIX + kind, f"{first}-{end}-{count}".encode())

    def disarm(self, kind: str) -> None:
        os.removexattr(self.served, PREFIX + kind)

    def cut_power(self, seed: int, *, after: int = 0) -> None:
        """Now, or when that many writes were made. The card is away until `heal`."""
        self.arm("cut", after, seed)

    def heal(self) -> None:
        """No faults any more; after a power cut the power is back."""
        self.disarm("*")

    def writes(self) -> int:
        """How many writes came to it, ever."""
        return int(os.listxattr(self.served)[0].rpartition(".")[2])

    def stall(self) -> None:
        """No operation ends until `wake`; who waits for one can't even be killed."""
        os.kill(self.server, signal.SIGSTOP)

    def wake(self) -> None:
        os.kill(self.server, signal.SIGCONT)

    def truth(self, offset: int, size: int) -> bytes:
        """What the medium holds, behind the device's back."""
        with self.backing.open("rb") as file:
            file.seek(offset)
            return file.read(size)


@contextlib.contextmanager
def bad_card(folder: Path, content: Path, *, sector: int = 512) -> Iterator[BadCard]:
    """A loop device over the misbehaving copy of `content`, which is the backing file. Needs root and FUSE."""
    from faults.disks import loop_device

    mount = folder / "badcard"
    mount.mkdir()
    log = (folder / "badcard.log").open("wb")
    server = subprocess.Popen([sys.executable, _SERVER, mount, content], stdout=log, stderr=log)
    try:
        served = mount / SERVED
        _wait_for(served, server, folder / "badcard.log")
        with loop_device(served, direct=True, sector=sector) as device:
            # Without direct I/O the kernel caches below the device and hides every fault.
            assert Path(f"/sys/block/{Path(device).name}/loop/dio").read_text().strip() == "1"
            try:
                yield BadCard(device, served, content, server.pid)
            finally:
                server.send_signal(signal.SIGCONT)
    finally:
        server.send_signal(signal.SIGCONT)
        subprocess.run(["umount", "--lazy", str(mount)], check=False, stderr=subprocess.DEVNULL)
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)
        log.close()


def _wait_for(served: Path, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while not served.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the bad card's server did not start: {log.read_text()}")
        time.sleep(0.02)
