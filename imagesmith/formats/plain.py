"""Plain JSON data back into dataclasses, strictly: the way back from `canonical.to_plain`.

Called by `formats.manifest`. Touches nothing. It knows text, whole numbers, truth values, Literal, None, tuples,
mappings, Digest and dataclasses of these; it chooses no member of a union, so it does not read plans.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping

from imagesmith.errors import ContentMalformed
from imagesmith.model import Digest

T = typing.TypeVar("T")


def from_plain(kind: type[T], value: object, where: str) -> T:
    """A `kind` (a dataclass) made of plain data. Fields with a default may be missing, nothing may be unknown.

    `where` names the document in errors. Raises ContentMalformed with the path of what is wrong.
    """
    return typing.cast(T, _value(kind, value, where, ""))


def _value(kind: typing.Any, value: object, where: str, path: str) -> object:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is object:
        return value
    if kind in (str, int, bool):
        # bool is an int to Python, not to JSON.
        return value if type(value) is kind else _refuse(value, _NAMES[kind], where, path)
    if kind is Digest:
        return _digest(value, where, path)
    if origin is typing.Literal:
        choices = " or ".join(repr(choice) for choice in arguments)
        return value if value in arguments else _refuse(value, choices, where, path)
    if origin is types.UnionType and len(arguments) == 2 and arguments[1] is type(None):
        return None if value is None else _value(arguments[0], value, where, path)
    if origin is tuple and arguments[1:] == (...,):
        return _tuple(arguments[0], value, where, path)
    if origin is Mapping:
        return _mapping(arguments[1], value, where, path)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where, path)
    raise TypeError(f"{kind} can't be read from plain data")


_NAMES = {str: "text", int: "a whole number", bool: "true or false"}


def _dataclass(kind: typing.Any, value: object, where: str, path: str) -> object:
    if not isinstance(value, dict):
        return _refuse(value, "an object", where, path)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for name in value:
        if name not in fields:
            _refuse_with(f"{_join(path, name)} is unknown", where)
    given = {}
    for name, field in fields.items():
        if name in value:
            given[name] = _value(hints[name], value[name], where, _join(path, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            _refuse_with(f"{_join(path, name)} is missing", where)
    made: object = kind(**given)
    return made


def _tuple(inner: typing.Any, value: object, where: str, path: str) -> object:
    if not isinstance(value, list):
        return _refuse(value, "a list", where, path)
    return tuple(_value(inner, item, where, f"{path}[{index}]") for index, item in enumerate(value))


def _mapping(inner: typing.Any, value: object, where: str, path: str) -> object:
    if not isinstance(value, dict):
        return _refuse(value, "an object", where, path)
    return {key: _value(inner, item, where, _join(path, key)) for key, item in value.items()}


def _digest(value: object, where: str, path: str) -> object:
    try:
        return Digest.parse(value) if isinstance(value, str) else _refuse(value, "a digest", where, path)
    except ValueError as error:
        raise ContentMalformed(f"{path}: {error}", where=where) from error


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _refuse(value: object, wanted: str, where: str, path: str) -> typing.NoReturn:
    _refuse_with(f"{path or 'the document'} must be {wanted}, not {value!r:.60}", where)


def _refuse_with(what: str, where: str) -> typing.NoReturn:
    raise ContentMalformed(what, where=where, hint="it was altered or made by another version; build the image again")
