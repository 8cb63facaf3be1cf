"""A card that misbehaves on command: a FUSE file under a loop device, its faults armed while it is in use.

Run as a program it serves the file: `badcard.py MOUNTPOINT BACKING`. The backing file is the truth to compare with.
Tests use `bad_card`. Faults are extended attributes of the served file, their values `FIRST-END` (bytes, END excluded):
  read_eio, write_eio   the operation fails
  drop                  writes seem to work and are lost
  rot                   one bit of every 4096 bytes reads wrong
  fsync_eio             the next flush fails, and only that one, as the kernel reports it
  wrap                  the card is as large as END and writes beyond start again at 0
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PREFIX = "user.fault."
KINDS = ("read_eio", "write_eio", "drop", "rot", "fsync_eio", "wrap")
_SERVED = "disk"


@dataclass
class BadCard:
    """The card in a test's hand."""

    device: str
    served: Path
    backing: Path

    def arm(self, kind: str, first: int = 0, end: int = 1 << 62) -> None:
        assert kind in KINDS
        os.setxattr(self.served, PREFIX + kind, f"{first}-{end}".encode())

    def disarm(self, kind: str) -> None:
        os.removexattr(self.served, PREFIX + kind)

    def truth(self, offset: int, size: int) -> bytes:
        """What the medium holds, behind the device's back."""
        with self.backing.open("rb") as file:
            file.seek(offset)
            return file.read(size)


@contextlib.contextmanager
def bad_card(folder: Path, content: Path) -> Iterator[BadCard]:
    """A loop device over the misbehaving copy of `content`, which is the backing file. Needs root and FUSE."""
    from faults.disks import loop_device

    mount = folder / "badcard"
    mount.mkdir()
    log = (folder / "badcard.log").open("wb")
    server = subprocess.Popen([sys.executable, __file__, str(mount), str(content)], stdout=log, stderr=log)
    try:
        served = mount / _SERVED
        _wait_for(served, server, folder / "badcard.log")
        with loop_device(served, direct=True) as device:
            # Without direct I/O the kernel caches below the device and hides every fault.
            assert Path(f"/sys/block/{Path(device).name}/loop/dio").read_text().strip() == "1"
            yield BadCard(device, served, content)
    finally:
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


def _serve(mount: str, backing: str) -> None:
    import mfusepy

    class Card(mfusepy.Operations):  # type: ignore[misc]
        use_ns = True

        def __init__(self) -> None:
            self.file = os.open(backing, os.O_RDWR)
            self.size = os.fstat(self.file).st_size
            self.faults: dict[str, tuple[int, int]] = {}

        def hits(self, kind: str, offset: int, size: int) -> bool:
            first, end = self.faults.get(kind, (0, 0))
            return offset < end and first < offset + size

        def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
            if path == "/":
                return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
            if path != f"/{_SERVED}":
                raise mfusepy.FuseOSError(errno.ENOENT)
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self.size}

        def readdir(self, path: str, fh: int) -> list[str]:
            return [".", "..", _SERVED]

        def open(self, path: str, flags: int) -> int:
            return 0

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            if self.hits("read_eio", offset, size):
                raise mfusepy.FuseOSError(errno.EIO)
            data = bytearray(b"".join(os.pread(self.file, *piece) for piece in self.pieces(offset, size)))
            first, end = self.faults.get("rot", (0, 0))
            for at in range(max(offset, first), min(offset + len(data), end)):
                if at % 4096 == 0:
                    data[at - offset] ^= 0x10
            return bytes(data)

        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            if self.hits("write_eio", offset, len(data)):
                raise mfusepy.FuseOSError(errno.EIO)
            first, end = self.faults.get("drop", (0, 0))
            at = 0
            for size, place in self.pieces(offset, len(data)):
                kept = data[at : at + size]
                for lost_from, lost_to in ((max(offset + at, first), min(offset + at + size, end)),):
                    if lost_from < lost_to:
                        start, stop = lost_from - offset - at, lost_to - offset - at
                        kept = kept[:start] + os.pread(self.file, stop - start, place + start) + kept[stop:]
                os.pwrite(self.file, kept, place)
                at += size
            return len(data)

        def pieces(self, offset: int, size: int) -> list[tuple[int, int]]:
            """(size, offset) in the backing file; more than one only where a card of false size wraps."""
            real = self.faults.get("wrap", (0, self.size))[1]
            found = []
            while size:
                place = offset % real
                step = min(size, real - place)
                found.append((step, place))
                offset, size = offset + step, size - step
            return found

        def fsync(self, path: str, datasync: int, fh: int) -> int:
            if self.faults.pop("fsync_eio", None):
                raise mfusepy.FuseOSError(errno.EIO)
            return 0

        def setxattr(self, path: str, name: str, value: bytes, options: int, position: int = 0) -> int:
            first, _, end = value.decode().partition("-")
            self.faults[name.removeprefix(PREFIX)] = (int(first), int(end))
            return 0

        def removexattr(self, path: str, name: str) -> int:
            self.faults.pop(name.removeprefix(PREFIX), None)
            return 0

    mfusepy.FUSE(Card(), mount, foreground=True, nothreads=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
