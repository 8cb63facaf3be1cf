"""What there is: bases in the cache, partitions, block maps, images and devices, as they were found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imagesmith.model.origins import Digest


@dataclass(frozen=True, slots=True)
class Package:
    name: str
    version: str
    architecture: str


@dataclass(frozen=True, slots=True)
class ObtainedBase:
    """A verified raw base image in the cache; never written to."""

    path: Path
    size: int
    digest: Digest
    """Of the raw image."""
    published: Digest | None
    """Of the file as its publisher gave it; None for a base made here."""
    epoch: int
    trust: str
    """Why its bytes are trusted, one clause for the manifest."""
    packages: tuple[Package, ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)
    """The programs that made it, with their versions then; empty where it was not made here, or nobody noted them."""
    published_size: int = 0
    """Of the file as its publisher gave it; 0 for a base made here."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition as found in a table. `number` is the kernel's (1-based)."""

    number: int
    start: int
    size: int
    type: str
    """GPT type GUID, upper-case; or MBR type as two hex digits."""
    name: str = ""
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class MappedRange:
    """Blocks `first`..`last`, both included, and the sha256 (hex) of their bytes."""

    first: int
    last: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BlockMap:
    """What must be written to a card. Unlisted means provably free in the file system, never merely zero."""

    image_size: int
    block_size: int
    ranges: tuple[MappedRange, ...]

    @property
    def blocks(self) -> int:
        return -(-self.image_size // self.block_size)

    @property
    def mapped_bytes(self) -> int:
        last = self.blocks - 1
        tail = self.blocks * self.block_size - self.image_size
        return sum(
            (part.last - part.first + 1) * self.block_size - (tail if part.last == last else 0) for part in self.ranges
        )


@dataclass(frozen=True, slots=True)
class Image:
    """A sealed image under its final name, with what lies beside it."""

    name: str
    path: Path
    """The raw image."""
    packed: Path | None
    """Its zst or xz."""
    size: int
    digest: Digest
    plan_id: str
    block_map: Path
    manifest: Path


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What was recognised on a disk or on one of its partitions: a file system, or a part of a larger store."""

    name: str
    """Of the disk or partition it lies on, `sdb1`."""
    kind: str
    """As blkid calls it: `vfat`, `ext4`, `crypto_LUKS`, `LVM2_member` ..."""
    label: str
    size: int
    """Of the disk or partition."""
    used: int | None = None
    """Bytes in use; told for FAT and exFAT only, None where not known."""


@dataclass(frozen=True, slots=True)
class Device:
    """A block device as `lsblk --json` reported it: a report, not a handle."""

    path: str
    name: str
    kind: str
    """`disk`, `part`, `loop`, `rom` ..."""
    size: int
    model: str = ""
    serial: str = ""
    bus: str = ""
    removable: bool = False
    read_only: bool = False
    by_id: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    """Mount points of the device and of everything on it."""
    holders: tuple[str, ...] = ()
    holds_system: bool = False
    logical_sector: int = 512
    diskseq: int = 0
    """Counts up with every medium put in; 0 where the kernel does not tell."""
    number: str = ""
    """Of the kernel, `8:16`."""
    parent: str = ""
    """The whole disk's path, for a partition."""
    contents: tuple[str, ...] = ()
    """What lies on it, in words, one for each partition."""
    filesystems: tuple[FileSystem, ...] = ()
    """What was recognised on it and on its partitions."""
    by_path: tuple[str, ...] = ()
    """Names as those of by_id, but of the port that it is plugged into."""
    backing: str = ""
    """The file of a loop device, as the kernel tells its path."""
    stands_on: str = ""
    """The path of the block device that a loop device passes everything on to; it has no `backing` then."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason not to write a device. Without an override there is no way round it."""

    reason: str
    override: str = ""
    """The flag that lifts it."""
