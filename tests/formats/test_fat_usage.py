"""How full a FAT is, compared with what mtools, mkfs.fat and exfatprogs say of the same file system."""

from __future__ import annotations

import gzip
import random
import subprocess
from pathlib import Path

import pytest

from imagesmith.formats.fat_usage import used_bytes
from imagesmith.units import KiB, MiB

EXFAT = Path(__file__).with_name("camera.exfat.gz")
"""8 MiB, made by `mkfs.exfat -L CAMERA` (exfatprogs 1.2.0); dump.exfat counts 1536 clusters of 4 KiB, 1532 free."""


def used(data: bytes) -> int | None:
    return used_bytes(lambda offset, size: data[offset : offset + size])


def call(*argv: str | Path) -> None:
    subprocess.run([str(word) for word in argv], check=True, capture_output=True)


def made(folder: Path, width: int, size: int, *options: str) -> Path:
    path = folder / f"fat{width}"
    with path.open("wb") as file:
        file.truncate(size)
    call("mkfs.fat", "-F", str(width), *options, path)
    return path


@pytest.mark.parametrize(("width", "size"), [(12, 4 * MiB), (16, 64 * MiB), (32, 80 * MiB)])
def test_files_are_counted_in_every_width(tmp_path: Path, width: int, size: int) -> None:
    path = made(tmp_path, width, size)
    empty = used(path.read_bytes())
    assert empty is not None
    assert empty <= 4 * KiB
    (tmp_path / "photo").write_bytes(random.Random(1).randbytes(2 * MiB))
    call("mcopy", "-i", path, tmp_path / "photo", "::photo")
    assert used(path.read_bytes()) == empty + 2 * MiB


def test_a_camera_that_does_not_keep_the_note_of_free_clusters_is_seen_through(tmp_path: Path) -> None:
    path = made(tmp_path, 32, 80 * MiB)
    note = path.read_bytes()[512:1024]
    (tmp_path / "photo").write_bytes(random.Random(1).randbytes(2 * MiB))
    call("mcopy", "-i", path, tmp_path / "photo", "::photo")
    data = bytearray(path.read_bytes())
    data[512:1024] = note
    assert (used(bytes(data)) or 0) >= 2 * MiB


def test_what_lies_behind_the_part_of_the_table_that_is_read_is_taken_from_the_note(tmp_path: Path) -> None:
    path = made(tmp_path, 32, 80 * MiB)
    data = bytearray(path.read_bytes())
    data[512 + 488 : 512 + 492] = (1000).to_bytes(4, "little")
    clusters = 80 * MiB // 512 - 1300
    assert (used(bytes(data)) or 0) > clusters * 512 - 2 * MiB


def test_an_exfat_is_counted_by_its_bitmap() -> None:
    data = bytearray(gzip.decompress(EXFAT.read_bytes()))
    assert used(bytes(data)) == (1536 - 1532) * 4 * KiB
    heap = int.from_bytes(data[88:92], "little") * 512
    assert data[heap] == 0b1111
    data[heap + 1] = 0xFF
    assert used(bytes(data)) == 12 * 4 * KiB


def test_what_is_no_fat_is_not_known() -> None:
    assert used(b"") is None
    assert used(random.Random(1).randbytes(4096)) is None


def test_a_broken_fat_is_not_known_and_raises_nothing(tmp_path: Path) -> None:
    whole = made(tmp_path, 32, 80 * MiB).read_bytes()[: 4 * KiB]
    exfat = gzip.decompress(EXFAT.read_bytes())
    for seed in range(300):
        chance = random.Random(seed)
        for good in (whole, exfat[: 4 * KiB]):
            broken = bytearray(good)
            for _ in range(8):
                broken[chance.randrange(11, 120)] = chance.randrange(256)
            answer = used(bytes(broken))
            assert answer is None or answer >= 0
