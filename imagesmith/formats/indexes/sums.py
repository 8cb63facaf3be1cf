"""Ubuntu's and Debian's indexes: a list of digests in a folder that moves on, and where its dated twin lies.

The list has been found good (or nobody signs it) before it comes here; what is read of the dated folder is a courtesy,
and may fail.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from urllib.parse import quote, urljoin

from imagesmith.errors import ContentMalformed
from imagesmith.formats import checksums
from imagesmith.formats.indexes.newest import (
    Newest,
    day_or_zero,
    json_of,
    none_fits,
    rows_of,
    text_of,
    version_key,
)

WORDS = ("file", "dated")
"""What `choose` may say: the file's name, with * for a point release; the dated folder, see `serial_url`."""


def newest(index: bytes, url: str, choose: Mapping[str, str], origin: str) -> Newest:
    """The file that `choose` names, of several point releases the highest; `url` = the list's own address.

    Raises ContentMalformed for a list that is none, does not name the file, or contradicts itself about it.
    """
    text = text_of(index, "the checksum list")
    pattern = choose.get("file", "")
    listed = [line.name.rpartition("/")[2] for line in checksums.parse(text)]
    fitting = [name for name in listed if fnmatchcase(name, pattern) and _is_point_release(name, pattern)]
    if not fitting:
        raise none_fits("the checksum list", {"file": pattern}, listed)
    name = max(fitting, key=version_key)
    digest = checksums.digest_for(text, name)
    version = _version(name)
    told = {"url": origin, "digest": origin, **({"version": "the file's name"} if version else {})}
    # A plus stands for itself in a path; as %2B some servers look for another file.
    return Newest(urljoin(url, quote(name, safe="+")), digest=digest, checksums_url=url, version=version, origin=told)


def serial_url(publisher: str, url: str, choose: Mapping[str, str]) -> str:
    """What tells the serial of the moving folder that `url` lies in; "" where the base names no dated folder."""
    if "dated" not in choose:
        return ""
    # Debian describes each image in a file beside it, Ubuntu each folder.
    described = re.sub(r"\.(qcow2|raw|tar\.xz)$", ".json", url)
    return described if publisher == "debian" else urljoin(url, "unpacked/build-info.txt")


def serial_of(publisher: str, body: bytes) -> str:
    """The serial in what `serial_url` brought. Raises ContentMalformed."""
    if publisher == "debian":
        root = json_of(body, "the image's description")
        items = rows_of(root.get("items")) if isinstance(root, dict) else []
        found = [serial for item in items if item.get("kind") == "Build" and (serial := _label(item))]
    else:
        found = re.findall(r"^serial=(\S+)\s*$", text_of(body, "the folder's description"), re.MULTILINE)
    if len(set(found)) != 1 or not re.fullmatch(r"20\d{6}(?:[.-]\d{1,6})?", found[0]):
        raise ContentMalformed("the description tells no serial of the release")
    return found[0]


def dated(found: Newest, serial: str, choose: Mapping[str, str]) -> Newest:
    """`found` under the address that stays, with the moving one as its mirror: the digest is of both."""
    where = choose["dated"].replace("{serial}", serial)
    url, origin = urljoin(found.url, where), "the release's serial"
    # Where the dated file's name is left open, it is that of the moving one.
    url = urljoin(url, quote(found.url.rpartition("/")[2], safe="+%")) if url.endswith("/") else url
    told = {**found.origin, "url": origin, "version": origin, "released": origin}
    return replace(found, url=url, mirror=found.url, version=serial, released=day_or_zero(serial[:8]), origin=told)


def _label(item: dict[str, object]) -> str:
    metadata = item.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    label = labels.get("cloud.debian.org/version") if isinstance(labels, dict) else None
    return label if isinstance(label, str) else ""


def _is_point_release(name: str, pattern: str) -> bool:
    """The star stands for `.N` or for nothing: `24.04*-live` is no `24.04-beta-live`."""
    shape = re.escape(pattern).replace(r"\*", r"(?:\.\d+)?")
    return re.fullmatch(shape, name) is not None


def _version(name: str) -> str:
    found = re.search(r"(?<![\d.])\d\d\.\d\d(?:\.\d+)?(?![\d])", name)
    return found[0] if found else ""
