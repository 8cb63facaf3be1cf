"""A download on its way: one thread writes it, others read it from the start while it grows.

The file and a note of which version of the URL it is (`<name>.json`) stay on the disk when the download breaks off, so
that the next run resumes. Called by `fetch` (writer) and `obtain` (readers); touches these two files only.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from imagesmith.sources.disk import failures


class Restarted(Exception):
    """The download began anew, so what was read before belongs to another file: start reading again."""


@dataclass(frozen=True, slots=True)
class Version:
    """Which bytes a part is a part of: the URL and the validator that `If-Range` takes."""

    url: str
    validator: str
    """A strong ETag, or Last-Modified; empty = cannot be resumed."""
    modified: int = 0
    """When the server says it was made, seconds since 1970; 0 = it does not say."""


class Part:
    """A growing file. Writer: `restart` (or go on), `write`*, then `finish` or `fail`. Readers: `reader()`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._note = path.with_name(f"{path.name}.json")
        self._news = threading.Condition()
        self._generation = 0
        self._ended = False
        self._failure: BaseException | None = None
        self._rejection: BaseException | None = None
        with failures(path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        self.size = os.fstat(self._file).st_size

    def __enter__(self) -> Part:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._file)
        if not self.size:
            self.path.unlink(missing_ok=True)
            self._note.unlink(missing_ok=True)

    @property
    def version(self) -> Version | None:
        """Of the bytes that are there; None when they cannot be resumed."""
        version = self._noted()
        return version if version and version.validator and self.size else None

    @property
    def modified(self) -> int:
        version = self._noted()
        return version.modified if version else 0

    def _noted(self) -> Version | None:
        with suppress(OSError, ValueError, TypeError):
            return Version(**json.loads(self._note.read_text()))
        return None

    def restart(self, version: Version) -> None:
        """Throw away what is there; what is written next belongs to `version`."""
        with self._news, failures(self.path):
            os.ftruncate(self._file, 0)
            self._note.write_text(json.dumps(asdict(version)))
            if self.size:
                self._generation += 1
            self.size = 0

    def write(self, data: bytes) -> None:
        """Add bytes. Raises what a reader rejected the download with."""
        if self._rejection:
            raise self._rejection
        view = memoryview(data)
        at = self.size
        with failures(self.path, "saving the download"):
            while view:
                count = os.pwrite(self._file, view, at)
                at, view = at + count, view[count:]
        with self._news:
            self.size = at
            self._news.notify_all()

    def begin(self) -> None:
        """A new attempt to fetch it, perhaps from a mirror: what ended the last one is forgotten."""
        with self._news:
            self._ended, self._failure, self._rejection = False, None, None

    def finish(self) -> None:
        """All bytes are there."""
        with self._news:
            self._ended = True
            self._news.notify_all()

    def fail(self, failure: BaseException) -> None:
        """No more bytes will come; readers raise `failure`."""
        with self._news:
            self._failure = failure
            self._news.notify_all()

    def reject(self, reason: BaseException) -> None:
        """A reader wants no more of it; the writer's next `write` raises `reason`."""
        self._rejection = reason

    def discard(self) -> None:
        """Throw away what is there: it is of no use, or it is filed elsewhere now."""
        with self._news, failures(self.path, "removing"):
            os.ftruncate(self._file, 0)
            self._note.unlink(missing_ok=True)
            self._generation += 1
            self.size = 0

    def reader(self) -> PartReader:
        """From the start, of what is there now and of what will come."""
        return PartReader(self)

    def read_at(self, offset: int, size: int, generation: int) -> bytes:
        """Bytes at `offset`, waiting until some are there; empty at the end."""
        with self._news:
            while True:
                if self._failure:
                    raise self._failure
                if generation != self._generation:
                    raise Restarted
                if offset < self.size:
                    return os.pread(self._file, min(size, self.size - offset), offset)
                if self._ended:
                    return b""
                self._news.wait()

    def generation(self) -> int:
        with self._news:
            return self._generation


class PartReader:
    """Reads a Part from its start. Raises Restarted, or what the download failed with."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._generation = part.generation()
        self._at = 0

    def read(self, size: int, /) -> bytes:
        data = self._part.read_at(self._at, size, self._generation)
        self._at += len(data)
        return data
