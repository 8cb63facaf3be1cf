"""What is in an image, without changing it: the answer of `imagesmith inspect`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imagesmith.errors import EditFailed
from imagesmith.events import Noted, Warned
from imagesmith.formats import gpt, mbr
from imagesmith.image.allocation import used_ranges
from imagesmith.image.iso import Iso, is_iso, volume_name
from imagesmith.image.raw import RawImage
from imagesmith.model import PartitionRole

_INFO = "/.disk/info"
_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")


@dataclass(frozen=True, slots=True)
class VolumeReport:
    """A partition and its file system. Sizes and offsets in bytes."""

    number: int
    start: int
    size: int
    type: str
    name: str
    uuid: str
    """The partition's own (PARTUUID)."""
    role: PartitionRole | None
    filesystem: str
    """`ext4`, `fat` or `unknown`."""
    label: str
    filesystem_size: int
    filesystem_uuid: str
    trouble: str
    """Why it could not be edited, empty when it could."""


@dataclass(frozen=True, slots=True)
class ImageReport:
    """All that `inspect` found out. Plain values only, so that it becomes JSON by `dataclasses.asdict`."""

    path: str
    size: int
    table: Literal["gpt", "mbr"]
    sector_size: int
    disk_id: str
    """The GPT's GUID, or the MBR's 32 bits in hex."""
    volumes: tuple[VolumeReport, ...]
    mapped: int
    """Bytes that must be written to a card."""
    medium: str
    """What an installer's medium says of itself; empty for everything else."""
    os_release: str
    """The root's os-release as it stands there; empty when there is no root or no such file."""
    notes: tuple[str, ...]
    """Volumes that are taken whole, and why."""

    @property
    def os_name(self) -> str:
        """As `Debian GNU/Linux 13 (trixie)`; empty when it is not told."""
        for line in self.os_release.splitlines():
            if line.startswith("PRETTY_NAME="):
                return line.partition("=")[2].strip().strip("\"'")
        return ""


def inspect(path: Path) -> ImageReport:
    """Look into the raw image at `path`. Raises ContentMalformed when it is no disk image, IOFailed."""
    notes: list[str] = []

    def noted(event: object) -> None:
        if isinstance(event, (Noted, Warned)):
            notes.append(event.message)

    with RawImage(path, writable=False) as raw:
        table = raw.table()
        mapped = sum(end - start for start, end in used_ranges(raw, noted))
        return ImageReport(
            path=str(path),
            size=raw.size,
            table="gpt" if isinstance(table, gpt.Gpt) else "mbr",
            sector_size=table.sector_size if isinstance(table, gpt.Gpt) else 512,
            disk_id=f"{table.disk_id:08x}" if isinstance(table, mbr.Mbr) else table.disk_guid,
            volumes=_volumes(raw),
            mapped=mapped,
            medium=_medium(raw),
            os_release=_os_release(raw),
            notes=tuple(notes),
        )


def _volumes(raw: RawImage) -> tuple[VolumeReport, ...]:
    return tuple(
        VolumeReport(
            number=volume.partition.number,
            start=volume.partition.start,
            size=volume.partition.size,
            type=volume.partition.type,
            name=volume.partition.name,
            uuid=volume.partition.uuid,
            role=volume.role,
            filesystem=volume.filesystem.kind,
            label=volume.filesystem.label,
            filesystem_size=volume.filesystem.size,
            filesystem_uuid=volume.filesystem.uuid,
            trouble=volume.filesystem.trouble,
        )
        for volume in raw.volumes()
    )


def _medium(raw: RawImage) -> str:
    if not is_iso(raw):
        return ""
    iso = Iso(raw.path)
    return iso.read(_INFO).decode("utf-8", "replace").strip() if _INFO in iso.files else volume_name(raw.read_at)


def _os_release(raw: RawImage) -> str:
    root = next((volume for volume in raw.volumes() if volume.role == "root"), None)
    if not root:
        return ""
    tree = raw.ext4(root)
    for path in _OS_RELEASE:
        # The usual /etc/os-release is a link to the other one, and links are not followed here.
        try:
            entry = tree.look(path)
            if entry and entry.kind == "file":
                return tree.read(path).decode("utf-8", "replace")
        except EditFailed:
            continue
    return ""
