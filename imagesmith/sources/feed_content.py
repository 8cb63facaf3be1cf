"""An image of any format as positioned bytes: what it is, its beginning, and its wanted bytes put into slots.

Called by `feeder`. Formats are told by content. From a file: a raw one is read straight into slots, an .xz is decoded
block by block (`feed_xz`), a qcow2 cluster by cluster; all else, and all that comes through a pipe, is decoded from its
beginning to its end in one thread. Reads the descriptor that it is given.
"""

from __future__ import annotations

import fcntl
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Protocol

from imagesmith.disk import extents
from imagesmith.errors import ContentMalformed, DigestMismatch, IOFailed
from imagesmith.messages import Look
from imagesmith.model import Digest
from imagesmith.ring import SLOT
from imagesmith.sources import zst_frame
from imagesmith.sources.content import HEAD, Format, detect
from imagesmith.sources.decoders import decode
from imagesmith.sources.decompress import Guard
from imagesmith.sources.feed_slots import Filler, Slots
from imagesmith.sources.wanted import Wanted
from imagesmith.streams import Counting, Hashing, Peekable, Reader
from imagesmith.units import GiB, MiB

SHOWN = MiB
"""So many bytes of the raw image are looked at before anything is delivered."""
MEMORY = 72 * MiB
"""What all decoders together may use: the dictionary of `xz -9`, so that this process stays at about 100 MiB."""
MOST = 4096 * GiB
"""No image expands to more. The card's own size is the limit that matters, and the conductor knows it."""
_ZEROS = bytes(SLOT)
_AGAIN = "fetch or copy the image again"


Begin = Callable[[], tuple[Iterator[bytes], Counting]]
"""Decoding from the start: pieces, and the count of packed bytes that were read for them."""


class Content(Protocol):
    """An image that was opened."""

    format: Format
    size: int
    """Of the raw image; 0 = not known before its end."""
    again: bool
    """Whether it can be delivered more than once."""

    def head(self) -> bytes:
        """The raw image's first bytes, at most SHOWN. Called once, before `deliver`."""
        ...

    def deliver(self, wanted: Wanted, slots: Slots) -> int:
        """Put what is wanted into slots and read up to the source's end; the raw image's size, 0 = not known."""
        ...


def opened(look: Look) -> Content:
    """The image behind `look.descriptor`. Raises ContentMalformed on what is no image, IOFailed."""
    status = os.fstat(look.descriptor)
    if stat.S_ISREG(status.st_mode):
        return of_file(File(look.descriptor, look.name))
    return of_stream(Pipe(look.descriptor), look.name, look.digest)


def of_file(file: File) -> Content:
    name = detect(os.pread(file.descriptor, HEAD, 0), file.name)
    if name == "raw":
        return RawFile(file)
    if name in ("zip", "qcow2"):
        raise ContentMalformed(f"a {name} cannot be read", where=file.name, hint="convert")
    size = zst_frame.raw_size_of(file.descriptor, file.size) if name == "zst" else 0
    Guard(MOST, file.name).check(size, file.size)

    def begin() -> tuple[Iterator[bytes], Counting]:
        counting = Counting(file.reader())
        return decode(name, counting, memory=MEMORY), counting

    return Serial(name, begin, file.name, size=size, again=True, check=file.check_unchanged)


def of_stream(reader: Reader, where: str, digest: str) -> Content:
    """What comes once, from a pipe or an address; `digest` is promised of it as it comes, "" = nothing is."""
    hashing = Hashing(reader, Digest.parse(digest).algorithm) if digest else None
    peekable = Peekable(hashing or reader)
    name = detect(peekable.peek(HEAD), where)
    if name in ("zip", "qcow2"):
        raise ContentMalformed(f"a {name} cannot be read from a pipe", where=where, hint="save it to a file first")
    counting = Counting(peekable)

    def check() -> None:
        if hashing:
            check_digest(digest, hashing.digest(), where)

    return Serial(name, lambda: (decode(name, counting, memory=MEMORY), counting), where, check=check)


def check_digest(promised: str, found: Digest, where: str) -> None:
    """Raise DigestMismatch when a file as it lies, or came, is not the one that was promised."""
    if Digest.parse(promised) != found:
        raise DigestMismatch(f"its digest is {found}, not {promised} as was promised", where=where, hint=_AGAIN)


# -- where packed bytes come from -----------------------------------------------------------------


