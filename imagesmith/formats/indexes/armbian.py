"""Armbian's lists of images: the API's list of one board, and the older `armbian-images.json` of all boards."""

from __future__ import annotations

import re
from collections.abc import Mapping

from imagesmith.errors import ContentMalformed
from imagesmith.formats.indexes.newest import (
    Newest,
    day_or_zero,
    file_name,
    https,
    json_of,
    missing,
    none_fits,
    rows_of,
    size_or_zero,
    version_key,
)

WORDS = ("board", "release", "branch", "variant", "stability", "extension")
"""What `choose` may say; `board` is needed with the older index only, which has all of them."""
_WHAT = "Armbian's list"
_NAMES = {
    "board": ("board_slug",),
    "release": ("release", "distro_release", "distro"),
    "branch": ("kernel_branch", "branch"),
    "variant": ("variant", "image_variant"),
    "stability": ("stability",),
    "extension": ("format", "file_extension"),
}
_PLAIN = ("img.xz", "img.zst", "img.gz", "img")
_OTHER_USES = ("preinstalled_application", "application", "file_application")


def newest(index: bytes, choose: Mapping[str, str]) -> Newest:
    """The image of the highest version among those that `choose` picks, releases first. Raises ContentMalformed."""
    root = json_of(index, _WHAT)
    if not isinstance(root, dict):
        raise missing(_WHAT, ["its data"])
    old = "data" not in root
    listed = root.get("assets") if old else root["data"]
    if not isinstance(listed, list):
        raise missing(_WHAT, ["its data"])
    rows = rows_of(listed)
    fitting = [row for row in rows if _fits(row, choose)]
    if not fitting:
        raise none_fits(
            _WHAT, choose, (" ".join(_said(row, key) for key in ("release", "branch", "variant")) for row in rows)
        )
    found = [_newest(row, "armbian-images.json" if old else "Armbian's API") for row in fitting]
    if "stability" not in choose:  # nightly builds bear the next version's number
        found = [one for one in found if "trunk" not in one.version] or found
    best = max(found, key=_rank)
    twins = sorted({one.url for one in found if _rank(one) == _rank(best)})
    if len(twins) > 1:
        hint = "say more under `follow: choose:` in the base's file"
        raise ContentMalformed(f"{_WHAT} has {len(twins)} of that kind: {', '.join(twins[:3])}", hint=hint)
    return best


def _rank(one: Newest) -> tuple[tuple[tuple[int, int, str], ...], int]:
    return version_key(one.version), one.released


def _newest(row: dict[str, object], origin: str) -> Newest:
    download = row.get("download")
    told = download if isinstance(download, dict) else row
    direct, moving = told.get("direct_url"), told.get("file_url")
    if not direct and not moving:
        raise missing(f"{_WHAT}'s entry", ["an address of its file (direct_url or file_url)"])
    url = https(direct or moving, f"{_WHAT}, the file's address")
    sums, signature = told.get("sha_url") or told.get("file_url_sha"), told.get("asc_url") or told.get("file_url_asc")
    size = size_or_zero(told.get("size_bytes") or told.get("file_size"), f"{_WHAT}, size_bytes")
    released = day_or_zero(told.get("updated_at") or told.get("file_updated"))
    version = _version(row, url, str(moving or ""))
    values = {"url": url, "size": size, "released": released, "version": version}
    return Newest(
        url=url,
        size=size,
        checksums_url=https(sums, f"{_WHAT}, sha_url") if sums else f"{url}.sha",
        signature_url=https(signature, f"{_WHAT}, asc_url") if signature else f"{url}.asc",
        released=released,
        version=version,
        origin={key: origin for key, value in values.items() if value},
    )


def _version(row: dict[str, object], *urls: str) -> str:
    """`26.8.1` of `Armbian_26.8.1_Bananapim5_trixie_current_6.18.42_minimal.img.xz`, or what the list says."""
    said = row.get("armbian_version")
    if isinstance(said, str) and said:
        return said[:60]
    named = (re.match(r"Armbian_(?:[a-z]+_)?([0-9][A-Za-z0-9.+-]*)_", file_name(url)) for url in urls if url)
    return next((found[1] for found in named if found), "")


def _said(row: dict[str, object], key: str) -> str:
    return next((str(row[name]) for name in _NAMES[key] if row.get(name)), "")


def _fits(row: dict[str, object], choose: Mapping[str, str]) -> bool:
    # Images with an application in them, torrents and disk formats of other kinds are listed beside the plain one.
    extension = _said(row, "extension").lstrip(".")
    if any(row.get(name) for name in _OTHER_USES) or ("." in extension and extension not in _PLAIN):
        return False
    return all(_said(row, key).lower() == value.lower() for key, value in choose.items())
