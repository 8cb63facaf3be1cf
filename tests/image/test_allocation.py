"""What counts as in use, held against dumpe2fs, the FAT as mtools fills it, and the whole where nothing is sure."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from made_disks import Disk, MiB, assemble, make_ext4, make_fat, make_tree, noise, tool

from imagesmith.events import Event, Noted
from imagesmith.image import ext4_layout, fat_layout
from imagesmith.image.allocation import used_ranges
from imagesmith.image.layout import Reader, Unsure
from imagesmith.image.raw import RawImage

Fresh = Callable[..., Disk]


def reader(path: Path) -> Reader:
    data = path.read_bytes()
    return lambda offset, size: data[offset : offset + size]


def superblock(path: Path) -> ext4_layout.Superblock:
    block = ext4_layout.parse_superblock(path.read_bytes()[1024:2048])
    assert block
    return block


def free_by_dumpe2fs(path: Path) -> set[int]:
    free: set[int] = set()
    for line in re.findall(r"^  Free blocks: (.*)$", tool("dumpe2fs", path), re.MULTILINE):
        for span in filter(None, line.split(", ")):
            first, _, last = span.partition("-")
            free.update(range(int(first), int(last or first) + 1))
    return free


def used(disk: Path) -> tuple[list[tuple[int, int]], list[str]]:
    told: list[Event] = []
    with RawImage(disk, writable=False) as raw:
        ranges = list(used_ranges(raw, told.append))
    return ranges, [event.message for event in told if isinstance(event, Noted)]


def covered(ranges: list[tuple[int, int]], start: int, end: int) -> bool:
    return any(first <= start and end <= last for first, last in ranges)


@pytest.mark.parametrize(
    "options",
    [
        ("-b", "4096"),
        ("-b", "1024"),
        ("-b", "1024", "-O", "^flex_bg"),
        ("-b", "1024", "-O", "^64bit,^metadata_csum"),
        ("-b", "1024", "-O", "^64bit,^metadata_csum,uninit_bg,^flex_bg"),
        ("-b", "2048", "-O", "sparse_super2"),
        ("-b", "1024", "-O", "^has_journal,^resize_inode"),
        ("-b", "1024", "-g", "4096"),
        ("-b", "4096", "-O", "^huge_file,^64bit"),
        ("-O", "none,filetype,sparse_super"),
        ("-O", "none,filetype,has_journal"),
    ],
)
def test_free_ext4_blocks_are_those_of_dumpe2fs(tmp_path: Path, options: tuple[str, ...]) -> None:
    path = make_ext4(tmp_path / "x.ext4", 41 * MiB + 3072, make_tree(tmp_path / "tree"), *options)
    block = superblock(path)
    taken = {each for first, end in ext4_layout.used_blocks(block, reader(path)) for each in range(first, end)}
    assert set(range(block.blocks)) - taken == free_by_dumpe2fs(path)


@pytest.mark.parametrize("feature", ["bigalloc", "meta_bg,^resize_inode", "mmp"])
def test_features_that_are_not_understood_make_it_unsure(tmp_path: Path, feature: str) -> None:
    path = make_ext4(tmp_path / "x.ext4", 40 * MiB, make_tree(tmp_path / "tree"), "-b", "4096", "-O", feature)
    with pytest.raises(Unsure, match=feature.split(",", maxsplit=1)[0]):
        list(ext4_layout.used_blocks(superblock(path), reader(path)))


def test_bitmaps_that_contradict_the_counts_make_it_unsure(tmp_path: Path) -> None:
    path = make_ext4(tmp_path / "x.ext4", 40 * MiB, make_tree(tmp_path / "tree"), "-b", "4096")
    tool("debugfs", "-w", "-R", "set_bg 0 free_blocks_count 17", path)
    with pytest.raises(Unsure, match="counts 17 free blocks"):
        list(ext4_layout.used_blocks(superblock(path), reader(path)))


@pytest.mark.parametrize(("size", "kind"), [(1, "fat12"), (16, "fat16"), (40, "fat32")])
def test_free_clusters_are_those_that_mtools_counts(tmp_path: Path, size: int, kind: str) -> None:
    files = {f"/f{number}": noise(1000 + 7001 * number, number) for number in range(9)}
    path = make_fat(tmp_path / "x.fat", size * MiB, files, "-s", "1", "-F", kind[3:])
    tool("mdel", "-i", path, "::/f3", "::/f6")
    boot = fat_layout.parse_boot_sector(path.read_bytes()[:512])
    assert boot and boot.kind == kind
    free = int(tool("mdir", "-i", path, "::").split(" bytes free")[0].rsplit("  ", 1)[1].replace(" ", ""))
    assert fat_layout.free_clusters(boot, reader(path)) * boot.cluster_size == free
    mapped = sum(end - start for start, end in fat_layout.used_ranges(boot, reader(path)))
    assert mapped == boot.size - free


def test_every_byte_of_a_fat_s_files_is_in_use(tmp_path: Path) -> None:
    content = noise(300_000, 5)
    path = make_fat(tmp_path / "x.fat", 40 * MiB, {"/a": noise(9000), "/b": content}, "-F", "32")
    boot = fat_layout.parse_boot_sector(path.read_bytes()[:512])
    assert boot
    data = path.read_bytes()
    kept = bytearray(len(data))
    for start, end in fat_layout.used_ranges(boot, reader(path)):
        kept[start:end] = data[start:end]
    assert content in bytes(kept)


def test_fats_that_differ_make_it_unsure(tmp_path: Path) -> None:
    path = make_fat(tmp_path / "x.fat", 40 * MiB, {"/a": noise(9000)}, "-F", "32")
    data = bytearray(path.read_bytes())
    boot = fat_layout.parse_boot_sector(bytes(data[:512]))
    assert boot
    data[boot.reserved_size + boot.fat_size + 4000] ^= 1
    with pytest.raises(Unsure, match="differ"):
        list(fat_layout.used_ranges(boot, lambda offset, size: bytes(data[offset : offset + size])))


@pytest.mark.parametrize("junk", [b"", bytes(512), noise(512), b"\xeb\x58\x90NTFS    " + bytes(499) + b"\x55\xaa"])
def test_what_is_no_fat_is_none(junk: bytes) -> None:
    assert fat_layout.parse_boot_sector(junk) is None


def test_tables_and_gaps_are_in_use_and_free_space_is_not(bases: dict[str, Disk]) -> None:
    for name in ("mbr", "gpt", "gpt4k"):
        disk = bases[name]
        ranges, notes = used(disk.path)
        size = disk.path.stat().st_size
        end = max(disk.offsets[role] + disk.sizes[role] for role in disk.offsets)
        assert covered(ranges, 0, 4 * MiB) and (end == size or covered(ranges, end, size))
        assert not notes
        assert sum(last - first for first, last in ranges) < size / 2


def test_ranges_are_in_order_apart_and_aligned(bases: dict[str, Disk]) -> None:
    ranges, _ = used(bases["gpt"].path)
    edges = [edge for pair in ranges for edge in pair]
    assert edges == sorted(set(edges)) and not any(edge % 4096 for edge in edges)


def test_a_dirty_ext4_is_taken_whole_and_said(fresh: Fresh) -> None:
    disk = fresh("mbr")
    tool("debugfs", "-w", "-R", "feature needs_recovery", f"{disk.path}?offset={disk.offsets['root']}")
    ranges, notes = used(disk.path)
    assert covered(ranges, disk.offsets["root"], disk.offsets["root"] + disk.sizes["root"])
    assert "wants recovery" in notes[0]


def test_an_unknown_file_system_is_taken_whole_though_it_is_all_zero(parts: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "zero").write_bytes(bytes(8 * MiB))
    disk = assemble(tmp_path / "x.img", "dos", [("swap", tmp_path / "zero", "82"), ("root", parts["ext4"], "83")])
    ranges, notes = used(disk.path)
    assert covered(ranges, disk.offsets["swap"], disk.offsets["swap"] + 8 * MiB)
    assert "partition 1" in notes[0] and "whole" in notes[0]


def test_what_lies_behind_a_file_system_in_its_partition_is_in_use(tmp_path: Path, parts: dict[str, Path]) -> None:
    padded = tmp_path / "padded"
    padded.write_bytes(parts["ext4"].read_bytes() + noise(MiB))
    disk = assemble(tmp_path / "x.img", "dos", [("root", padded, "83")], tail=0)
    ranges, _ = used(disk.path)
    start = disk.offsets["root"] + parts["ext4"].stat().st_size
    assert covered(ranges, start, start + MiB)
