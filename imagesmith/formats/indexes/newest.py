"""What an index tells of the file that is meant, and how its pieces are read: JSON, text, versions, days."""

from __future__ import annotations

import calendar
import datetime
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from imagesmith.errors import ContentMalformed
from imagesmith.model import Digest

_ADDRESS = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]+)?/[A-Za-z0-9._~%/+=&?,;:@!$()*-]*")
_PAGE = "this is probably a web page or another file: open the address in a browser"
_MOVED = "the publisher may have changed the index, or given this image up: see `follow` in the base's file"


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest file, as its index tells. Empty or 0 = the index does not tell."""

    url: str
    size: int = 0
    """Of the published file, bytes."""
    digest: Digest | None = None
    """Of the published file."""
    raw_size: int = 0
    raw_digest: Digest | None = None
    checksums_url: str = ""
    """A list that names the file, beside it."""
    signature_url: str = ""
    released: int = 0
    """Seconds since 1970."""
    version: str = ""
    mirror: str = ""
    """A moving address that has the same bytes today."""
    hint: str = ""
    """How the publisher says that the image is set up at its first boot, a word of theirs."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """Where each of these values comes from, by its name here."""


def json_of(index: bytes, what: str) -> object:
    """The JSON document. Raises ContentMalformed with the line, for a web page and a file that was cut off too."""
    text = text_of(index, what)
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ContentMalformed(f"{what} is nested deeper than any such index", hint=_PAGE) from error
    except ValueError as error:
        if not text.strip():
            raise ContentMalformed(f"{what} is empty", hint="try again later") from error
        if text.lstrip()[:1] not in "{[":
            raise ContentMalformed(f"{what} is not JSON: it begins with {text.strip()[:30]!r}", hint=_PAGE) from error
        raise ContentMalformed(f"{what} is damaged or cut off: {error}", hint="run the same command again") from error


def text_of(index: bytes, what: str) -> str:
    try:
        return index.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ContentMalformed(f"{what} is not UTF-8 text", hint=_PAGE) from error


def rows_of(value: object) -> list[dict[str, object]]:
    """The tables of a list; nothing for what is no list."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def missing(what: str, keys: Iterable[str]) -> ContentMalformed:
    return ContentMalformed(f"{what} lacks {' and '.join(keys)}", hint=_MOVED)


def none_fits(what: str, choose: Mapping[str, str], known: Iterable[str]) -> ContentMalformed:
    """Nothing in the index is what is meant; `known` = what is there, of which a few are told."""
    asked = ", ".join(f"{key} {value!r}" for key, value in choose.items())
    listed = list(dict.fromkeys(known))
    more = f" and {len(listed) - 6} more" if len(listed) > 6 else ""
    there = f"; there is {', '.join(repr(one[:60]) for one in listed[:6])}{more}" if listed else ""
    return ContentMalformed(f"{what} has nothing with {asked or 'that name'}{there}", hint=_MOVED)


def https(value: object, what: str) -> str:
    """An address from an index. Raises ContentMalformed for one that is no https address."""
    text = value if isinstance(value, str) else ""
    if not _ADDRESS.fullmatch(text):
        raise ContentMalformed(f"{what}: {str(value)[:80]!r} is not an https:// address", hint=_MOVED)
    return text


def digest_or_none(value: object, what: str) -> Digest | None:
    """The sha256 that stands there as 64 hex digits; None where nothing stands."""
    if value in (None, ""):
        return None
    try:
        return Digest.parse(f"sha256:{value}")
    except ValueError as error:
        raise ContentMalformed(f"{what} is {str(value)[:80]!r}, no sha256", hint=_MOVED) from error


def size_or_zero(value: object, what: str) -> int:
    """Bytes, as a number or as digits; 0 where nothing stands."""
    if value in (None, ""):
        return 0
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,15}", str(value)):
        raise ContentMalformed(f"{what} is {str(value)[:40]!r}, no size in bytes", hint=_MOVED)
    return int(str(value))


def day_or_zero(value: object) -> int:
    """The day that `2026-10-06`, `20261006` or a longer time stamp begins with, in seconds since 1970; 0 for none."""
    found = re.match(r"(20\d\d)-?([01]\d)-?([0-3]\d)(?!\d)", value) if isinstance(value, str) else None
    try:
        return calendar.timegm(datetime.date(*map(int, found.groups())).timetuple()) if found else 0
    except ValueError:
        return 0


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """What versions are compared by: `26.8.10` is above `26.8.9`, and `26.8.0-trunk.5` below `26.8.0`."""
    parts = re.findall(r"[0-9]{1,18}|[a-z]+", version.lower())  # no index makes Python read a number of any length
    # A word counts less than the end, and that less than a number.
    return (*((2, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts), (1, 0, ""))


def file_name(url: str) -> str:
    """The last part of a URL's path, without escapes."""
    return unquote(urlsplit(url).path).rpartition("/")[2]
