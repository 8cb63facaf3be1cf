"""What an ext4 says of itself: its superblock, and which of its blocks are free. Bytes in, values out.

Called by `image.probe` (what is this?) and `image.allocation` (what must be written?). Touches nothing.
Why not `dumpe2fs`: 1.47 can't read a file system inside an image (it takes the `=` of `image?offset=N` for a tag),
and copying every root file system out just to ask is slower than reading its bitmaps here. The tests hold this
codec against `dumpe2fs`. Source: the kernel's Documentation/filesystems/ext4.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imagesmith.errors import ContentMalformed
from imagesmith.image.layout import Reader, Unsure

SUPERBLOCK_AT = 1024
SUPERBLOCK_SIZE = 1024
MAGIC = 0xEF53

_CLEAN, _ERRORS = 0x1, 0x2
_RECOVER = 0x4
_ORPHANS_PRESENT = 0x10000
_SPARSE_SUPER, _GDT_CSUM, _METADATA_CSUM = 0x1, 0x10, 0x400
_SPARSE_SUPER2 = 0x200
_64BIT = 0x80
_BLOCK_UNINIT = 0x2

# Only features under which a clear bit in the block bitmap means a free block, and under which the group
# descriptors stand right behind the superblock: no meta_bg, bigalloc, shared_blocks, snapshots, or newer ones.
_COMPAT = {
    0x1: "dir_prealloc", 0x2: "imagic", 0x4: "has_journal", 0x8: "ext_attr", 0x10: "resize_inode", 0x20: "dir_index",
    0x200: "sparse_super2", 0x400: "fast_commit", 0x800: "stable_inodes", 0x1000: "orphan_file",
}  # fmt: skip
_INCOMPAT = {
    0x2: "filetype", 0x4: "needs_recovery", 0x40: "extents", 0x80: "64bit", 0x200: "flex_bg", 0x400: "ea_inode",
    0x2000: "metadata_csum_seed", 0x4000: "large_dir", 0x8000: "inline_data", 0x10000: "encrypt", 0x20000: "casefold",
}  # fmt: skip
_RO_COMPAT = {
    0x1: "sparse_super", 0x2: "large_file", 0x8: "huge_file", 0x10: "uninit_bg", 0x20: "dir_nlink",
    0x40: "extra_isize", 0x100: "quota", 0x400: "metadata_csum", 0x1000: "read-only", 0x2000: "project",
    0x8000: "verity", 0x10000: "orphan_present",
}  # fmt: skip
_NAMED_BUT_NOT_UNDERSTOOD = {
    ("incompat", 0x8): "journal_dev", ("incompat", 0x10): "meta_bg", ("incompat", 0x100): "mmp",
    ("ro_compat", 0x80): "snapshot", ("ro_compat", 0x200): "bigalloc", ("ro_compat", 0x4000): "shared_blocks",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Superblock:
    """The facts of a superblock that matter here. Sizes in bytes unless they say blocks."""

    label: str
    uuid: str
    block_size: int
    blocks: int
    free_blocks: int
    first_data_block: int
    blocks_per_group: int
    inodes_per_group: int
    inode_size: int
    reserved_gdt_blocks: int
    descriptor_size: int
    backup_groups: tuple[int, int]
    state: int
    compat: int
    incompat: int
    ro_compat: int

    @property
    def size(self) -> int:
        return self.blocks * self.block_size

    @property
    def groups(self) -> int:
        return -(-(self.blocks - self.first_data_block) // self.blocks_per_group)

    @property
    def unclean(self) -> str:
        """Why it is not clean (`its journal wants recovery`), empty when it is."""
        if self.incompat & _RECOVER:
            return "its journal wants recovery"
        if self.state & _ERRORS:
            return "it is marked as having errors"
        if not self.state & _CLEAN:
            return "it was not unmounted cleanly"
        if self.ro_compat & _ORPHANS_PRESENT:
            return "it has orphaned inodes to clean up"
        return ""

    @property
    def not_understood(self) -> tuple[str, ...]:
        """Features under which we can't tell which blocks are free; named where we know a name."""
        words = (
            ("compat", self.compat, _COMPAT),
            ("incompat", self.incompat, _INCOMPAT),
            ("ro_compat", self.ro_compat, _RO_COMPAT),
        )
        bits = [(kind, 1 << bit) for kind, word, known in words for bit in range(32) if word & 1 << bit & ~sum(known)]
        return tuple(_NAMED_BUT_NOT_UNDERSTOOD.get(each, f"{each[0]} {each[1]:#x}") for each in bits)


