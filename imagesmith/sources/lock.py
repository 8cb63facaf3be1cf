"""`imagesmith.lock`: which bytes each base was when it was last looked up, so that builds stay the same.

`imagesmith update` writes it, `build` never goes past it. Keys are `<board>/<base>`. Parsing and encoding are pure;
`read`, `write` and `put` touch the one file.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import yaml

from imagesmith.disk import sync_folder
from imagesmith.errors import DocumentInvalid, Problem
from imagesmith.invoker import give
from imagesmith.model import Base, DebianSource, Digest, HttpSource, ObtainedBase
from imagesmith.profile import document
from imagesmith.profile.document import Scalar, Table, Value
from imagesmith.sources.disk import failures

_HEADER = """\
# Written by `imagesmith update`: the exact bytes that builds start from. Keep it under version control.
# released = when the publisher made it, in seconds since 1970; packages = the state of a base made from packages.
"""
_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class LockEntry:
    """One base as it was found. Empty or 0 = not known, or not a thing of this kind of base."""

    url: str = ""
    size: int = 0
    """Of the published file, bytes."""
    digest: Digest | None = None
    """Of the published file."""
    raw_size: int = 0
    raw_digest: Digest | None = None
    released: int = 0
    packages: str = ""
    """Key of the package state, for a base made from Debian's packages."""


@dataclass(frozen=True, slots=True)
class Lock:
    entries: Mapping[str, LockEntry] = field(default_factory=dict)

    def with_entry(self, board: str, base: str, entry: LockEntry) -> Lock:
        return Lock({**self.entries, f"{board}/{base}": entry})


def locked(base: Base, lock: Lock, board: str) -> Base:
    """`base` with what the lock knows about `board`/`base` in its source; unchanged when it knows nothing."""
    entry = lock.entries.get(f"{board}/{base.name}")
    if entry and isinstance(base.source, DebianSource):
        return replace(base, source=replace(base.source, state=entry.packages))
    if entry is None or not isinstance(base.source, HttpSource):
        return base
    source = base.source
    return replace(
        base,
        source=replace(
            source,
            url=entry.url or source.url,
            # Mirrors are of the profile's URL, not of another file that the lock names.
            mirrors=source.mirrors if entry.url in ("", source.url) else (),
            digest=entry.digest or source.digest,
            size=entry.size or source.size,
            raw_digest=entry.raw_digest or source.raw_digest,
            raw_size=entry.raw_size or source.raw_size,
            released=entry.released or source.released,
        ),
    )


def entry_of(base: Base, obtained: ObtainedBase) -> LockEntry:
    """What to lock of a base that was just obtained."""
    url = base.source.url if isinstance(base.source, HttpSource) else ""
    size, published = obtained.published_size, obtained.published
    return LockEntry(url, size, published, obtained.size, obtained.digest, obtained.epoch)


def encode(lock: Lock) -> str:
    """The file's text: the same for the same lock."""
    entries = {}
    for name, entry in sorted(lock.entries.items()):
        shown = {key: str(value) if isinstance(value, Digest) else value for key, value in _fields(entry).items()}
        entries[name] = {key: value for key, value in shown.items() if value}
    return _HEADER + yaml.safe_dump({"schema": _SCHEMA, "bases": entries}, sort_keys=False, width=200)


def parse(text: str, file: str = "imagesmith.lock") -> Lock:
    """Read the file's text. Raises DocumentInvalid with every problem."""
    problems: list[Problem] = []
    root = document.read(text, file, problems)
    if not problems:
        entries = _entries(root, file, problems)
    if problems:
        raise DocumentInvalid([replace(problem, hint=problem.hint or _REDO) for problem in problems])
    return Lock(entries)


def read(path: Path) -> Lock:
    """The lock in `path`; an empty one when there is no such file. Raises DocumentInvalid, IOFailed."""
    with failures(path, "reading"):
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            return Lock()
        except UnicodeDecodeError as error:
            raise DocumentInvalid([Problem(str(path), 0, "", "is not UTF-8 text", _REDO)]) from error
    return parse(text, str(path))


def put(path: Path, board: str, base: str, entry: LockEntry) -> LockEntry:
    """Write one entry into the lock as it is now; returns what stood there before (empty when nothing did).

    Another process that does the same waits meanwhile, so that no entry is lost. Raises what `read` and `write` raise.
    """
    with _alone(path.parent):
        known = read(path)
        before = known.entries.get(f"{board}/{base}", LockEntry())
        if entry != before:
            write(path, known.with_entry(board, base, entry))
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


_REDO = "remove the file and run `imagesmith update`"


def _fields(entry: LockEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in asdict(entry)}


def _entries(root: Value | None, file: str, problems: list[Problem]) -> dict[str, LockEntry]:
    top = {key.text: value for key, value in root.entries} if isinstance(root, Table) else {}
    schema, bases = top.get("schema"), top.get("bases")
    if not isinstance(schema, Scalar) or schema.text != str(_SCHEMA):
        problems.append(Problem(file, schema.line if schema else 1, "schema", f"must be {_SCHEMA}"))
        return {}
    if bases is None or (isinstance(bases, Scalar) and bases.is_null):
        return {}
    if not isinstance(bases, Table):
        problems.append(Problem(file, bases.line, "bases", "must be a mapping"))
        return {}
    return {name.text: _entry(file, _path_of(name.text), value, problems) for name, value in bases.entries}


def _entry(file: str, path: str, value: Value, problems: list[Problem]) -> LockEntry:
    if not isinstance(value, Table):
        problems.append(Problem(file, value.line, path, "must be a mapping"))
        return LockEntry()
    found: dict[str, object] = {}
    for key, content in value.entries:
        try:
            found[key.text] = _value(key.text, content)
        except ValueError as error:
            problems.append(Problem(file, content.line, document.join(path, key.text), str(error)))
    return LockEntry(**cast(dict[str, Any], found))


def _path_of(name: str) -> str:
    return f"bases.{name}" if re.fullmatch(r"[\w.-]{1,60}/[\w.-]{1,60}", name) else document.join("bases", name)


def _value(key: str, content: Value) -> object:
    """What a line says, as LockEntry has it. Raises ValueError with what a person is told."""
    text = content.text if isinstance(content, Scalar) else None
    if key in ("digest", "raw_digest"):
        return Digest.parse(text or "")
    if key in ("url", "packages"):
        if text is None:
            raise ValueError("must be text")
        return text
    if key in ("size", "raw_size", "released"):
        if text is None or not re.fullmatch(r"[0-9]{1,18}", text):
            raise ValueError("must be a number that is not below 0")
        return int(text)
    raise ValueError("is not known")
