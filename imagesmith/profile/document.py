"""A strict YAML reader: text in, a tree out whose every value knows its line. Meaning is given later, by `schema`.

Called by `load` and `cluster`. A scalar stays the text that was written (`no`, `0123`, `1:20`), so nothing is guessed.
Refused: duplicate keys, tags (`!!python/...` and any other), merge keys, aliases beyond a small number, more than one
document, and anything too large or too deep to have been written by a person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml

from imagesmith.errors import Problem

MAX_CHARACTERS = 512 * 1024
MAX_DEPTH = 16
MAX_ALIASES = 16
MAX_VALUES = 20_000
"""Values in the document with every alias written out: what stops a "billion laughs"."""

_NULLS = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as it was written, without its quotes."""

    text: str
    line: int
    plain: bool = True
    """Written without quotes, so it may mean a number or yes/no."""

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in _NULLS


@dataclass(frozen=True, slots=True)
class Listing:
    items: tuple[Value, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Table:
    """Keys and values in the order they were written; a key stands once."""

    entries: tuple[tuple[Scalar, Value], ...]
    line: int


Value = Scalar | Listing | Table


def read(text: str, file: str, problems: list[Problem]) -> Value | None:
    """The tree of a document, or None when it can't be made out; every complaint is added to `problems`."""
    if len(text) > MAX_CHARACTERS:
        problems.append(Problem(file, 0, "", f"the file is longer than {MAX_CHARACTERS // 1024} KiB"))
        return None
    builder = _Builder(file, problems)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
    except _TooMuch as too_much:
        problems.append(Problem(file, too_much.line, too_much.path, too_much.what))
        return None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problems.append(Problem(file, line, "", f"a character that YAML does not allow: {chr(_code(error))!r}"))
        return None
    except yaml.MarkedYAMLError as error:
        problems.append(_syntax_problem(file, error))
        return None
    if builder.root is None and not problems:
        problems.append(Problem(file, 0, "", "the file is empty"))
    return builder.root


def join(path: str, key: str) -> str:
    """The path of `key` inside `path`; a key that is no plain word is shown quoted, so it can't fool a terminal."""
    shown = key if re.fullmatch(r"[\w.-]{1,60}", key) else repr(key[:60])
    return f"{path}.{shown}" if path else shown


class _TooMuch(Exception):
    def __init__(self, line: int, path: str, what: str) -> None:
        super().__init__(what)
        self.line, self.path, self.what = line, path, what


@dataclass(slots=True)
class _Open:
    """A list or table whose end has not come yet."""

    is_table: bool
    line: int
    path: str
    anchor: str | None
    items: list[Value] = field(default_factory=list)
    keys: dict[str, Scalar] = field(default_factory=dict)
    entries: list[tuple[Scalar, Value]] = field(default_factory=list)
    key: Scalar | None = None
    awaits_value: bool = False
    size: int = 1

    def place(self) -> str:
        """The path of the value that comes next."""
        if not self.is_table:
            return f"{self.path}[{len(self.items)}]"
        return join(self.path, self.key.text) if self.key else self.path


@dataclass(slots=True)
class _Builder:
    """Makes the tree from PyYAML's events, without recursion: a deep document costs nothing but its refusal."""

    file: str
    problems: list[Problem]
    root: Value | None = None
    open: list[_Open] = field(default_factory=list)
    anchors: dict[str, tuple[Value, int]] = field(default_factory=dict)
    aliases: int = 0
    documents: int = 0

    def take(self, event: yaml.Event) -> None:
        mark = event.start_mark
        line = mark.line + 1 if mark else 0
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise _TooMuch(line, "", "a second document begins here; one file holds one document")
        elif isinstance(event, yaml.ScalarEvent):
            self._refuse_tag(event, line)
            self._put(Scalar(event.value, line, event.style is None), 1, event.anchor)
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            self._refuse_tag(event, line)
            if len(self.open) >= MAX_DEPTH:
                raise _TooMuch(line, self._path(), f"nested deeper than {MAX_DEPTH} levels")
            self.open.append(_Open(isinstance(event, yaml.MappingStartEvent), line, self._path(), event.anchor))
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            done = self.open.pop()
            value: Value = (
                Table(tuple(done.entries), done.line) if done.is_table else Listing(tuple(done.items), done.line)
            )
            self._put(value, done.size, done.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event, line)

    def _path(self) -> str:
        return self.open[-1].place() if self.open else ""

    def _complain(self, line: int, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self.file, line, self._path(), message, hint))

    def _refuse_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, line: int) -> None:
        if event.tag is not None:
            self._complain(line, f"the tag {event.tag[:60]!r} is not allowed", "write the plain value")

    def _alias(self, event: yaml.AliasEvent, line: int) -> None:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise _TooMuch(line, self._path(), f"more than {MAX_ALIASES} aliases (*name) in one document")
        if event.anchor not in self.anchors:
            self._complain(line, f"the alias *{event.anchor} points to nothing that ended before it")
            self._put(Scalar("", line), 1, None)
            return
        value, size = self.anchors[event.anchor]
        self._put(value, size, None)

    def _put(self, value: Value, size: int, anchor: str | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = (value, size)
        if not self.open:
            self.root = value
            return
        into = self.open[-1]
        into.size += size
        if into.size > MAX_VALUES:
            raise _TooMuch(into.line, into.path, f"more than {MAX_VALUES} values once its aliases are written out")
        if not into.is_table:
            into.items.append(value)
        elif not into.awaits_value:
            into.key = self._key(into, value)
            into.awaits_value = True
        else:
            if into.key is not None:
                into.entries.append((into.key, value))
            into.key, into.awaits_value = None, False

    def _key(self, into: _Open, value: Value) -> Scalar | None:
        """The key to file the next value under; None when that value is to be dropped."""
        if not isinstance(value, Scalar):
            self._complain(value.line, "a list or table can't be a key", "is a quote or a dash missing?")
            return None
        path = join(into.path, value.text)
        if value.plain and value.text == "<<":
            self.problems.append(Problem(self.file, value.line, into.path, "merge keys (<<) are not supported"))
            return None
        before = into.keys.get(value.text)
        if before is not None:
            message = f"the key {value.text[:60]!r} stands here a second time, first on line {before.line}"
            self.problems.append(Problem(self.file, value.line, path, message, "keep one of them"))
            return None
        into.keys[value.text] = value
        return value


def _syntax_problem(file: str, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    what = error.problem or error.context or "not YAML"
    hint = "indent with spaces, not tabs" if r"\t" in what else "look at indentation, quotes and colons near this line"
    return Problem(file, mark.line + 1 if mark else 0, "", f"not YAML: {what}", hint)


def _code(error: yaml.reader.ReaderError) -> int:
    # PyYAML gives the code point for text, and the bytes themselves for bytes.
    return error.character if isinstance(error.character, int) else ord(error.character[:1] or "?")
