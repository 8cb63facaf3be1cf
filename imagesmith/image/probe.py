"""What is in a partition, told by its content: ext4, FAT, or something that is left alone.

Called by `image.raw`. Reads through the function it is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imagesmith.errors import ContentMalformed
from imagesmith.image import ext4_layout, fat_layout
from imagesmith.image.layout import Reader


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A file system as its first blocks describe it. `kind` is `unknown` for everything that we can't read."""

    kind: Literal["ext4", "fat", "unknown"]
    label: str = ""
    size: int = 0
    """In bytes, as it says itself; the partition may be larger."""
    uuid: str = ""
    ext4: ext4_layout.Superblock | None = None
    fat: fat_layout.BootSector | None = None
    trouble: str = ""
    """Why it can't be edited (a dirty journal, say), empty when it can."""

    def __str__(self) -> str:
        label = f" {self.label!r}" if self.label else ""
        return f"{self.kind}{label}" if self.kind != "unknown" else "unknown content"


def probe(read: Reader, room: int) -> FileSystem:
    """The file system that starts at byte 0 of `read`, in a partition of `room` bytes.

    ext2 and ext3 are ext4 with fewer features, and are called so.
    """
    try:
        block = ext4_layout.parse_superblock(read(ext4_layout.SUPERBLOCK_AT, ext4_layout.SUPERBLOCK_SIZE))
    except ContentMalformed as error:
        return FileSystem("unknown", trouble=error.what)
    if block:
        trouble = block.unclean
        if block.size > room:
            trouble = f"it says it has {block.size} bytes, in a partition of {room}"
        return FileSystem("ext4", block.label, block.size, block.uuid, ext4=block, trouble=trouble)
    boot = fat_layout.parse_boot_sector(read(0, 512))
    if boot:
        trouble = f"it says it has {boot.size} bytes, in a partition of {room}" if boot.size > room else ""
        return FileSystem("fat", fat_layout.label(boot, read), boot.size, boot.serial, fat=boot, trouble=trouble)
    return FileSystem("unknown")
