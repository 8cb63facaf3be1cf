"""Expands a published image (xz, gz, zst, bz2, zip, qcow2 or raw, told by content) into a sparse raw file.

One pass: decoding, sparse writing and the digest of the raw bytes run side by side; an .xz of several blocks is decoded
in as many threads as processors and memory budget allow. Called by `obtain`; writes `target` only.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from imagesmith.errors import ContentMalformed
from imagesmith.events import Listener, Progress, unheard
from imagesmith.model import Digest
from imagesmith.sources import qcow2, xz_blocks
from imagesmith.sources.content import HEAD, Format, detect, refuse_nested
from imagesmith.sources.decoders import decode
from imagesmith.sources.disk import failures
from imagesmith.sources.sparse import SparseTarget
from imagesmith.sources.xz_parallel import expand_blocks, workers_for
from imagesmith.sources.zip_member import only_member
from imagesmith.streams import Counting, Peekable, Reader
from imagesmith.units import GiB, MiB, show_size

MOST = 64 * GiB
"""No image expands to more, unless its profile says so."""
MEMORY = 160 * MiB
"""What all decoders together may use, so that the process stays under 256 MiB."""
_BOMB_RATIO = 1500
_BOMB_FROM = 8 * GiB
"""A mostly empty image packs very well too; below this size a bomb does no harm, for its zeros are not written."""


@dataclass(frozen=True, slots=True)
class Expanded:
    """A raw image that was written: its true size, its sha256 (holes as zeros), what it came from."""

    size: int
    digest: Digest
    format: Format


class Guard:
    """Stops a bomb: counts raw bytes against the limit, and against the bytes they came from."""

    def __init__(self, limit: int, where: str) -> None:
        self._limit = limit
        self._where = where

    def check(self, raw: int, packed: int) -> None:
        """Raise ContentMalformed when `raw` bytes out of `packed` are too many."""
        if raw > self._limit:
            raise ContentMalformed(
                f"expands to more than the {show_size(self._limit)} that it may have",
                where=self._where,
                hint="the file is damaged or no image; if it is right, its profile must state raw_size",
            )
        if raw > _BOMB_FROM and raw > packed * _BOMB_RATIO:
            raise ContentMalformed(
                f"{show_size(packed)} expand to more than {show_size(raw)}: this is made to fill disks, no image",
                where=self._where,
            )


def expand(
    source: Reader | Path,
    target: Path,
    *,
    limit: int = MOST,
    listener: Listener = unheard,
    where: str = "",
    memory: int = MEMORY,
) -> Expanded:
    """Write the raw image that `source` holds to `target` (made anew, sparse), and return its size and digest.

    A Path or seekable file is decoded in parallel where it can be, any other reader serially. `limit` is in
    bytes, `where` names the source in messages. Raises ContentMalformed, NoSpace, IOFailed; `target` is then garbage.
    """
    with ExitStack() as stack:
        if isinstance(source, Path):
            where = where or str(source)
            with failures(source, "reading"):
                source = cast(Reader, stack.enter_context(source.open("rb")))
        guard = Guard(limit, where)
        out = stack.enter_context(SparseTarget(target))
        try:
            name, size = _expand_any(source, out, guard, listener, memory)
        except ContentMalformed as error:
            error.where = error.where or where
            raise
        digest = out.finish(size)
        refuse_nested(out.head(min(HEAD, size)), where)
        listener(Progress("expand", size, size))
        return Expanded(size, digest, name)


def _expand_any(source: Reader, out: SparseTarget, guard: Guard, listener: Listener, memory: int) -> tuple[Format, int]:
    file = source if isinstance(source, io.IOBase) and source.seekable() else None
    peekable = Peekable(source)
    name = detect(peekable.peek(HEAD))
    if name in ("zip", "qcow2") and file is None:
        raise ContentMalformed(f"a {name} cannot be read from a pipe", hint="save it to a file first")
    if name == "qcow2":
        return name, qcow2.expand(_descriptor(file), out, guard.check)
    if name == "zip":
        packed_whole = Counting(source)
        packed_whole.count = os.fstat(_descriptor(file)).st_size  # it is there at once
        pieces = only_member(cast(io.BufferedReader, file)).pieces()
        return name, _serial(pieces, packed_whole, out, guard, listener)
    if name == "xz" and file is not None:
        descriptor = _descriptor(file)
        packed = os.fstat(descriptor).st_size
        try:
            blocks = xz_blocks.blocks_of(descriptor, packed)
            workers = workers_for(descriptor, blocks, memory)
        except xz_blocks.NotIndexed:
            workers = 0
        if workers > 1:
            guard.check(sum(block.raw_size for block in blocks), packed)
            return name, expand_blocks(descriptor, blocks, out, workers, memory, listener)
    counting = Counting(peekable)
    return name, _serial(decode(name, counting, memory=memory), counting, out, guard, listener)


def _serial(raw: Iterator[bytes], packed: Counting, out: SparseTarget, guard: Guard, listener: Listener) -> int:
    size = 0
    for piece in raw:
        guard.check(size + len(piece), max(packed.count, 1))
        out.write_at(size, piece)
        size += len(piece)
        out.written_up_to(size)
        listener(Progress("expand", size))
    return size


def _descriptor(file: io.IOBase | None) -> int:
    assert file is not None
    return file.fileno()
