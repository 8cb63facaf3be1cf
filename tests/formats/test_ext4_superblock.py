"""What ext4 notes of its own life, made by mke2fs and changed by tune2fs and e2fsck."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest

from imagesmith.formats.ext4_superblock import AT, SIZE, crc32c, parse_life
from imagesmith.units import MiB

WITH_CHECKSUM = ("-O", "metadata_csum")
WITHOUT_CHECKSUM = ("-O", "^metadata_csum")


def made(folder: Path, *options: str) -> Path:
    path = folder / "fs"
    with path.open("wb") as file:
        file.truncate(8 * MiB)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", *options, path], check=True)
    return path


def start(path: Path) -> bytes:
    return path.read_bytes()[: 64 * 1024]


def dumped(path: Path) -> dict[str, str]:
    text = subprocess.run(["dumpe2fs", "-h", path], check=True, capture_output=True, text=True).stdout
    return dict(re.findall(r"^([A-Z][^:]+):\s+(.*)$", text, re.MULTILINE))


@pytest.mark.parametrize(("options", "proven"), [(WITH_CHECKSUM, True), (WITHOUT_CHECKSUM, False)])
def test_it_is_read_as_e2fsprogs_reads_it(tmp_path: Path, options: tuple[str, ...], proven: bool) -> None:
    path = made(tmp_path, *options)
    subprocess.run(["tune2fs", "-C", "7", "-T", "20300102030405", path], check=True, capture_output=True)
    life = parse_life(start(path))
    assert life
    assert life.uuid == dumped(path)["Filesystem UUID"].replace("-", "")
    assert str(life.mounts) == dumped(path)["Mount count"] == "7"
    assert (life.mounted, life.in_use, life.proven) == (0, False, proven)
    assert life.made <= life.written


def test_times_after_2038_and_2106_are_told(tmp_path: Path) -> None:
    path = made(tmp_path, *WITHOUT_CHECKSUM)
    for command in ("ssv mtime 0x80000000", "ssv mtime_hi 1"):
        subprocess.run(["debugfs", "-w", "-R", command, path], check=True, capture_output=True)
    life = parse_life(start(path))
    assert life
    assert life.mounted == (1 << 32) + 0x80000000


def test_a_flipped_bit_makes_it_unbelievable(tmp_path: Path) -> None:
    data = bytearray(start(made(tmp_path, *WITH_CHECKSUM)))
    for at in (0x2C, 0x34, 0x108, 0x3FC):
        data[AT + at] ^= 1
        assert parse_life(bytes(data)) is None
        data[AT + at] ^= 1
    assert parse_life(bytes(data))


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 2047])
def test_what_is_cut_short_is_none(tmp_path: Path, size: int) -> None:
    assert parse_life(start(made(tmp_path))[:size]) is None


def test_noise_is_none_or_a_value_and_never_an_error(tmp_path: Path) -> None:
    chance = random.Random(4)
    good = start(made(tmp_path, *WITHOUT_CHECKSUM))[: AT + SIZE]
    for _ in range(200):
        noise = bytearray(chance.randbytes(AT + SIZE))
        parse_life(bytes(noise))
        noise[AT + 0x38 : AT + 0x3A] = b"\x53\xef"
        parse_life(bytes(noise))
        damaged = bytearray(good)
        for _ in range(chance.randrange(1, 20)):
            damaged[chance.randrange(AT, AT + SIZE)] = chance.randrange(256)
        parse_life(bytes(damaged))


def test_the_checksum_is_castagnolis() -> None:
    # RFC 3720, B.4: inverted at the end there.
    assert crc32c(bytes(32)) ^ 0xFFFFFFFF == 0x8A9136AA
    assert crc32c(bytes(range(32))) ^ 0xFFFFFFFF == 0x46DD794E
