"""What a document may say: kinds of values, and `Fields`, which reads a table key by key.

A *kind* is a function `(value, place) -> T | None`: it gives the Python value, or complains at `place` and gives None.
A reader takes its keys one by one, with a default each; so a reader is its own schema, and goes on after a mistake:

    def read_partition(fields: Fields) -> PartitionSpec:
        return PartitionSpec(
            label=fields.need("label", text(names.label), ""),
            size=fields.take("size", size, 0),
        )

    partitions = fields.need_all("partitions", table(read_partition))

Keys that no reader asked for are unknown keys, with a "did you mean".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from imagesmith import units
from imagesmith.errors import DocumentInvalid, Problem
from imagesmith.profile import document
from imagesmith.profile.document import Listing, Scalar, Table, Value

T = TypeVar("T")
D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands, and the list that complaints go to."""

    file: str
    path: str
    problems: list[Problem]

    def complain(self, line: int, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self.file, line, self.path, message, hint))

    def at(self, path: str) -> Place:
        return Place(self.file, path, self.problems)


Kind = Callable[[Value, Place], T | None]
_LARGEST = 1024 * 1024 * units.GiB


# -- kinds ----------------------------------------------------------------------------------------


def text(check: Callable[[str], str] = str) -> Kind[str]:
    """Text that `check` accepts and cleans; its ValueError becomes the complaint."""

    def kind(value: Value, place: Place) -> str | None:
        return _checked(value, place, check, "text")

    return kind


def parsed(parse: Callable[[str], T]) -> Kind[T]:
    """Whatever `parse` makes of the text; its ValueError becomes the complaint."""

    def kind(value: Value, place: Place) -> T | None:
        return _checked(value, place, parse, "text")

    return kind


def choice(*allowed: str) -> Kind[Any]:
    """One of a few words. Any, because mypy can't tell which Literal of `model` these words are."""
    return text(one_of(*allowed))


def one_of(*allowed: str) -> Callable[[str], str]:
    """The check behind `choice`, which is one of a `mapping`'s keys too."""

    def check(word: str) -> str:
        if word not in allowed:
            raise ValueError(f"{word[:60]!r} is none of {', '.join(allowed)}{did_you_mean(word, allowed)}")
        return word

    return check


def size(value: Value, place: Place) -> int | None:
    """Bytes, written like `512MiB`."""

    def parse(written: str) -> int:
        found = units.parse_size(written)
        if found > _LARGEST:
            raise ValueError(f"{written[:40]!r} is larger than any disk")
        return found

    return _checked(value, place, parse, "a size, like 512MiB")


def integer(low: int, high: int) -> Kind[int]:
    """A whole number from `low` to `high`, both included."""

    def parse(word: str) -> int:
        if re.fullmatch(r"-?0[0-9]+", word):
            raise ValueError(f"{word!r} is unclear as a number; write it without the leading zero")
        if not re.fullmatch(r"-?[0-9]{1,15}", word):
            raise ValueError(f"{word[:60]!r} is not a whole number")
        if not low <= int(word) <= high:
            raise ValueError(f"{word} is not between {low} and {high}")
        return int(word)

    return _unquoted(parse, "a whole number")


def boolean(value: Value, place: Place) -> bool | None:
    """`true` or `false`; `yes` and `no` are fine too."""

    def parse(word: str) -> bool:
        if word.lower() not in ("true", "yes", "false", "no"):
            raise ValueError(f"{word[:60]!r} is neither true nor false")
        return word.lower() in ("true", "yes")

    return _unquoted(parse, "true or false")(value, place)


def listed(kind: Kind[T]) -> Kind[tuple[T, ...]]:
    """A list; what is wrong with an item is said at that item, and the good ones are kept."""

    def read(value: Value, place: Place) -> tuple[T, ...] | None:
        if not isinstance(value, Listing):
            place.complain(value.line, f"expected a list, found {_what(value)}", "write one `- item` a line")
            return None
        items = (kind(item, place.at(f"{place.path}[{number}]")) for number, item in enumerate(value.items))
        return tuple(item for item in items if item is not None)

    return read


def table(reader: Callable[[Fields], T]) -> Kind[T]:
    """A table of keys, read by `reader`."""

    def read(value: Value, place: Place) -> T | None:
        if not isinstance(value, Table):
            place.complain(value.line, f"expected keys and values, found {_what(value)}", "write `key: value` lines")
            return None
        fields = Fields(value, place)
        result = reader(fields)
        fields.finish()
        return result

    return read


def kept(reader: Callable[[Fields], T]) -> Kind[tuple[Fields, T]]:
    """A table of keys, read by `reader`, and the table itself: for complaints that take the whole document to make."""
    return table(lambda fields: (fields, reader(fields)))


def mapping(check: Callable[[str], str], kind: Kind[T]) -> Kind[dict[str, T]]:
    """A table of names that `check` accepts, all with values of one kind; the good ones are kept."""

    def read(value: Value, place: Place) -> dict[str, T] | None:
        if not isinstance(value, Table):
            place.complain(value.line, f"expected keys and values, found {_what(value)}", "write `key: value` lines")
            return None
        found = {}
        for key, child in value.entries:
            name = _checked(key, place, check, "a name")
            content = kind(child, place.at(document.join(place.path, key.text)))
            if name is not None and content is not None:
                found[name] = content
        return found

    return read


