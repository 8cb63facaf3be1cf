"""Where apt gets packages from, as /etc/apt says it: both formats read, and one written. Pure.

Called by `sources.apt`, which gives an image's own sources to the apt of this machine. Source: sources.list(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from imagesmith.errors import ContentMalformed

_OFF = frozenset({"no", "false", "without", "off", "disable", "0"})
_OPTION = re.compile(r"([A-Za-z-]+)(?:[+-])?=(.*)")
_BLOCK = "-----BEGIN PGP PUBLIC KEY BLOCK-----"


@dataclass(frozen=True, slots=True)
class AptSource:
    """One source of binary packages."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    """Empty where the suites are paths that end with a slash."""
    architectures: tuple[str, ...] = ()
    """Empty = those of the system."""
    signed_by: tuple[str, ...] = ()
    """Files of keys, or fingerprints; empty = all that the system trusts."""
    keys: str = ""
    """The keys themselves, armoured, where they stand in the source."""


def read(path: str, text: str) -> tuple[AptSource, ...]:
    """The sources of one file, whose name tells its format; those of source code, and what is turned off, left out.

    Raises ContentMalformed with the file's name on text that apt would refuse too.
    """
    try:
        return tuple(_stanzas(text) if path.endswith(".sources") else _lines(text))
    except ValueError as error:
        raise ContentMalformed(f"is no list of sources: {error}", where=path) from error


def encode(source: AptSource) -> str:
    """A stanza, with an empty line behind it. Nothing in it loosens what apt checks."""
    fields = {
        "Types": "deb",
        "URIs": " ".join(source.uris),
        "Suites": " ".join(source.suites),
        "Components": " ".join(source.components),
        "Architectures": " ".join(source.architectures),
        "Signed-By": " ".join(source.signed_by),
    }
    return "".join(f"{key}: {value}\n" for key, value in fields.items() if value) + "\n"


def mirrored(source: AptSource, mirrors: Mapping[str, str]) -> AptSource:
    """With a mirror's address in the place of each that a pattern fits whole; `mirrors` by regular expression."""

    def of(uri: str) -> str:
        return next((mirror for pattern, mirror in mirrors.items() if re.fullmatch(pattern, uri)), uri)

    return replace(source, uris=tuple(map(of, source.uris)))


def unrolled(source: AptSource, lists: Mapping[str, str]) -> AptSource:
    """With addresses in the place of lists of them (`mirror+file:/etc/apt/mirrors/debian.list`), by path."""
    uris: list[str] = []
    for uri in source.uris:
        path = list_path(uri)
        listed = [line.split()[0] for line in lists.get(path, "").splitlines() if line.strip() and line[0] != "#"]
        uris += listed[:1] if path else [uri]
    return replace(source, uris=tuple(uris))


def list_path(uri: str) -> str:
    """The file of a `mirror+file:` address; "" for any other."""
    return uri.partition(":")[2].replace("//", "", 1) if uri.startswith("mirror+file:") else ""


def _lines(text: str) -> Iterable[AptSource]:
    for line in text.splitlines():
        words = line.partition("#")[0].strip()
        match = re.fullmatch(r"(deb|deb-src)\s+(?:\[([^\]]*)\]\s+)?([^\s\[]\S*)\s+(\S+)(.*)", words)
        if not words:
            continue
        if not match:
            raise ValueError(f"{words[:80]!r}")
        if match[1] == "deb":
            given = [_OPTION.fullmatch(word) for word in (match[2] or "").split()]
            options = {one[1].lower(): one[2] for one in given if one}
            yield AptSource(
                (match[3],), (match[4],), tuple(match[5].split()),
                _listed(options.get("arch", "")), _listed(options.get("signed-by", "")),
            )  # fmt: skip


def _stanzas(text: str) -> Iterable[AptSource]:
    for block in re.split(r"\n[ \t]*\n", text):
        fields = _fields(block)
        if not fields or fields.get("enabled", "").lower() in _OFF or "deb" not in fields.get("types", "").split():
            continue
        if not fields.get("uris") or not fields.get("suites"):
            raise ValueError("a stanza without URIs or Suites")
        signed_by = fields.get("signed-by", "")
        armoured = _BLOCK in signed_by
        yield AptSource(
            tuple(fields["uris"].split()), tuple(fields["suites"].split()), tuple(fields.get("components", "").split()),
            tuple(fields.get("architectures", "").split()),
            () if armoured else _listed(signed_by), _unfolded(signed_by) if armoured else "",
        )  # fmt: skip


def _fields(block: str) -> dict[str, str]:
    """The fields of a stanza by lower-case name, continued lines joined by line ends."""
    fields: dict[str, str] = {}
    name = ""
    for line in block.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line[0] in " \t":
            if not name:
                raise ValueError(f"{line[:80]!r} continues nothing")
            fields[name] += f"\n{line.strip()}"
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"{line[:80]!r}")
        name = name.strip().lower()
        fields[name] = value.strip()
    return fields


def _unfolded(value: str) -> str:
    """Keys as they stand in a file of their own: a dot stands for an empty line."""
    return "\n".join("" if line == "." else line for line in value.strip().splitlines()) + "\n"


def _listed(value: str) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[,\s]+", value) if word)
