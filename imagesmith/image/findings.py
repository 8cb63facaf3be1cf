"""What telling files an image has and what the small ones say. Called by `workflow` and for `inspect`; reads only."""

from __future__ import annotations

from collections.abc import Iterable

from imagesmith.families.findings import Clue, Findings
from imagesmith.image.iso import Iso, is_iso
from imagesmith.image.raw import RawImage
from imagesmith.image.roles import Volume
from imagesmith.model import PartitionRole
from imagesmith.units import KiB

_SMALL = 64 * KiB


def gather(raw: RawImage, clues: Iterable[Clue]) -> Findings:
    """Look for all `clues`, in whatever partition can be read. Raises ContentMalformed for no disk image, IOFailed."""
    volumes = raw.volumes()
    wanted = list(clues)
    contents: dict[Clue, bytes] = {}
    for volume in volumes:
        if volume.role and not volume.filesystem.trouble:
            paths = [path for role, path in wanted if role == volume.role]
            contents.update(_contents(raw, volume, volume.role, paths))
    if is_iso(raw):
        contents.update(_on_medium(raw, [path for role, path in wanted if role == "medium"]))
    return Findings(str(raw.path), tuple(map(_described, volumes)), contents)


def _on_medium(raw: RawImage, paths: list[str]) -> dict[Clue, bytes]:
    iso = Iso(raw.path)
    there = [path for path in paths if path in iso.files]
    return {("medium", path): iso.read(path) if iso.size(path) <= _SMALL else b"" for path in there}


def _contents(raw: RawImage, volume: Volume, role: PartitionRole, paths: list[str]) -> dict[Clue, bytes]:
    tree = raw.ext4(volume) if volume.filesystem.kind == "ext4" else raw.fat(volume)
    tree.look_ahead(set(paths))
    contents: dict[Clue, bytes] = {}
    for path in paths:
        if entry := tree.look(path):
            small = entry.kind == "file" and entry.size <= _SMALL
            contents[role, path] = tree.read(path) if small else b""
    return contents


def _described(volume: Volume) -> str:
    use = f", used as {volume.role}" if volume.role else ""
    trouble = f", {volume.filesystem.trouble}" if volume.filesystem.trouble else ""
    return f"{volume.name}{use}{trouble}"