def parse_superblock(data: bytes) -> Superblock | None:
    """The superblock in a file system's bytes 1024 to 2047; None when that is no ext2, 3 or 4.

    Raises ContentMalformed when it has the magic number but impossible figures.
    """
    if len(data) < SUPERBLOCK_SIZE or struct.unpack_from("<H", data, 0x38)[0] != MAGIC:
        return None

    def word(at: int) -> int:
        return int(struct.unpack_from("<I", data, at)[0])

    def half(at: int) -> int:
        return int(struct.unpack_from("<H", data, at)[0])

    incompat = word(0x60)
    wide = bool(incompat & _64BIT)
    revised = word(0x4C) > 0
    block = Superblock(
        label=data[0x78:0x88].split(b"\0", 1)[0].decode("utf-8", "replace"),
        uuid=re.sub(r"(.{8})(.{4})(.{4})(.{4})(.{12})", r"\1-\2-\3-\4-\5", data[0x68:0x78].hex()),
        block_size=1024 << min(word(0x18), 32),
        blocks=word(0x04) | (word(0x150) << 32 if wide else 0),
        free_blocks=word(0x0C) | (word(0x158) << 32 if wide else 0),
        first_data_block=word(0x14),
        blocks_per_group=word(0x20),
        inodes_per_group=word(0x28),
        inode_size=half(0x58) if revised else 128,
        reserved_gdt_blocks=half(0xCE),
        descriptor_size=half(0xFE) if wide else 32,
        backup_groups=(word(0x24C), word(0x250)),
        state=half(0x3A),
        compat=word(0x5C),
        incompat=incompat,
        ro_compat=word(0x64),
    )
    _refuse_impossible(block)
    return block


def _refuse_impossible(block: Superblock) -> None:
    possible = (
        block.block_size <= 65536
        and block.first_data_block == (1 if block.block_size == 1024 else 0)
        and block.first_data_block < block.blocks < 1 << 48
        and 0 < block.blocks_per_group < 1 << 31
        and 0 < block.inodes_per_group <= 8 * block.block_size
        and 128 <= block.inode_size <= block.block_size
        and 32 <= block.descriptor_size <= 1024
        and block.free_blocks <= block.blocks
    )
    if not possible:
        raise ContentMalformed(
            "the ext4 superblock has impossible figures",
            where="ext4 superblock",
            hint="the image is damaged; get it again",
        )


@dataclass(frozen=True, slots=True)
class _Group:
    number: int
    first: int
    """Its first block, counted from the file system's start."""
    size: int
    bitmap: int
    inode_bitmap: int
    inode_table: int
    free: int
    uninit: bool


