"""`imagesmith.lock`: which bytes each base was when it was last looked up, so that builds stay the same.

`imagesmith update` writes it, `build` never goes past it. Keys are `<board>/<base>`, and others for what is fetched
beside a base. The values are in `lock_entry`, the text in `lock_text`; `read`, `write` and the `put`s touch the one
file.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from imagesmith.disk import sync_folder
from imagesmith.errors import DocumentInvalid, Problem
from imagesmith.invoker import give
from imagesmith.sources.disk import failures
from imagesmith.sources.lock_entry import (
    NO_ENTRY,
    NO_LOCK,
    Lock,
    LockEntry,
    PackageSet,
    PinnedPackage,
    counting,
    entry_of,
    locked,
    merged,
    succeeding,
    told_anew,
)
from imagesmith.sources.lock_text import REDO, encode, parse

__all__ = [
    "NO_ENTRY", "NO_LOCK", "Lock", "LockEntry", "PackageSet", "PinnedPackage", "counting", "encode", "entry_of",
    "locked", "merged", "parse", "put", "put_file", "put_packages", "read", "told_anew", "write",
]  # fmt: skip


def read(path: Path) -> Lock:
    """The lock in `path`; an empty one when there is no such file. Raises DocumentInvalid, IOFailed."""
    with failures(path, "reading"):
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            return Lock()
        except UnicodeDecodeError as error:
            raise DocumentInvalid([Problem(str(path), 0, "", "is not UTF-8 text", REDO)]) from error
    return parse(text, str(path))


def put(path: Path, board: str, base: str, entry: LockEntry) -> LockEntry:
    """Write one entry into the lock as it is now; returns what stood there before (empty when nothing did).

    What stood there stays in it as an earlier one. Another process that does the same waits meanwhile, so that no entry
    is lost. Raises what `read` and `write` raise.
    """
    with _alone(path.parent):
        known = read(path)
        before = known.entries.get(f"{board}/{base}", NO_ENTRY)
        if told_anew(entry, before):
            write(path, known.with_entry(board, base, succeeding(entry, before)))
        return before


def put_file(path: Path, name: str, entry: LockEntry) -> LockEntry:
    """As `put`, for a file that is no base."""
    with _alone(path.parent):
        known = read(path)
        before = known.files.get(name, NO_ENTRY)
        if told_anew(entry, before):
            write(path, known.with_file(name, succeeding(entry, before)))
        return before


def put_packages(path: Path, board: str, base: str, found: PackageSet) -> PackageSet | None:
    """As `put`, for what a base lacks of some packages; returns what stood there for the same names."""
    with _alone(path.parent):
        known = read(path)
        before = known.packages_for(board, base, found.wanted)
        if before is None or replace(before, resolved="") != replace(found, resolved=""):
            write(path, known.with_packages(board, base, found))
        return before


def write(path: Path, lock: Lock) -> None:
    """Write the lock durably, whole or not at all. Raises IOFailed, NoSpace."""
    with failures(path):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        made = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(encode(lock))
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                give(file.fileno())  # under sudo it is the user's: they run `update` without it too
                os.fsync(file.fileno())
            made.rename(path)
        finally:
            made.unlink(missing_ok=True)
        sync_folder(path.parent)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process is in here. The folder itself is locked: a lock file would stay beside the user's."""
    with failures(folder, "taking the lock"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a network file system may not lock folders; then it goes without
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
