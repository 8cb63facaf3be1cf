"""Lines KEY=value, as u-boot imports them from a file and as a shell reads them from /etc/default. Bytes in, bytes out.

Called by `image.draft`. All raise ValueError, with a clause that goes on after the file's name, on text that does not
mean the same to each of these readers.
"""

from __future__ import annotations

import re

from imagesmith.image.text import refuse_strange

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MEANT_OTHERWISE = frozenset("\"'\\$`")
"""What a shell and u-boot read differently."""


def with_key(text: bytes | None, key: str, value: str) -> bytes:
    """The text with the line KEY=value where the key's old one was, else at the end; every other byte stays."""
    if value != value.strip() or not value.isprintable() or set(value) & _MEANT_OTHERWISE:
        raise ValueError(f"can't get {value!r} as the value of {key}")
    lines, at = _lines(text, key)
    return _with(lines, at, f"{key}={value}".encode())


def without_key(text: bytes | None, key: str) -> bytes:
    """The text without a line for the key; a commented one stays."""
    lines, at = _lines(text, key)
    return b"".join(line for number, line in enumerate(lines) if number != at)


def with_word(text: bytes | None, key: str, word: str) -> bytes:
    """The text with `word` among the words of the key's value, added as the last; every other byte stays."""
    if not word.isprintable() or word.split() != [word] or set(word) & _MEANT_OTHERWISE:
        raise ValueError(f"can't get {word!r} as one word of {key}")
    lines, at = _lines(text, key)
    if at is None:
        return _with(lines, at, f"{key}={word}".encode())
    line = lines[at].rstrip(b"\n")
    value = line.partition(b"=")[2]
    if b'"' in value or b"'" in value:
        raise ValueError(f"has quotes in the value of {key}, which u-boot takes for a part of it and a shell does not")
    if word.encode() in value.split():
        return b"".join(lines)
    gap = b" " if value and not value.endswith((b" ", b"\t")) else b""
    return _with(lines, at, line + gap + word.encode())


def _lines(text: bytes | None, key: str) -> tuple[list[bytes], int | None]:
    """The lines with their ends, and which of them is the key's."""
    if not _NAME.fullmatch(key):
        raise ValueError(f"can't get {key!r} as a key")
    if text is None:
        raise ValueError("is missing; it is not made up, since what else it should say is not known")
    refuse_strange(text)
    if b"\r" in text:
        raise ValueError("has carriage returns, which its reader would take for parts of the values")
    # Blanks before a key are skipped by both readers; blanks before the sign of equality are not.
    ours = re.compile(rb"[ \t]*" + key.encode() + rb"(?![A-Za-z0-9_])")
    lines = text.split(b"\n")
    lines = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    found = [number for number, line in enumerate(lines) if ours.match(line)]
    if len(found) > 1:
        raise ValueError(f"says {key} {len(found)} times; leave one of them, since a reader takes the last")
    for number in found:
        _refuse_odd(lines, number, key)
    return lines, found[0] if found else None


def _refuse_odd(lines: list[bytes], number: int, key: str) -> None:
    line = lines[number].rstrip(b"\n")
    if not line.lstrip(b" \t").startswith(key.encode() + b"="):
        raise ValueError(f"has the line {line.decode(errors='replace')!r}, which does not read {key}=value")
    if _goes_on(line) or (number and _goes_on(lines[number - 1])):
        raise ValueError(f"has a value that goes on over the end of a line, at {key}")


def _goes_on(line: bytes) -> bool:
    return line.rstrip(b"\n").endswith(b"\\")


def _with(lines: list[bytes], at: int | None, line: bytes) -> bytes:
    """The lines with this one at its place; without a place, at the end."""
    if at is not None:
        end = b"\n" if lines[at].endswith(b"\n") else b""
        return b"".join([*lines[:at], line + end, *lines[at + 1 :]])
    if lines and _goes_on(lines[-1]):
        raise ValueError("ends within a value: its last line ends in a backslash")
    end = b"" if not lines or lines[-1].endswith(b"\n") else b"\n"
    return b"".join([*lines, end, line, b"\n"])
