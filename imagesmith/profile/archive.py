"""Reads where a package is published: profiles/packages/NAME.yaml. Called by `workflow`."""

from __future__ import annotations

import re

from imagesmith.errors import Problem
from imagesmith.model import PackageArchive
from imagesmith.profile import names
from imagesmith.profile.schema import Fields, listed, mapping, read_document, settle, text

_OF_AN_ARCHIVE = ("suite", "components", "key", "fingerprints")


def load_archive(content: str, file: str) -> PackageArchive:
    """The document's text; `file` is its path, for complaints. Raises DocumentInvalid."""
    problems: list[Problem] = []
    return settle(read_document(content, file, _archive, problems), problems)


def _archive(fields: Fields) -> PackageArchive:
    found = PackageArchive(
        package=fields.need("package", text(_package), ""),
        url=fields.take("url", text(_url), ""),
        suite=fields.take("suite", text(_suite), ""),
        components=fields.take("components", listed(text(_word)), ()),
        key_url=fields.take("key", text(names.https_url), ""),
        fingerprints=fields.take("fingerprints", listed(text(_fingerprint)), ()),
        codenames=fields.take("codenames", mapping(_word, text(_word)), {}),
        needs=fields.take("needs", listed(text(_package)), ()),
    )
    if fields.has("url"):
        for key in _OF_AN_ARCHIVE:
            if not fields.has(key):
                fields.complain("url", f"an archive is nothing without its {key!r}")
    return found


def _url(written: str) -> str:
    if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~{}-]*)*", written):
        raise ValueError(f"{written[:80]!r} is not an archive's address")
    return written


def _suite(written: str) -> str:
    return "{codename}" if written == "{codename}" else _word(written)


def _word(written: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", written):
        raise ValueError(f"{written[:60]!r} is not a suite, a component or a system's code name")
    return written


def _package(written: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]{1,80}", written):
        raise ValueError(f"{written[:80]!r} is not the name of a package")
    return written


def _fingerprint(written: str) -> str:
    found = written.replace(" ", "").upper()
    if not re.fullmatch(r"[0-9A-F]{40}|[0-9A-F]{64}", found):
        raise ValueError(f"{written[:80]!r} is not the whole fingerprint of a key, 40 or 64 hex digits")
    return found
