"""The misbehaving file behind `badcard`, served over FUSE: `badcard_server.py MOUNTPOINT BACKING`.

The backing file is the medium: what is durable, the truth to compare with. Faults are extended attributes of the served
file; `badcard.KINDS` tells what each does and what its three numbers mean.
"""

from __future__ import annotations

import ctypes.util
import errno
import os
import random
import signal
import stat
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

# Not libfuse 2, where both are installed: it cuts what the loop device writes into 128 KiB, and where one such piece
# fails after others the kernel's loop driver takes the whole for written.
if library := ctypes.util.find_library("fuse3"):
    os.environ["FUSE_LIBRARY_PATH"] = library

import mfusepy
from badcard import PREFIX, SERVED  # it lies beside this program

SECTOR = 512


class Fault(NamedTuple):
    first: int
    end: int
    count: int

    def hits(self, offset: int, size: int) -> bool:
        return offset < self.end and self.first < offset + size

    def sectors(self, offset: int, size: int) -> Iterator[int]:
        """The places, relative to `offset`, of one byte of every sector that is hit."""
        start, stop = max(offset, self.first), min(offset + size, self.end)
        return (at - offset for at in range(-(-start // SECTOR) * SECTOR, stop, SECTOR))


class Card(mfusepy.Operations):  # type: ignore[misc]
    use_ns = True

    def __init__(self, backing: str) -> None:
        self.medium = os.open(backing, os.O_RDWR)
        self.size = os.fstat(self.medium).st_size
        self.faults: dict[str, Fault] = {}
        self.cache: list[tuple[int, bytes]] = []
        """Writes since the last flush, place on the medium and bytes; only with `volatile`."""
        self.gone = False
        self.writes = 0

    # -- what a file system must have -------------------------------------------------------------

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path != f"/{SERVED}":
            raise mfusepy.FuseOSError(errno.ENOENT)
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self.size}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", SERVED]

    def open(self, path: str, flags: int) -> int:
        return 0

    # -- what a card does -------------------------------------------------------------------------

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        self.begin(offset, size)
        if self.hit("read_eio", offset, size):
            raise mfusepy.FuseOSError(errno.EIO)
        data = bytearray(b"".join(self.held(*piece) for piece in self.pieces(offset, size)))
        if rot := self.hit("rot", offset, len(data)):
            self.flip(data, rot.sectors(offset, len(data)))
        if late := self.hit("rot_later", offset, len(data)):
            if late.count:
                self.faults["rot_later"] = late._replace(count=late.count - 1)
            else:
                self.flip(data, late.sectors(offset, len(data)))
        return bytes(data)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self.begin(offset, len(data))
        if self.hit("write_eio", offset, len(data)):
            raise mfusepy.FuseOSError(errno.EIO)
        if self.hit("write_enospc", offset, len(data)):
            raise mfusepy.FuseOSError(errno.ENOSPC)
        if self.hit("hang", offset, len(data)):
            del self.faults["hang"]
            os.kill(os.getpid(), signal.SIGSTOP)
        arriving = bytearray(data)
        if (spoil := self.hit("spoil", offset, len(data))) and spoil.count:
            self.faults["spoil"] = spoil._replace(count=spoil.count - 1)
            self.flip(arriving, spoil.sectors(offset, len(data)))
        drop = self.hit("drop", offset, len(data))
        at = 0
        for size, place in self.pieces(offset, len(data)):
            kept = bytes(arriving[at : at + size])
            if drop:
                start = max(drop.first - offset - at, 0)
                stop = min(drop.end - offset - at, size)
                if start < stop:
                    kept = kept[:start] + self.held(stop - start, place + start) + kept[stop:]
            self.put(kept, place)
            at += size
        self.writes += 1
        self.count_down()
        return len(data)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self.begin(0, 0)
        if fault := self.faults.get("fsync_eio"):
            if not fault.count:
                del self.faults["fsync_eio"]
                raise mfusepy.FuseOSError(errno.EIO)
            self.faults["fsync_eio"] = fault._replace(count=fault.count - 1)
        if "lying" not in self.faults:
            self.settle()
        return 0

    # -- how it fails -----------------------------------------------------------------------------

    def begin(self, offset: int, size: int) -> None:
        """What happens at the beginning of every operation."""
        if delay := self.faults.get("delay"):
            time.sleep(delay.count / 1e6)
        if self.hit("vanish", offset, size):
            self.gone = True
        if self.gone:
            raise mfusepy.FuseOSError(errno.EIO)

    def hit(self, kind: str, offset: int, size: int) -> Fault | None:
        fault = self.faults.get(kind)
        return fault if fault and fault.hits(offset, size) else None

    def flip(self, data: bytearray, places: Iterator[int]) -> None:
        for at in places:
            data[at] ^= 0x10

    def pieces(self, offset: int, size: int) -> list[tuple[int, int]]:
        """(size, offset) on the medium; more than one only where a card of false size wraps."""
        wrap = self.faults.get("wrap")
        real = wrap.end if wrap else self.size
        found = []
        while size:
            place = offset % real
            step = min(size, real - place)
            found.append((step, place))
            offset, size = offset + step, size - step
        return found

    # -- its cache, and power cuts ----------------------------------------------------------------

    def put(self, data: bytes, place: int) -> None:
        if "volatile" in self.faults:
            self.cache.append((place, data))
        else:
            os.pwrite(self.medium, data, place)

    def held(self, size: int, place: int) -> bytes:
        """What the card believes to hold: the medium under what is cached."""
        data = bytearray(os.pread(self.medium, size, place))
        for at, cached in self.cache:
            first, last = max(place, at), min(place + size, at + len(cached))
            if first < last:
                data[first - place : last - place] = cached[first - at : last - at]
        return bytes(data)

    def settle(self) -> None:
        for place, data in self.cache:
            os.pwrite(self.medium, data, place)
        self.cache.clear()

    def count_down(self) -> None:
        if cut := self.faults.get("cut"):
            if cut.first == 1:
                self.cut(cut.end)
                raise mfusepy.FuseOSError(errno.EIO)
            self.faults["cut"] = cut._replace(first=cut.first - 1)

    def cut(self, seed: int) -> None:
        """The power is away: the cache is lost (seed 0), or some sectors of it arrived, in any order."""
        chance = random.Random(seed)
        if seed:
            chance.shuffle(self.cache)
            for place, data in self.cache:
                share = chance.choice((0.1, 0.5, 0.9))
                for at in range(0, len(data), SECTOR):
                    if chance.random() < share:
                        os.pwrite(self.medium, data[at : at + SECTOR], place + at)
        self.cache.clear()
        self.gone = True

    # -- how it is told ---------------------------------------------------------------------------

    def setxattr(self, path: str, name: str, value: bytes, options: int, position: int = 0) -> int:
        kind, fault = name.removeprefix(PREFIX), Fault(*map(int, value.decode().split("-")))
        if kind == "cut" and not fault.first:
            self.cut(fault.end)
        else:
            self.faults[kind] = fault
        return 0

    def removexattr(self, path: str, name: str) -> int:
        """`*` makes it a good card again, what it has cached lost."""
        kind = name.removeprefix(PREFIX)
        if kind == "*":
            self.cache.clear()
            self.faults.clear()
            self.gone = False
        self.faults.pop(kind, None)
        return 0

    def listxattr(self, path: str) -> list[str]:
        """Not a list of the faults, but the one thing that can be asked: how many writes there were."""
        return [f"{PREFIX}writes.{self.writes}"]


if __name__ == "__main__":
    mfusepy.FUSE(Card(sys.argv[2]), sys.argv[1], foreground=True, nothreads=True)
