"""What FATs note of their own life, made by mkfs.fat and changed by mtools."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from imagesmith.formats.fat_state import parse_state
from imagesmith.units import KiB, MiB

SIZES = {"12": 4 * MiB, "16": 16 * MiB, "32": 64 * MiB}


def made(folder: Path, bits: str) -> Path:
    path = folder / "fat"
    with path.open("wb") as file:
        file.truncate(SIZES[bits])
    subprocess.run(["mkfs.fat", "-F", bits, "-i", "1234abcd", path], check=True, capture_output=True)
    return path


def start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64 * KiB)


@pytest.mark.parametrize("bits", SIZES)
def test_a_new_one_is_clean(tmp_path: Path, bits: str) -> None:
    state = parse_state(start(made(tmp_path, bits)))
    assert state
    assert (state.serial, state.dirty) == (0x1234ABCD, False)
    assert (state.free is not None) == (bits == "32")


def test_a_file_takes_room_in_fat32(tmp_path: Path) -> None:
    path = made(tmp_path, "32")
    before = parse_state(start(path))
    (tmp_path / "file").write_bytes(random.Random(1).randbytes(MiB))
    subprocess.run(["mcopy", "-i", path, tmp_path / "file", "::file"], check=True)
    after = parse_state(start(path))
    assert before and after and before.free and after.free
    assert after.free < before.free


@pytest.mark.parametrize(("bits", "at"), [("12", 0x25), ("16", 0x25), ("32", 0x41)])
def test_the_kernels_mark_of_a_mount_is_seen(tmp_path: Path, bits: str, at: int) -> None:
    data = bytearray(start(made(tmp_path, bits)))
    data[at] |= 1
    state = parse_state(bytes(data))
    assert state and state.dirty


def test_the_mark_in_the_table_of_a_fat32_is_seen(tmp_path: Path) -> None:
    data = bytearray(start(made(tmp_path, "32")))
    data[32 * 512 + 7] &= 0xF7
    state = parse_state(bytes(data))
    assert state and state.dirty


@pytest.mark.parametrize("size", [0, 511, 512, 700, 16 * KiB, 16 * KiB + 6])
def test_what_is_cut_short_is_no_error(tmp_path: Path, size: int) -> None:
    state = parse_state(start(made(tmp_path, "32"))[:size])
    assert (state is None) == (size < 512)


def test_noise_is_no_error(tmp_path: Path) -> None:
    chance = random.Random(5)
    good = start(made(tmp_path, "32"))[: 20 * KiB]
    for _ in range(200):
        parse_state(chance.randbytes(2 * KiB))
        damaged = bytearray(good)
        for _ in range(chance.randrange(1, 20)):
            damaged[chance.randrange(1024)] = chance.randrange(256)
        parse_state(bytes(damaged))
