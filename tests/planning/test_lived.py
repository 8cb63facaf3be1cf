"""When a card's own notes count as life, and what they explain."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagesmith.formats.ext4_superblock import AT, SIZE, crc32c
from imagesmith.planning.lived import LOOK, Life, Starts, life_of, looked_at
from imagesmith.units import KiB, MiB

DISK = 64 * MiB
ROOT = (16 * MiB + 512, 32 * MiB)
INSIDE = (20 * MiB, 4096)
OUTSIDE = (8 * MiB, 4096)


@dataclass
class Disk:
    """The starts of an image and of its card, which is changed by the test."""

    image: dict[int, bytes]
    card: dict[int, bytearray]
    checked: bool

    def note(self, at: int, value: int, width: str = "<I") -> None:
        block = self.card[ROOT[0]]
        struct.pack_into(width, block, AT + at, value)
        if self.checked:
            struct.pack_into("<I", block, AT + 0x3FC, crc32c(block[AT : AT + 0x3FC]))

    def life(self, *differing: tuple[int, int]) -> Life | None:
        card = {at: bytes(data) for at, data in self.card.items()}
        return life_of(Starts(DISK, self.image), Starts(DISK, card), differing)


@pytest.fixture(params=[True, False], ids=["checksum", "no checksum"])
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Disk:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(DISK)
    table = f"label: dos\nstart={ROOT[0] // 512}, size={ROOT[1] // 512}\n"
    subprocess.run(["sfdisk", "--quiet", path], input=table, text=True, check=True)
    option = "metadata_csum" if request.param else "^metadata_csum"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", option, "-E", f"offset={ROOT[0]}", path, "32768k"], check=True)
    data = path.read_bytes()
    image = {at: data[at : at + size] for at, size in looked_at(data[:MiB], DISK)}
    assert set(image) == {0, ROOT[0]}
    assert all(len(one) == LOOK for one in image.values())
    return Disk(image, {at: bytearray(one) for at, one in image.items()}, request.param)


def mounted(disk: Disk) -> Disk:
    disk.note(0x2C, 1_795_000_000)
    disk.note(0x34, 2, "<H")
    return disk


def test_without_a_note_of_a_mount_there_was_no_life(disk: Disk) -> None:
    assert disk.life(INSIDE) is None


def test_a_mount_explains_what_lies_in_its_file_system_and_nothing_else(disk: Disk) -> None:
    life = mounted(disk).life(OUTSIDE, INSIDE)
    assert life
    assert life.told == "partition 1 was mounted 2 times, last on 2026-11-18 11:06 UTC"
    assert life.unexplained == (OUTSIDE,)


def test_a_grain_at_the_edge_is_explained_and_what_goes_on_beyond_is_not(disk: Disk) -> None:
    start, end = 16 * MiB, 48 * MiB + 4096
    life = mounted(disk).life((start - 8 * KiB, 12 * KiB), (end - 4096, 8192))
    assert life
    assert life.unexplained == ((start - 8 * KiB, 8 * KiB), (end, 4096))


def test_one_changed_figure_counts_only_where_a_checksum_speaks_for_it(disk: Disk) -> None:
    disk.note(0x2C, 1_795_000_000)
    assert (disk.life(INSIDE) is not None) == disk.checked


def test_another_file_system_is_no_life_of_this_one(disk: Disk) -> None:
    mounted(disk).note(0x68, 0x12345678)
    assert disk.life(INSIDE) is None


def test_a_check_by_e2fsck_that_begins_to_count_anew_is_no_riddle(disk: Disk) -> None:
    disk.note(0x2C, 1_795_000_000)
    disk.note(0x34, 0, "<H")
    image = bytearray(disk.image[ROOT[0]])
    struct.pack_into("<H", image, AT + 0x34, 9)
    if disk.checked:
        struct.pack_into("<I", image, AT + 0x3FC, crc32c(bytes(image[AT : AT + 0x3FC])))
    disk.image[ROOT[0]] = bytes(image)
    life = disk.life(INSIDE)
    assert life
    assert "mounted at least once" in life.told


def test_an_impossible_date_is_told_as_one(disk: Disk) -> None:
    mounted(disk)
    disk.note(0x275, 0xFF, "<B")
    life = disk.life(INSIDE)
    assert life
    assert "last on a date that makes no sense" in life.told


def test_a_new_table_is_explained_but_not_a_loader_beside_it(disk: Disk) -> None:
    mounted(disk).card[0][440] ^= 1
    life = disk.life((0, 4096))
    assert life and life.unexplained == ()
    disk.card[0][100] ^= 1
    life = disk.life((0, 4096))
    assert life and life.unexplained == ((0, 4096),)


def test_a_table_that_lost_its_partition_is_not_explained(disk: Disk) -> None:
    mounted(disk).card[0][446:462] = bytes(16)
    life = disk.life((0, 4096))
    assert life and life.unexplained == ((0, 4096),)


def test_the_places_of_an_image_without_a_table_are_its_start() -> None:
    assert looked_at(bytes(MiB), DISK) == ((0, LOOK),)
    assert looked_at(b"", 512) == ((0, 512),)


def test_superblocks_are_within_what_is_looked_at() -> None:
    assert AT + SIZE <= LOOK
