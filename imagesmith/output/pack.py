"""Compressing an image while it is read: zst and xz, the same bytes on every machine, whatever its number of cores.

Called by `output.seal`, from one thread.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal, Protocol

from imagesmith import tools
from imagesmith.disk import failures
from imagesmith.errors import IOFailed
from imagesmith.model import Digest

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Compression = Literal["zst", "xz", "none"]
LIBZSTD: str = zstd.zstd_version
"""The version of the library that makes .zst."""

_ZST_LEVEL = 3
# More workers take 16 MiB each and the card is slower anyway. The output does not depend on their number, so long
# as it is not 0 (tried with 1 to 4 and random pieces, libzstd 1.5.7).
_ZST_WORKERS = 4
# Level 6 would take 160 MiB a thread. A block size given, and never one thread, make the output the same everywhere.
_XZ_ARGV = ("xz", "--compress", "--stdout", "-3", "--threads=2", "--block-size=16MiB", "--check=crc64")


class Packer(Protocol):
    """A compressed file being written."""

    def feed(self, data: memoryview) -> None: ...

    def finish(self) -> Digest:
        """Write the end; the sha256 of the packed file."""
        ...

    def abandon(self) -> None:
        """Stop at once; the file is left as it is."""
        ...


def packer(kind: Compression, path: Path, size: int) -> Packer | None:
    """Write to a new file at `path` (0600) what is `size` bytes before compression; None for `none`.

    Raises IOFailed when the file exists, NoSpace, ToolMissing.
    """
    match kind:
        case "zst":
            return _Zst(path, size)
        case "xz":
            return _Xz(path)
        case "none":
            return None


class _Written:
    """A new file and the digest of what went into it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hash = hashlib.sha256()
        with failures(path, "writing the compressed image"):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._stream: IO[bytes] = os.fdopen(descriptor, "wb", buffering=0)

    def write(self, data: bytes) -> None:
        with failures(self._path, "writing the compressed image"):
            view = memoryview(data)
            while view:
                view = view[self._stream.write(view) :]
        self._hash.update(data)

    def close(self) -> Digest:
        self._stream.close()
        return Digest("sha256", self._hash.hexdigest())


class _Zst:
    def __init__(self, path: Path, size: int) -> None:
        self._out = _Written(path)
        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: _ZST_LEVEL,
            zstd.CompressionParameter.nb_workers: min(os.cpu_count() or 1, _ZST_WORKERS),
            zstd.CompressionParameter.checksum_flag: 1,
        }
        self._compressor = zstd.ZstdCompressor(options=options)
        self._compressor.set_pledged_input_size(size)

    def feed(self, data: memoryview) -> None:
        self._out.write(self._compressor.compress(data))

    def finish(self) -> Digest:
        self._out.write(self._compressor.flush())
        return self._out.close()

    def abandon(self) -> None:
        self._out.close()


class _Xz:
    """The `xz` program: Python's own lzma makes neither blocks nor use of a second core."""

    def __init__(self, path: Path) -> None:
        self._out = _Written(path)
        self._failure: BaseException | None = None
        self._process = tools.spawn(_XZ_ARGV, stdin=tools.PIPE, stdout=tools.PIPE, stderr=tools.PIPE)
        self._drain = threading.Thread(target=self._receive, name="xz", daemon=True)
        self._drain.start()

    def _receive(self) -> None:
        assert self._process.stdout
        try:
            while data := self._process.stdout.read(1 << 18):
                self._out.write(data)
        except BaseException as error:
            self._failure = error
            self._process.kill()

    def feed(self, data: memoryview) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(data)
        except BrokenPipeError as error:
            raise self._ended() from error

    def finish(self) -> Digest:
        assert self._process.stdin
        try:
            self._process.stdin.close()
        except BrokenPipeError as error:
            raise self._ended() from error
        self._drain.join()
        if self._failure or self._process.wait():
            raise self._ended()
        self._close_pipes()
        return self._out.close()

    def abandon(self) -> None:
        self._process.kill()
        self._process.wait()
        self._drain.join()
        self._close_pipes()
        self._out.close()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()

    def _ended(self) -> BaseException:
        """Why xz is no longer there: what went wrong with its output, else its own last words."""
        self._process.wait()
        self._drain.join()
        if self._failure:
            return self._failure
        assert self._process.stderr
        said = self._process.stderr.read(2000).decode("utf-8", "replace").strip()
        return IOFailed(f"xz ended with exit code {self._process.returncode}: {said or 'no message'}")
