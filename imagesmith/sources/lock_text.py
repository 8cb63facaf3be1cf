"""The text of `imagesmith.lock`: a Lock out and in. Pure; called by `lock`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, cast

import yaml

from imagesmith.errors import DocumentInvalid, Problem
from imagesmith.model import Digest
from imagesmith.profile import document, names
from imagesmith.profile.document import Listing, Scalar, Table, Value
from imagesmith.sources import lock_packages
from imagesmith.sources.lock_entry import Lock, LockEntry

_HEADER = """\
# Written by `imagesmith update`: the exact bytes that builds start from. Keep it under version control.
# released = when the publisher made it, in seconds since 1970; packages = the state of a base made from packages;
# unchecked = nobody vouched for the digest yet; origin = where each value comes from.
"""
_SCHEMA, _WITH_SUPPLIES = "2", "3"
"""The later one is written where there is more than bases, so that older programs do not drop it."""
_READ = ("1", "2", "3")
"""The earlier ones lack what came later, and mean the same."""
REDO = "remove the file and run `imagesmith update`"
_DIGESTS, _NUMBERS = ("digest", "raw_digest"), ("size", "raw_size", "released")
_ADDRESSES = ("url", "address", "mirror", "checksums_url", "signature_url")
_TEXTS = ("packages", "version", "fingerprint")


def encode(lock: Lock) -> str:
    """The file's text: the same for the same lock."""
    entries = {name: _plain(entry) for name, entry in sorted(lock.entries.items())}
    document_: dict[str, object] = {"schema": int(_SCHEMA), "bases": entries}
    if lock.files or lock.packages:
        document_["schema"] = int(_WITH_SUPPLIES)
        document_["files"] = {name: _plain(entry) for name, entry in sorted(lock.files.items())}
        document_["packages"] = lock_packages.plain(lock.packages)
    return _HEADER + yaml.dump(document_, Dumper=_Dumper, sort_keys=False, width=200, allow_unicode=True)


def parse(text: str, file: str = "imagesmith.lock") -> Lock:
    """Read the file's text. Raises DocumentInvalid with every problem."""
    problems: list[Problem] = []
    root = document.read(text, file, problems)
    if not problems:
        found = _found(root, file, problems)
    if problems:
        raise DocumentInvalid([replace(problem, hint=problem.hint or REDO) for problem in problems])
    return found


class _Dumper(yaml.SafeDumper):
    """Equal values are written out each time: the reader refuses many aliases, and a person reads none."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _plain(entry: LockEntry) -> dict[str, object]:
    shown: dict[str, object] = {}
    for one in fields(LockEntry):
        value = getattr(entry, one.name)
        if isinstance(value, Digest):
            value = str(value)
        elif isinstance(value, Mapping):
            value = dict(sorted(value.items()))
        elif isinstance(value, tuple):
            value = [_plain(before) for before in value]
        if value:
            shown[one.name] = value
    return shown


def _found(root: Value | None, file: str, problems: list[Problem]) -> Lock:
    top = {key.text: value for key, value in root.entries} if isinstance(root, Table) else {}
    schema = top.get("schema")
    if not isinstance(schema, Scalar) or schema.text not in _READ:
        newer = isinstance(schema, Scalar) and schema.text.isdecimal()
        hint = "a newer imagesmith wrote it, perhaps: use that one" if newer else ""
        line = schema.line if schema else 1
        problems.append(Problem(file, line, "schema", f"must be {_WITH_SUPPLIES} (or {' or '.join(_READ[:-1])})", hint))
        return Lock()
    sets = _rows(top.get("packages"), "packages", file, problems)
    return Lock(
        _entries(top.get("bases"), "bases", file, problems),
        _entries(top.get("files"), "files", file, problems),
        {name: lock_packages.sets(document.join("packages", name), value, file, problems) for name, value in sets},
    )


def _entries(value: Value | None, part: str, file: str, problems: list[Problem]) -> dict[str, LockEntry]:
    rows = _rows(value, part, file, problems)
    return {name: _entry(file, _path_of(part, name), row, problems) for name, row in rows}


def _rows(value: Value | None, part: str, file: str, problems: list[Problem]) -> list[tuple[str, Value]]:
    """The rows of one part of the lock, by name; none where the part is not there."""
    if value is None or (isinstance(value, Scalar) and value.is_null):
        return []
    if not isinstance(value, Table):
        problems.append(Problem(file, value.line, part, "must be a mapping"))
        return []
    return [(key.text, row) for key, row in value.entries]


def _entry(file: str, path: str, value: Value, problems: list[Problem], *, is_earlier: bool = False) -> LockEntry:
    if not isinstance(value, Table):
        problems.append(Problem(file, value.line, path, "must be a mapping"))
        return LockEntry()
    found: dict[str, object] = {}
    for key, content in value.entries:
        place = document.join(path, key.text)
        if key.text == "earlier" and isinstance(content, Listing) and not is_earlier:
            numbered = enumerate(content.items)
            found["earlier"] = tuple(
                _entry(file, f"{place}[{number}]", item, problems, is_earlier=True) for number, item in numbered
            )
            continue
        try:
            found[key.text] = _value(key.text, content)
        except ValueError as error:
            problems.append(Problem(file, content.line, place, str(error)))
    return LockEntry(**cast(dict[str, Any], found))


def _path_of(part: str, name: str) -> str:
    return f"{part}.{name}" if re.fullmatch(r"[\w.-]{1,60}/[\w./+-]{1,60}", name) else document.join(part, name)


def _value(key: str, content: Value) -> object:
    """What a line says, as LockEntry has it. Raises ValueError with what a person is told."""
    if key == "origin":
        return _origin(content)
    text = content.text if isinstance(content, Scalar) else None
    if key in _DIGESTS:
        return Digest.parse(text or "")
    if key in _NUMBERS:
        if text is None or not re.fullmatch(r"[0-9]{1,18}", text):
            raise ValueError("must be a number that is not below 0")
        return int(text)
    if key == "unchecked":
        if text not in ("true", "false"):
            raise ValueError("must be true or false")
        return text == "true"
    if key not in (*_ADDRESSES, *_TEXTS, "resolved"):
        raise ValueError("is not known" if key != "earlier" else "must be a list of entries that have none themselves")
    if text is None or not text.isprintable():
        raise ValueError("must be text")
    if key == "resolved" and not re.fullmatch(r"20\d\d-[01]\d-[0-3]\d", text):
        raise ValueError("must be a day, like 2026-11-23")
    return names.https_url(text) if key in _ADDRESSES else text


def _origin(content: Value) -> dict[str, str]:
    if not isinstance(content, Table):
        raise ValueError("must be a mapping of a value's name to words")
    known = {one.name for one in fields(LockEntry)} - {"origin", "earlier"}
    found = {}
    for key, said in content.entries:
        if key.text not in known or not isinstance(said, Scalar) or not said.text.isprintable():
            raise ValueError(f"{key.text[:40]!r} is no value's name with words behind it")
        found[key.text] = said.text
    return found