class File:
    """A regular file that nobody should write to meanwhile. Read by position: its descriptor may be shared."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor = descriptor
        self.name = name
        status = os.fstat(descriptor)
        self.size = status.st_size
        self._changed = status.st_mtime_ns

    def reader(self) -> io.BufferedReader:
        """The whole file from its beginning."""
        return io.BufferedReader(_Positioned(self), 256 * 1024)

    def read_at(self, view: memoryview, offset: int) -> int:
        """Read some bytes, at least one. Raises IOFailed when the file has become shorter."""
        count = os.preadv(self.descriptor, [view], offset)
        if not count:
            raise self.shorter(offset)
        return count

    def shorter(self, offset: int) -> IOFailed:
        return IOFailed(
            "the image ends here; it became shorter while it was read",
            where=f"{self.name}, byte {offset}",
            hint="do not build into it while it is flashed",
        )

    def check_unchanged(self) -> None:
        """Raise IOFailed when the file is not what it was when it was opened."""
        status = os.fstat(self.descriptor)
        if status.st_size < self.size:
            raise self.shorter(status.st_size)
        if (status.st_size, status.st_mtime_ns) != (self.size, self._changed):
            raise IOFailed(
                "the image was written to while it was read",
                where=self.name,
                hint="do not build into it while it is flashed",
            )


class _Positioned(io.RawIOBase):
    def __init__(self, file: File) -> None:
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.size}[whence]
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        left = self._file.size - self._at
        if left <= 0 or not len(buffer):
            return 0
        count = self._file.read_at(memoryview(buffer)[:left], self._at)
        self._at += count
        return count


class Pipe:
    """A pipe, a socket, a terminal: what comes, until its end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        with suppress(OSError):  # no pipe, or more than this user may have: only slower
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, MiB)

    def read(self, size: int, /) -> bytes:
        return os.read(self._descriptor, size)


# -- the formats ----------------------------------------------------------------------------------


class RawFile:
    format: Format = "raw"
    again = True

    def __init__(self, file: File) -> None:
        self._file = file
        self.size = file.size

    def head(self) -> bytes:
        return os.pread(self._file.descriptor, SHOWN, 0)

    def deliver(self, wanted: Wanted, slots: Slots) -> int:
        check_reach(wanted, self.size, self._file.name)
        os.posix_fadvise(self._file.descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        with Filler(slots, wanted) as filler:
            for start, end in wanted.within(0, self.size):
                at = start
                for first, last in extents(self._file.descriptor, start, end):
                    fill_zeros(filler, at, first)
                    self._data(filler, first, last)
                    at = last
                fill_zeros(filler, at, end)
        self._file.check_unchanged()
        return self.size

    def _data(self, filler: Filler, at: int, end: int) -> None:
        while at < end:
            count = self._file.read_at(filler.room(at, end - at), at)
            filler.filled(count)
            at += count


class Serial:
    """What is decoded from its beginning to its end, in the thread that delivers it.

    `begin` gives the pieces and the count of packed bytes behind them, and can be called again where `again`; `check`
    is asked at the source's end.
    """

    def __init__(
        self,
        name: Format,
        begin: Begin,
        where: str,
        *,
        size: int = 0,
        again: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.format = name
        self.size = size
        self.again = again
        self._where = where
        self._begin = begin
        self._check = check
        self._started: tuple[Iterator[bytes], Counting] | None = None

    def head(self) -> bytes:
        pieces, packed = self._begin()
        ahead: list[bytes] = []
        while sum(map(len, ahead)) < SHOWN and (piece := next(pieces, b"")):
            ahead.append(piece)
        self._started = chain(ahead, pieces), packed
        return b"".join(ahead)[:SHOWN]

    def deliver(self, wanted: Wanted, slots: Slots) -> int:
        pieces, packed = self._started or self._begin()
        self._started = None
        guard = Guard(MOST, self._where)
        done = 0
        with Filler(slots, wanted) as filler:
            for piece in pieces:
                guard.check(done + len(piece), max(packed.count, 1))
                filler.put(done, piece)
                done += len(piece)
        if self.size and done != self.size:
            raise ContentMalformed(f"the {self.format} data does not have the size that it promises", where=self._where)
        check_reach(wanted, done, self._where)
        self._check()
        return done


def check_reach(wanted: Wanted, size: int, where: str) -> None:
    """Raise ContentMalformed when the image has not all that is wanted."""
    if wanted.reaches() > size:
        raise ContentMalformed(
            f"the image ends at byte {size}, but its block map goes on to {wanted.reaches()}: one of them is damaged",
            where=where,
            hint="fetch or copy the image again, with its block map",
        )


def fill_zeros(filler: Filler, at: int, end: int) -> None:
    """What the image has as a hole."""
    while at < end:
        room = filler.room(at, end - at)
        room[:] = _ZEROS[: len(room)]
        filler.filled(len(room))
        at += len(room)
