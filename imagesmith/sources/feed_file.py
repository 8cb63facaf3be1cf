"""The descriptors that an image comes through: a file that is read by position, and a pipe.

Called by `feed_content` and `feed_xz`.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import threading
from contextlib import suppress

from imagesmith.errors import DigestMismatch, IOFailed
from imagesmith.model import Digest
from imagesmith.units import KiB, MiB


class File:
    """A regular file that nobody should write to meanwhile. Read by position: its descriptor may be shared."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor = descriptor
        self.name = name
        status = os.fstat(descriptor)
        self.size = status.st_size
        self._changed = status.st_mtime_ns
        self._digest: _WholeDigest | None = None

    def digest(self, promised: str) -> None:
        """Begin to digest the whole file beside what else is done with it; `check` tells whether it is as promised."""
        self._digest = _WholeDigest(self, promised)
        self._digest.start()

    def reader(self) -> io.BufferedReader:
        """The whole file from its beginning."""
        return io.BufferedReader(_Positioned(self), 256 * KiB)

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

    def check(self) -> None:
        """Raise IOFailed when the file is not what it was when it was opened, DigestMismatch when not as promised."""
        self.check_unchanged()
        if self._digest:
            self._digest.check()

    def check_unchanged(self) -> None:
        status = os.fstat(self.descriptor)
        if status.st_size < self.size:
            raise self.shorter(status.st_size)
        if (status.st_size, status.st_mtime_ns) != (self.size, self._changed):
            raise IOFailed(
                "the image was written to while it was read",
                where=self.name,
                hint="do not build into it while it is flashed",
            )


class _WholeDigest(threading.Thread):
    def __init__(self, file: File, promised: str) -> None:
        super().__init__(name="file digest", daemon=True)
        self._file = file
        self._promised = promised
        self._hash = hashlib.new(Digest.parse(promised).algorithm)
        self._failure: BaseException | None = None

    def run(self) -> None:
        view = memoryview(bytearray(MiB))
        at = 0
        try:
            while at < self._file.size:
                count = self._file.read_at(view[: self._file.size - at], at)
                self._hash.update(view[:count])
                at += count
        except BaseException as error:
            self._failure = error

    def check(self) -> None:
        self.join()
        if self._failure:
            raise self._failure
        found = Digest(Digest.parse(self._promised).algorithm, self._hash.hexdigest())
        check_digest(self._promised, found, self._file.name)


def check_digest(promised: str, found: Digest, where: str) -> None:
    """Raise DigestMismatch when a file as it lies, or came, is not the one that was promised."""
    if Digest.parse(promised) != found:
        raise DigestMismatch(
            f"its digest is {found}, not {promised} as was promised", where=where, hint="fetch or copy it again"
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
