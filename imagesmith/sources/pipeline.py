"""Expands a download while it comes: a thread that reads the growing Part, digests it and writes the raw image.

The caller's thread fetches meanwhile. What can only be read whole (zip, qcow2) is digested while it comes and expanded
at the end; so is an .xz that was whole already, then with its blocks in parallel. Called by `obtain`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal

from imagesmith.events import Event, Progress
from imagesmith.model import Digest
from imagesmith.sources import xz_blocks
from imagesmith.sources.content import HEAD, detect
from imagesmith.sources.decompress import Expanded, expand
from imagesmith.sources.disk import CHUNK
from imagesmith.sources.part import Part, Restarted
from imagesmith.streams import Hashing, Peekable, pieces


class Expansion:
    """Inside `with`: fetch into `part`. Afterwards `result()`. `limit` is the raw image's, in bytes."""

    def __init__(self, part: Part, raw: Path, algorithm: Literal["sha256", "sha512"], limit: int, where: str) -> None:
        self._part = part
        self._raw = raw
        self._algorithm = algorithm
        self._limit = limit
        self._where = where
        self._thread = threading.Thread(target=self._work, name="expand", daemon=True)
        self._outcome: tuple[Digest, Expanded] | None = None
        self._failure: BaseException | None = None
        self._done = 0
        self._had = 0
        """Bytes that were there before this attempt."""
        self._given_up: BaseException | None = None

    def __enter__(self) -> Expansion:
        self._part.begin()
        self._had = self._part.size
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self._part.finish()
            return
        self._part.fail(error)
        self._thread.join()

    def result(self, progress: Callable[[int], None]) -> tuple[Digest, Expanded]:
        """The published file's digest and what it expanded to; `progress` hears raw bytes while it waits."""
        try:
            while self._thread.is_alive():
                self._thread.join(0.2)
                progress(self._done)
        except BaseException as error:  # Ctrl-C: the thread must not go on writing
            self._given_up = error
            self._part.fail(error)
            self._thread.join()
            raise
        if self._failure:
            raise self._failure
        assert self._outcome is not None
        return self._outcome

    def _work(self) -> None:
        while True:
            try:
                self._outcome = self._once()
                return
            except Restarted:
                self._had = 0
                continue
            except BaseException as error:
                self._failure = error
                self._part.reject(error)
                return

    def _once(self) -> tuple[Digest, Expanded]:
        hashing = Hashing(self._part.reader(), self._algorithm)
        source = Peekable(hashing)
        name = detect(source.peek(HEAD), self._where)
        whole_first = name in ("zip", "qcow2") or (name == "xz" and self._has_blocks())
        if not whole_first:
            expanded = self._expand(source)
        for _ in pieces(source, CHUNK):
            pass
        if whole_first:
            expanded = self._expand(self._part.path)
        return hashing.digest(), expanded

    def _has_blocks(self) -> bool:
        """Is what was there an .xz with its index, so that its blocks can be found?

        An index is last in the file. Were it that of a first stream only, the whole file would be looked at anew later.
        """
        try:
            with self._part.path.open("rb") as file:
                return len(xz_blocks.blocks_of(file.fileno(), self._had)) > 1
        except xz_blocks.NotIndexed:
            return False

    def _expand(self, source: Peekable | Path) -> Expanded:
        return expand(source, self._raw, limit=self._limit, where=self._where, listener=self._hear)

    def _hear(self, event: Event) -> None:
        if self._given_up:  # what is expanded from the file does not notice the part's failure
            raise self._given_up
        if isinstance(event, Progress):
            self._done = event.done
