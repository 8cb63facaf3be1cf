"""Objects of Kubernetes as a text of YAML, with secrets by name in it. Called by `cluster.addons.manifests`.

Every text stands between double quotes, or is a block of plain lines: no value can be read as anything but itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from imagesmith.formats.credentials import quoted
from imagesmith.secret import Quoted, SecretRef, SecretText

Piece = bytes | Quoted
Object = Mapping[str, object]
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
"""A key that needs no quotes; those that YAML takes for more are in `_MEANS_MORE`."""
_MEANS_MORE = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def yaml_text(objects: Iterable[Object]) -> SecretText:
    """One document an object."""
    pieces: list[Piece] = []
    for one in objects:
        pieces.append(b"---\n")
        _table(one, 0, pieces)
    return SecretText(tuple(_joined(pieces)))


def _table(value: Mapping[str, object], depth: int, pieces: list[Piece]) -> None:
    for key, child in value.items():
        pieces.append(b"  " * depth + _key(key) + b":")
        _value(child, depth, pieces)


def _value(value: object, depth: int, pieces: list[Piece]) -> None:
    """What follows a key's colon, to the end of its last line."""
    match value:
        case Mapping() if value:
            pieces.append(b"\n")
            _table(value, depth + 1, pieces)
        case str() if _is_block(value):
            pieces.append(b" |\n")
            pieces.extend(b"  " * (depth + 1) * bool(line) + line.encode() + b"\n" for line in value.splitlines())
        case Sequence() if value and not isinstance(value, str):
            pieces.append(b"\n")
            for item in value:
                _item(item, depth, pieces)
        case _:
            pieces.extend((b" ", *_scalar(value), b"\n"))


def _item(value: object, depth: int, pieces: list[Piece]) -> None:
    indent = b"  " * (depth + 1)
    if not (isinstance(value, Mapping) and value):
        pieces.extend((indent, b"- ", *_scalar(value), b"\n"))
        return
    inner: list[Piece] = []
    _table(value, depth + 2, inner)
    first = inner[0]
    assert isinstance(first, bytes)
    pieces.extend((indent + b"- " + first.lstrip(b" "), *inner[1:]))


def _scalar(value: object) -> tuple[Piece, ...]:
    match value:
        case None:
            return (b"null",)
        case bool():
            return (b"true" if value else b"false",)
        case int() | float():
            return (str(value).encode(),)
        case SecretRef():
            return (b'"', Quoted(value), b'"')
        case str():
            return (b'"' + quoted(value.encode()) + b'"',)
        case Mapping():
            return (b"{}",)
        case Sequence() if not value:
            return (b"[]",)
    raise TypeError(f"a {type(value).__name__} has no place here in a manifest")


def _key(key: str) -> bytes:
    plain = _WORD.fullmatch(key) and key.lower() not in _MEANS_MORE
    return key.encode() if plain else b'"' + quoted(key.encode()) + b'"'


def _is_block(text: str) -> bool:
    """Whether it is lines of plain ASCII, as scripts are: those are easier to read as they are."""
    lines = text.split("\n")
    return (
        len(lines) > 2
        and lines[-1] == ""
        and lines[-2] != ""
        and lines[0] != ""
        and not lines[0].startswith(" ")
        and all(re.fullmatch(r"([ -~]*[!-~])?", line) for line in lines)
    )


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Neighbours of plain bytes as one."""
    found: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, bytes) and found and isinstance(found[-1], bytes):
            found[-1] += piece
        else:
            found.append(piece)
    return found