def used_blocks(block: Superblock, read: Reader) -> Iterator[tuple[int, int]]:
    """The blocks in use as (first, end) in order, end excluded; everything else is provably free.

    Raises Unsure when the file system is not clean, has features that are not understood, or contradicts itself
    (bitmaps and counts that differ).
    """
    if block.unclean:
        raise Unsure(block.unclean)
    if block.not_understood:
        raise Unsure(f"features that are not understood: {', '.join(block.not_understood)}")
    groups = list(_groups(block, read))
    metadata = _metadata_outside_bitmaps(block, groups)
    if block.first_data_block:
        yield 0, block.first_data_block
    total_free = 0
    for group in groups:
        bits = metadata.get(group.number, 0) if group.uninit else _bitmap(block, group, read)
        free = group.size - bits.bit_count()
        if free != group.free:
            raise Unsure(f"group {group.number} counts {group.free} free blocks, its bitmap shows {free}")
        total_free += free
        text = format(bits, "b")[::-1]
        for match in re.finditer("1+", text):
            yield group.first + match.start(), group.first + match.end()
    if total_free != block.free_blocks:
        raise Unsure(f"the superblock counts {block.free_blocks} free blocks, the groups {total_free}")


def _groups(block: Superblock, read: Reader) -> Iterator[_Group]:
    size = block.descriptor_size
    wide = bool(block.incompat & _64BIT) and size >= 64
    at = (block.first_data_block + 1) * block.block_size
    table = read(at, block.groups * size)
    if len(table) < block.groups * size:
        raise Unsure("the group descriptors are cut short")
    may_be_uninit = bool(block.ro_compat & (_GDT_CSUM | _METADATA_CSUM))
    for number in range(block.groups):
        raw = table[number * size : (number + 1) * size]
        bitmap, inode_bitmap, inode_table, free, _, _, flags = struct.unpack_from("<IIIHHHH", raw)
        if wide:
            high = struct.unpack_from("<IIIH", raw, 0x20)
            bitmap, inode_bitmap, inode_table = (
                low | up << 32 for low, up in zip((bitmap, inode_bitmap, inode_table), high, strict=False)
            )
            free |= high[3] << 16
        first = block.first_data_block + number * block.blocks_per_group
        count = min(block.blocks_per_group, block.blocks - first)
        uninit = may_be_uninit and bool(flags & _BLOCK_UNINIT)
        yield _Group(number, first, count, bitmap, inode_bitmap, inode_table, free, uninit)


def _bitmap(block: Superblock, group: _Group, read: Reader) -> int:
    """The group's bitmap as one number, bit n = its n-th block; the padding behind a short last group cut off."""
    if not block.first_data_block < group.bitmap < block.blocks:
        raise Unsure(f"the bitmap of group {group.number} would lie at block {group.bitmap}")
    raw = read(group.bitmap * block.block_size, block.block_size)
    if len(raw) < block.block_size:
        raise Unsure(f"the bitmap of group {group.number} is cut short")
    return int.from_bytes(raw, "little") & ((1 << group.size) - 1)


def _metadata_outside_bitmaps(block: Superblock, groups: list[_Group]) -> dict[int, int]:
    """What is in use in groups whose bitmap was never written: superblock copies, descriptors, bitmaps, inodes."""
    used: dict[int, int] = {}

    def mark(first: int, count: int) -> None:
        for at in range(first, first + count):
            number, bit = divmod(at - block.first_data_block, block.blocks_per_group)
            if number < len(groups) and groups[number].uninit:
                used[number] = used.get(number, 0) | 1 << bit

    descriptors = -(-block.groups * block.descriptor_size // block.block_size)
    table = -(-block.inodes_per_group * block.inode_size // block.block_size)
    for group in groups:
        if _has_superblock(block, group.number):
            mark(group.first, 1 + descriptors + block.reserved_gdt_blocks)
        mark(group.bitmap, 1)
        mark(group.inode_bitmap, 1)
        mark(group.inode_table, table)
    return used


def _has_superblock(block: Superblock, number: int) -> bool:
    if number == 0:
        return True
    if block.compat & _SPARSE_SUPER2:
        return number in block.backup_groups
    if not block.ro_compat & _SPARSE_SUPER or number == 1:
        return True
    return any(_is_power(number, base) for base in (3, 5, 7))


def _is_power(number: int, base: int) -> bool:
    while number > 1 and number % base == 0:
        number //= base
    return number == 1
