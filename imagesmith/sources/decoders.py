"""Serial decompression: a reader in, pieces of the raw image out; every stream, and complaints where zlib is silent.

Python's decompressors stop after the first stream and say nothing about a file that ends early. Here every stream is
read, what follows the last one is an error, and so is an end in the middle.
"""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from imagesmith.errors import ContentMalformed
from imagesmith.sources.content import Format
from imagesmith.streams import Reader
from imagesmith.units import MiB, show_size

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE = MiB
_FEED = 256 * 1024
_ZST_WINDOW_LOG = 27
"""128 MiB: what `zstd --ultra --long` makes, and what fits the memory budget."""
MOST_WINDOW = 1 << _ZST_WINDOW_LOG
_FAULTS = (lzma.LZMAError, zlib.error, zstd.ZstdError, OSError, EOFError, ValueError)


class _Decompressor(Protocol):
    """One stream, as lzma, bz2 and zstd have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


def decode(name: Format, reader: Reader, *, memory: int) -> Iterator[bytes]:
    """Pieces of what a `raw`, `xz`, `gz`, `zst` or `bz2` file holds, each at most PIECE bytes.

    `memory` limits what the decompressor itself may use. Raises ContentMalformed.
    """
    if name == "raw":
        while data := reader.read(PIECE):
            yield data
        return
    yield from _streams(name, reader, _opener(name, memory))


def xz_pieces(chunks: Iterator[bytes], memory: int) -> Iterator[bytes]:
    """Pieces of what ONE xz stream, given in chunks, holds. Raises ContentMalformed."""
    reader = _Chunks(chunks)
    yield from _streams("xz", reader, _opener("xz", memory))


class _Chunks:
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, size: int, /) -> bytes:
        return next(self._chunks, b"")


class _Gzip:
    """zlib's decompressor in the shape of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _opener(name: Format, memory: int) -> Callable[[], _Decompressor]:
    window: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _ZST_WINDOW_LOG}
    openers: dict[Format, Callable[[], _Decompressor]] = {
        "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=memory),
        "gz": _Gzip,
        "zst": lambda: zstd.ZstdDecompressor(options=window),
        "bz2": bz2.BZ2Decompressor,
    }
    return openers[name]


def _streams(name: Format, reader: Reader, fresh: Callable[[], _Decompressor]) -> Iterator[bytes]:
    """Every stream of the file, one after the other, until its end."""
    data = reader.read(_FEED)
    while True:
        decompressor = fresh()
        yield from _one_stream(name, reader, decompressor, data)
        data = decompressor.unused_data or reader.read(_FEED)
        if name == "xz":
            data = _after_padding(reader, data)
        if not data:
            return
        if len(data) < 16:  # enough to see a magic, also where it was cut
            data += reader.read(_FEED)
        if not _begins(name, data):
            raise ContentMalformed(f"something that is no {name} follows the end of the {name} data")


def _one_stream(name: Format, reader: Reader, decompressor: _Decompressor, data: bytes) -> Iterator[bytes]:
    while True:
        try:
            piece = decompressor.decompress(data, PIECE)
        except _FAULTS as error:
            raise _malformed(name, error) from error
        if piece:
            yield piece
        if decompressor.eof:
            return
        data = b""
        if decompressor.needs_input:
            data = reader.read(_FEED)
            if not data:
                raise ContentMalformed(
                    f"the {name} data ends in the middle: the file is truncated", hint="fetch or copy it again"
                )


def _begins(name: Format, data: bytes) -> bool:
    if name == "zst":
        return data[:4] == b"\x28\xb5\x2f\xfd" or data[1:4] == b"\x2a\x4d\x18"
    return data.startswith({"xz": b"\xfd7zXZ\x00", "gz": b"\x1f\x8b", "bz2": b"BZh"}[name])


def _after_padding(reader: Reader, data: bytes) -> bytes:
    """Skip stream padding (xz format, 2.2): zeros in fours."""
    skipped = 0
    while data:
        rest = data.lstrip(b"\0")
        skipped += len(data) - len(rest)
        if rest:
            data = rest
            break
        data = reader.read(_FEED)
    if skipped % 4:
        raise ContentMalformed("the padding after the xz data is broken: the file is damaged")
    return data


def _malformed(name: Format, error: Exception) -> ContentMalformed:
    if isinstance(error, lzma.LZMAError) and "emory" in str(error):
        return ContentMalformed(
            "the xz data needs more memory to unpack than imagesmith allows itself",
            hint="pack the image again with `xz -9` or less",
        )
    if isinstance(error, zstd.ZstdError) and "indow" in str(error):
        return ContentMalformed(
            f"the zst data needs a window of more than {show_size(MOST_WINDOW)}",
            hint="pack the image again without --long",
        )
    return ContentMalformed(f"the {name} data is damaged: {error}", hint="fetch or copy it again")
