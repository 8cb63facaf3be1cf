"""An image of any format as positioned bytes: what it is, its beginning, and its wanted bytes put into slots.

Called by `feeder`. Formats are told by content. From a file: a raw one is read straight into slots, an .xz is decoded
block by block (`feed_xz`), a qcow2 cluster by cluster; all else, and all that comes through a pipe, is decoded from its
beginning to its end in one thread. Reads the descriptor that it is given.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Protocol

from imagesmith.disk import extents
from imagesmith.errors import ContentMalformed
from imagesmith.messages import Look
from imagesmith.model import Digest
from imagesmith.ring import SLOT
from imagesmith.sources import qcow2, zst_frame
from imagesmith.sources.content import HEAD, Format, detect
from imagesmith.sources.decoders import MOST_WINDOW, decode
from imagesmith.sources.decompress import Guard
from imagesmith.sources.feed_file import File, Pipe, check_digest
from imagesmith.sources.feed_slots import Filler, Slots
from imagesmith.sources.feed_xz import indexed
from imagesmith.sources.wanted import Wanted, check_reach
from imagesmith.sources.zip_member import only_member
from imagesmith.streams import Counting, Hashing, Peekable, Reader
from imagesmith.units import GiB, MiB

MEMORY = 72 * MiB
"""What all decoders together may use: the dictionary of `xz -9`, so that this process stays at about 100 MiB."""
MOST = 4096 * GiB
"""No image expands to more. The card's own size is the limit that matters, and the conductor knows it."""
_ZEROS = bytes(SLOT)
_LITTLE = 8 * MiB
"""What a decoder with a small dictionary takes, and the pieces on their way."""
_MEMORY_OF: Mapping[Format, int] = {"xz": MEMORY + _LITTLE, "zst": MOST_WINDOW + _LITTLE}

Begin = Callable[[], tuple[Iterator[bytes], Counting]]
"""Decoding from the start: pieces, and the count of packed bytes that were read for them."""


class Content(Protocol):
    """An image that was opened."""

    format: Format
    size: int
    """Of the raw image; 0 = not known before its end."""
    again: bool
    """Whether it can be delivered more than once."""
    memory: int
    """Bytes that unpacking takes at most."""

    def head(self, most: int) -> bytes:
        """The raw image's first bytes, all or so many. Called once, before `deliver`."""
        ...

    def deliver(self, wanted: Wanted, slots: Slots) -> int:
        """Put what is wanted into slots and read up to the source's end; the raw image's size, 0 = not known."""
        ...


def opened(look: Look) -> Content:
    """The image behind `look.descriptor`. Raises ContentMalformed on what is no image, IOFailed."""
    status = os.fstat(look.descriptor)
    if stat.S_ISREG(status.st_mode):
        return of_file(File(look.descriptor, look.name), look.digest)
    return of_stream(Pipe(look.descriptor), look.name, look.digest)


def of_file(file: File, digest: str) -> Content:
    """The image in a whole file; `digest` is promised of it as it lies, "" = nothing is."""
    name = detect(os.pread(file.descriptor, HEAD, 0), file.name)
    content = _by_position(name, file) or _from_the_start(name, file)
    Guard(MOST, file.name).check(0 if name == "raw" else content.size, file.size)
    if digest:
        file.digest(digest)
    return content


def _by_position(name: Format, file: File) -> Content | None:
    match name:
        case "raw":
            return RawFile(file)
        case "qcow2":
            return Qcow2(file)
        case "xz":
            return indexed(file, MEMORY)
    return None


def _from_the_start(name: Format, file: File) -> Content:
    if name == "zip":
        member = only_member(file.reader())
        whole = Counting(file.reader())
        whole.count = file.size  # it is there at once
        return Serial(name, lambda: (member.pieces(), whole), file.name, size=member.size, check=file.check, again=True)

    def begin() -> tuple[Iterator[bytes], Counting]:
        counting = Counting(file.reader())
        return decode(name, counting, memory=MEMORY), counting

    size = zst_frame.raw_size_of(file.descriptor, file.size) if name == "zst" else 0
    # The window is that of the first frame: only where there is no other one does it tell.
    memory = min(zst_frame.window_of(file.descriptor), MOST_WINDOW) + _LITTLE if size else 0
    return Serial(name, begin, file.name, size=size, memory=memory, check=file.check, again=True)


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


# -- the formats ----------------------------------------------------------------------------------


class RawFile:
    format: Format = "raw"
    again = True
    memory = 0

    def __init__(self, file: File) -> None:
        self._file = file
        self.size = file.size

    def head(self, most: int) -> bytes:
        return os.pread(self._file.descriptor, most, 0)

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
        self._file.check()
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
        memory: int = 0,
        again: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.format = name
        self.size = size
        self.again = again
        self.memory = memory or _MEMORY_OF.get(name, _LITTLE)
        self._where = where
        self._begin = begin
        self._check = check
        self._started: tuple[Iterator[bytes], Counting] | None = None

    def head(self, most: int) -> bytes:
        pieces, packed = self._begin()
        ahead: list[bytes] = []
        while sum(map(len, ahead)) < most and (piece := next(pieces, b"")):
            ahead.append(piece)
        self._started = chain(ahead, pieces), packed
        return b"".join(ahead)[:most]

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


class Qcow2:
    format: Format = "qcow2"
    again = True
    memory = _LITTLE

    def __init__(self, file: File) -> None:
        self._file = file
        self.size = qcow2.raw_size_of(file.descriptor)

    def head(self, most: int) -> bytes:
        head = bytearray(min(most, self.size))
        for at, data in qcow2.clusters(self._file.descriptor, lambda start, end: start < most):
            head[at : at + len(data)] = data
        return bytes(head[:most])

    def deliver(self, wanted: Wanted, slots: Slots) -> int:
        check_reach(wanted, self.size, self._file.name)
        done = 0
        with Filler(slots, wanted) as filler:
            for at, data in qcow2.clusters(self._file.descriptor, lambda start, end: any(wanted.within(start, end))):
                self._zeros(filler, wanted, done, at)
                filler.put(at, data)
                done = at + len(data)
            self._zeros(filler, wanted, done, self.size)
        self._file.check()
        return self.size

    def _zeros(self, filler: Filler, wanted: Wanted, start: int, end: int) -> None:
        for at, last in wanted.within(start, end):
            fill_zeros(filler, at, last)


def fill_zeros(filler: Filler, at: int, end: int) -> None:
    """What the image has as a hole."""
    while at < end:
        room = filler.room(at, end - at)
        room[:] = _ZEROS[: len(room)]
        filler.filled(len(room))
        at += len(room)
