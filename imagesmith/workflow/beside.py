"""An image with what lies beside it: its block map, manifest and checksum list, each checked before it is believed.

Also which file stands for an image that lies there packed and raw. Called by `workflow.source`, `workflow.unpack` and
what is above them. Reads files, writes none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from imagesmith.errors import ContentMalformed, DigestMismatch, ImagesmithError, IOFailed
from imagesmith.events import Listener, Noted
from imagesmith.formats import bmap, checksums, manifest
from imagesmith.model import BlockMap, Digest
from imagesmith.planning.flash import HEAD_SIZE, SourceImage
from imagesmith.units import MiB

SUMS = "SHA256SUMS"
PACKED = (".zst", ".xz", ".gz", ".bz2", ".zip")
_LARGEST_SIDE_FILE = 64 * MiB

Raw = TypeVar("Raw")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Beside:
    """A raw image and what was found beside it. `found` names the files that speak for its bytes."""

    image: SourceImage
    manifest: manifest.Manifest | None
    sums: tuple[checksums.ChecksumLine, ...]
    found: tuple[Path, ...]


def look_beside(path: Path, named: Path | None = None, raw: tuple[int, bytes] | None = None) -> Beside:
    """Read the head of a raw image and the files beside it, or beside `named` for one that was expanded elsewhere.

    `raw` = the raw image's size (0 = not known) and head, where somebody else has read them out of a packed file.

    Raises IOFailed when the image can't be read, ContentMalformed when a file beside it is broken, DigestMismatch
    when those files contradict each other. The image's own bytes are not compared yet.
    """
    named = named or path
    size, head = raw or _head(path)
    sums_path = named.with_name(SUMS)
    sums = sums_beside(named)
    manifest_path, record = _manifest(named, sums)
    map_path, block_map = _block_map(named, record, sums)
    digest = _promised(named, record, sums)
    if record and size and record.image.size != size:
        raise ContentMalformed(
            f"the image has {size} bytes, its manifest says {record.image.size}",
            where=str(named),
            hint="the image is cut short, or is not the one of this manifest: build it again",
        )
    known = size or (record.image.size if record else block_map.image_size if block_map else 0)
    image = SourceImage(path, known, head, block_map, digest)
    listed = sums_path if digest_in(sums, named) else None
    return Beside(image, record, sums, tuple(found for found in (listed, manifest_path, map_path) if found))


def of_packed(found: Beside) -> Beside:
    """What lies beside a packed file under a plain name, as Ubuntu's qcow2: the list promises it, not what it holds."""
    return found if found.manifest else replace(found, image=replace(found.image, digest=None))


def raw_name(path: Path) -> Path:
    """Where a packed file's raw image is, or would be: beside it the map and manifest are looked for."""
    return path.with_suffix("") if path.suffix in PACKED else path


def preferred(path: Path, listener: Listener) -> Path:
    """The file that stands for an image: the raw one beside a packed one where SHA256SUMS names both, else `path`.

    As beside what was built: any other may be a part of it, an older one, or have been changed. Where both are there,
    the one that is taken is told. Raises as `look_beside` does for SHA256SUMS.
    """
    raw = raw_name(path)
    if raw == path or not path.is_file() or not raw.is_file():
        return path
    sums = sums_beside(path)
    if digest_in(sums, path) and digest_in(sums, raw):
        listener(Noted(f"{path.name} is packed; the raw {raw.name} beside it is used"))
        return raw
    listener(Noted(f"{path.name} is used, not {raw.name} beside it: no {SUMS} names both"))
    return path


def sums_beside(path: Path) -> tuple[checksums.ChecksumLine, ...]:
    """The lines of the SHA256SUMS in a file's folder; none where there is no such list. Raises as `look_beside`."""
    sums_path = path.with_name(SUMS)
    return _parsed(sums_path, checksums.parse, _text(_small(sums_path))) if sums_path.is_file() else ()


def digest_in(sums: tuple[checksums.ChecksumLine, ...], path: Path) -> Digest | None:
    """What a checksum list promises for a file, None when it does not name it."""
    digests = {line.digest for line in sums if line.name == path.name and line.digest.algorithm == "sha256"}
    if len(digests) > 1:
        raise DigestMismatch(f"lists {path.name} with two digests", where=str(path.with_name(SUMS)))
    return next(iter(digests), None)


def _head(path: Path) -> tuple[int, bytes]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            return size, file.read(HEAD_SIZE)
    except OSError as error:
        raise IOFailed(f"can't be read: {error.strerror}", where=str(path)) from error


def _manifest(path: Path, sums: tuple[checksums.ChecksumLine, ...]) -> tuple[Path | None, manifest.Manifest | None]:
    for candidate in _candidates(path, ".manifest.json"):
        if candidate.is_file():
            return candidate, _parsed(candidate, manifest.parse, _checked(candidate, sums))
    return None, None


def _block_map(
    path: Path, record: manifest.Manifest | None, sums: tuple[checksums.ChecksumLine, ...]
) -> tuple[Path | None, BlockMap | None]:
    named = [path.with_name(record.block_map)] if record else []
    for candidate in (*named, *_candidates(path, ".bmap")):
        if candidate.is_file():
            return candidate, _parsed(candidate, bmap.parse, _text(_checked(candidate, sums)))
    return None, None


def _candidates(path: Path, ending: str) -> tuple[Path, Path]:
    return path.with_name(path.name + ending), path.with_suffix(ending)


def _promised(path: Path, record: manifest.Manifest | None, sums: tuple[checksums.ChecksumLine, ...]) -> Digest | None:
    listed = digest_in(sums, path)
    if record and listed and listed != record.image.digest:
        raise DigestMismatch(
            f"{SUMS} and the manifest promise different bytes for it",
            where=str(path),
            hint="files of two builds are mixed here: build it again",
        )
    return record.image.digest if record else listed


def _checked(path: Path, sums: tuple[checksums.ChecksumLine, ...]) -> bytes:
    data = _small(path)
    promised = digest_in(sums, path)
    if promised and Digest.of(data) != promised:
        raise DigestMismatch(
            f"is not the file that {SUMS} lists", where=str(path), hint="it was altered: build or fetch it again"
        )
    return data


def _small(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST_SIDE_FILE:
            raise ContentMalformed("is far too large for what it should be", where=str(path))
        return path.read_bytes()
    except OSError as error:
        raise IOFailed(f"can't be read: {error.strerror}", where=str(path)) from error


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _parsed(path: Path, parse: Callable[[Raw], Value], data: Raw) -> Value:
    try:
        return parse(data)
    except ImagesmithError as error:
        raise error.within(f"in {path}") from error
