"""Reads where a program's releases are published: profiles/releases/k3s.yaml. Called by `workflow`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

from imagesmith.errors import Problem
from imagesmith.model import Architecture, ReleaseSource
from imagesmith.profile import names
from imagesmith.profile.schema import Fields, mapping, one_of, read_document, settle, text

_ARCHITECTURES = get_args(Architecture)


def load_release(content: str, file: str) -> ReleaseSource:
    """The document's text; `file` is its path, for complaints. Raises DocumentInvalid."""
    problems: list[Problem] = []
    return settle(read_document(content, file, _release, problems), problems)


def _release(fields: Fields) -> ReleaseSource:
    by_architecture = mapping(one_of(*_ARCHITECTURES), text(names.file_name))
    listed: dict[str, Mapping[str, str]] = {}
    for key in ("sums", "program", "images"):
        listed[key] = fields.need(key, by_architecture, {})
        missing = [one for one in _ARCHITECTURES if listed[key] and one not in listed[key]]
        if missing:
            fields.complain(key, f"nothing is said for {' and '.join(missing)}")
    return ReleaseSource(
        channels=fields.need("channels", text(_address("channel")), ""),
        files=fields.need("files", text(_address("version", "/")), ""),
        **listed,
    )


def _address(hole: str, end: str = "") -> Callable[[str], str]:
    """An https address with one `{hole}` in it."""

    def check(written: str) -> str:
        names.https_url(written.replace(f"{{{hole}}}", "x"))
        if written.count(f"{{{hole}}}") != 1 or not written.endswith(end):
            raise ValueError(f"must be an address with {{{hole}}} in it" + (f", and end with {end}" if end else ""))
        return written

    return check
