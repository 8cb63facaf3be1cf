"""Raspberry Pi's catalogue for their Imager, `os_list_imagingutility_v4.json`: an entry by its name, or its file's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from imagesmith.errors import ContentMalformed
from imagesmith.formats.indexes.newest import (
    Newest,
    day_or_zero,
    digest_or_none,
    file_name,
    https,
    json_of,
    missing,
    none_fits,
    rows_of,
    size_or_zero,
)

WORDS = ("name", "file", "init_format")
"""What `choose` may say: the entry's name; a pattern of its file's name; how it has to be set up at first boot."""
_WHAT = "the os_list"
_ORIGIN = "os_list v4"
_NEEDED = ("url", "release_date")
_DEEPEST = 8


def newest(index: bytes, choose: Mapping[str, str]) -> Newest:
    """The entry that `choose` picks, of several the one that was released last. Raises ContentMalformed."""
    root = json_of(index, _WHAT)
    listed = root.get("os_list") if isinstance(root, dict) else None
    if not isinstance(listed, list):
        raise missing(_WHAT, ["its os_list"])
    entries = list(_leaves(listed))
    fitting = [entry for entry in entries if _fits(entry, choose)]
    if not fitting:
        raise none_fits(_WHAT, choose, (str(entry.get("name", "")) for entry in entries))
    latest = max(day_or_zero(entry.get("release_date")) for entry in fitting)
    chosen = [entry for entry in fitting if day_or_zero(entry.get("release_date")) == latest]
    urls = sorted({str(entry.get("url", "")) for entry in chosen})
    if len(urls) > 1:
        hint = "say more under `follow: choose:` in the base's file, like a pattern for the file's name"
        raise ContentMalformed(f"{_WHAT} has {len(urls)} of that name: {', '.join(urls[:3])}", hint=hint)
    return _newest(chosen[0])


def _newest(entry: dict[str, object]) -> Newest:
    name = f"{_WHAT}'s entry {str(entry.get('name', ''))[:60]!r}"
    if absent := [key for key in _NEEDED if not entry.get(key)]:
        raise missing(name, absent)
    url = https(entry["url"], f"{name}, url")
    released = day_or_zero(entry["release_date"])
    if not released:
        raise ContentMalformed(f"{name}: release_date is {str(entry['release_date'])[:40]!r}, no day")
    found = Newest(
        url=url,
        size=size_or_zero(entry.get("image_download_size"), f"{name}, image_download_size"),
        digest=digest_or_none(entry.get("image_download_sha256"), f"{name}, image_download_sha256"),
        raw_size=size_or_zero(entry.get("extract_size"), f"{name}, extract_size"),
        raw_digest=digest_or_none(entry.get("extract_sha256"), f"{name}, extract_sha256"),
        checksums_url=f"{url}.sha256",
        signature_url=f"{url}.sig",
        released=released,
        version=str(entry["release_date"])[:10],
        hint=str(entry.get("init_format") or ""),
    )
    told = ("url", "size", "digest", "raw_size", "raw_digest", "released", "version")
    origin = {key: _ORIGIN for key in told if getattr(found, key)}
    return replace(found, origin=origin)


def _leaves(items: object, depth: int = 0) -> Iterator[dict[str, object]]:
    """Every entry that is no category, wherever it lies."""
    if depth > _DEEPEST:
        raise ContentMalformed(f"{_WHAT} is nested deeper than any such index")
    for entry in rows_of(items):
        if "subitems" in entry:
            yield from _leaves(entry["subitems"], depth + 1)
        elif "subitems_url" not in entry:  # a list that lies elsewhere: other publishers' images
            yield entry


def _fits(entry: dict[str, object], choose: Mapping[str, str]) -> bool:
    name, pattern = choose.get("name"), choose.get("file")
    url = entry.get("url")
    file = file_name(url) if isinstance(url, str) else ""
    return (name is None or entry.get("name") == name) and (pattern is None or fnmatchcase(file, pattern))