# -- tables ---------------------------------------------------------------------------------------


class Fields:
    """The keys of one table, taken one by one. A key with nothing behind it counts as not written."""

    def __init__(self, value: Table, place: Place) -> None:
        self.place = place
        self.line = value.line
        self._entries = {key.text: (key.line, child) for key, child in value.entries}
        self._asked: list[str] = []

    def take(self, key: str, kind: Kind[T], default: D) -> T | D:
        """The value of an optional key; `default` where it is missing, empty or wrong."""
        self._asked.append(key)
        if not self.has(key):
            return default
        result = kind(self._entries[key][1], self.at(key))
        return default if result is None else result

    def need(self, key: str, kind: Kind[T], instead: D) -> T | D:
        """The value of a required key; `instead` lets the reading go on after the complaint."""
        if not self.has(key):
            self.place.complain(self._entries.get(key, (self.line,))[0], f"the key {key!r} is required")
        return self.take(key, kind, instead)

    def take_all(self, key: str, kind: Kind[T]) -> tuple[T, ...]:
        """The good items of an optional list; none where it is missing."""
        return self.take(key, listed(kind), ())

    def need_all(self, key: str, kind: Kind[T]) -> tuple[T, ...]:
        """The good items of a required list, which has one item at least."""
        before = len(self.place.problems)
        items = self.need(key, listed(kind), ())
        if not items and len(self.place.problems) == before:
            self.complain(key, "the list is empty")
        return items

    def has(self, key: str) -> bool:
        entry = self._entries.get(key)
        return entry is not None and not (isinstance(entry[1], Scalar) and entry[1].is_null)

    def at(self, key: str) -> Place:
        return self.place.at(document.join(self.place.path, key))

    def is_blank(self, key: str) -> bool:
        """Whether the key stands there with nothing behind it."""
        return key in self._entries and not self.has(key)

    def line_of(self, key: str) -> int:
        """The line of a key's value, or of the key with nothing behind it; of the whole table where it is missing."""
        if key not in self._entries:
            return self.line
        line, value = self._entries[key]
        return value.line if self.has(key) else line

    def complain(self, key: str, message: str, hint: str = "") -> None:
        self.at(key).complain(self.line_of(key), message, hint)

    def forgive(self) -> None:
        """Let every key pass that nobody asked for."""
        self._asked.extend(self._entries)

    def finish(self) -> None:
        """Complain about every key that nobody asked for."""
        for key, (line, _) in self._entries.items():
            if key not in self._asked:
                shown = f"the key {key[:60]!r} is unknown{did_you_mean(key, self._asked)}"
                known = ", ".join(self._asked)
                self.at(key).complain(line, shown, f"known here: {known}")


def read_document(content: str, file: str, reader: Callable[[Fields], T], problems: list[Problem]) -> T | None:
    """Read one whole document of `schema: 1`; complaints go to `problems`."""

    def versioned(fields: Fields) -> T | None:
        version = fields.need("schema", integer(0, 10**6), 1)
        if version != 1:
            # The keys of another version mean nothing here: no word about them.
            newer = "it was written for a newer imagesmith" if version > 1 else "the first version is 1"
            problems.append(Problem(file, fields.line_of("schema"), "schema", f"version {version} is unknown", newer))
            fields.forgive()
            return None
        return reader(fields)

    value = document.read(content, file, problems)
    return None if value is None else table(versioned)(value, Place(file, "", problems))


def settle(result: T | None, problems: Iterable[Problem]) -> T:
    """The result, if there was nothing to complain about; else DocumentInvalid with all of it."""
    listed_problems = tuple(problems)
    if listed_problems or result is None:
        raise DocumentInvalid(listed_problems)
    return result


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing when no known word is near."""
    written, choices = word.lower(), sorted(known)
    near = difflib.get_close_matches(written, choices, n=1)
    if not near and len(written) > 2:
        near = [choice for choice in choices if choice.startswith(written)]
    return f"; did you mean {near[0]!r}?" if near else ""


# -- pieces ---------------------------------------------------------------------------------------


def _checked(value: Value, place: Place, parse: Callable[[str], T], wanted: str) -> T | None:
    if not isinstance(value, Scalar) or value.is_null:
        place.complain(value.line, f"expected {wanted}, found {_what(value)}")
        return None
    try:
        return parse(value.text)
    except ValueError as error:
        place.complain(value.line, str(error))
        return None


def _unquoted(parse: Callable[[str], T], wanted: str) -> Kind[T]:
    def kind(value: Value, place: Place) -> T | None:
        if isinstance(value, Scalar) and not value.plain:
            place.complain(value.line, f"expected {wanted}, found quoted text", "take the quotes away")
            return None
        return _checked(value, place, parse, wanted)

    return kind


def _what(value: Value) -> str:
    if isinstance(value, Listing):
        return "a list"
    if isinstance(value, Table):
        return "a table of keys"
    return "nothing" if value.is_null else f"the text {value.text[:40]!r}"
