"""The manifest beside an image: what it was made of, what was put into it, and how to boot it.

Written by `output` (seal), read by `workflow` (boot, verify, inspect, flash). Touches nothing. It holds no
wall-clock date and no secret's digest: the same inputs give the same manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from imagesmith.errors import ContentMalformed
from imagesmith.formats.canonical import canonical_json, to_plain
from imagesmith.formats.plain import from_plain
from imagesmith.model import (
    Architecture,
    Digest,
    Edit,
    FileContent,
    Package,
    PartitionRole,
    Promise,
    PutFile,
    QemuMachine,
)

SCHEMA = 1
_WHERE = "manifest"


@dataclass(frozen=True, slots=True)
class BaseRecord:
    """The base image that was used; fields as in `model.ObtainedBase`."""

    digest: Digest
    published: Digest | None
    trust: str
    epoch: int
    tools: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """The raw image, size in bytes."""

    size: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class AppliedEdit:
    """One edit as it was done. `sha256` and `size` are of what was put; empty and 0 for secrets and for no file."""

    partition: PartitionRole
    path: str
    kind: str
    """The edit's class, as `PutFile`."""
    mode: str | None = None
    """Of what the edit leaves at its path, as `0644`; None where nothing is left, and on FAT, which keeps no modes."""
    sha256: str = ""
    size: int = 0

    @classmethod
    def of(cls, edit: Edit, mode: int | None) -> AppliedEdit:
        """The record of an edit and the permission bits it left. A secret leaves neither digest nor size here."""
        sha256, size = "", 0
        if isinstance(edit, PutFile) and isinstance(edit.content, bytes):
            sha256, size = hashlib.sha256(edit.content).hexdigest(), len(edit.content)
        elif isinstance(edit, PutFile) and isinstance(edit.content, FileContent):
            size = edit.content.size
            sha256 = edit.content.digest.hex if edit.content.digest.algorithm == "sha256" else ""
        shown = None if mode is None else f"{mode:04o}"
        return cls(edit.partition, edit.path, type(edit).__name__, shown, sha256, size)


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that is worth knowing about an image once its plan and its base are gone."""

    imagesmith: str
    """The version that made it."""
    name: str
    """The plan's."""
    plan_id: str
    plan: Mapping[str, object]
    """The plan as `canonical.to_plain` shows it; `plan_id` is the digest of its canonical JSON."""
    architecture: Architecture
    hostname: str
    epoch: int
    base: BaseRecord
    image: ImageRecord
    block_map: str
    """File name of the block map beside the image."""
    files: tuple[AppliedEdit, ...]
    packages: tuple[Package, ...]
    tools: Mapping[str, str]
    """Every program that had a part in turning the base into the image, with its version, as text."""
    machine: QemuMachine | None
    promises: tuple[Promise, ...]
    schema: int = SCHEMA


def encode(manifest: Manifest) -> bytes:
    """The manifest's file: JSON for people too, keys sorted, UTF-8, a newline at the end."""
    text = json.dumps(to_plain(manifest), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def parse(data: bytes) -> Manifest:
    """The manifest in a file's bytes. Raises ContentMalformed on all that `encode` does not write."""
    document = _document(data)
    schema = document.get("schema") if isinstance(document, dict) else None
    if type(schema) is int and schema != SCHEMA:
        raise ContentMalformed(
            f"it is of schema {schema}, this imagesmith reads {SCHEMA}",
            where=_WHERE,
            hint="use the imagesmith that built the image, or build it again",
        )
    manifest = from_plain(Manifest, document, _WHERE)
    if manifest.block_map in ("", ".", "..") or "/" in manifest.block_map or "\0" in manifest.block_map:
        raise ContentMalformed(f"block_map must be a bare file name, not {manifest.block_map!r}", where=_WHERE)
    if hashlib.sha256(canonical_json(manifest.plan)).hexdigest() != manifest.plan_id:
        raise ContentMalformed(
            "its plan does not have its plan_id: one of them was altered", where=_WHERE, hint="build the image again"
        )
    return manifest


def _document(data: bytes) -> object:
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError as error:
        raise ContentMalformed("it is nested too deeply", where=_WHERE) from error
    except ValueError as error:
        raise ContentMalformed(f"it is no JSON: {error}", where=_WHERE, hint="build the image again") from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ContentMalformed(f"{twice!r} is given twice", where=_WHERE)
    return found


def _no_constant(name: str) -> object:
    raise ContentMalformed(f"{name} is no number of JSON", where=_WHERE)
