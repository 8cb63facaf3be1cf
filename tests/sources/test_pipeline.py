"""Expanding a download while it comes, and one that was there already."""

from __future__ import annotations

import hashlib
import subprocess
import time
from pathlib import Path

import pytest

from imagesmith.errors import ContentMalformed
from imagesmith.sources.part import Part, Version
from imagesmith.sources.pipeline import Expansion

VERSION = Version("https://example.org/a.xz", '"one"')
FROM = "https://example.org/a.xz"
PATIENCE_S = 0.5


@pytest.fixture
def packed(image: bytes) -> bytes:
    argv = ["xz", "-c", "-1", "--block-size=100KiB"]
    return subprocess.run(argv, input=image, stdout=subprocess.PIPE, check=True).stdout


def _part(folder: Path, data: bytes) -> Part:
    part = Part(folder / "part")
    part.restart(VERSION)
    part.write(data)
    return part


def _expansion(part: Part, raw: Path) -> Expansion:
    return Expansion(part, raw, "sha256", 1 << 30, FROM)


def _appears(raw: Path) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not raw.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return raw.exists()


def test_a_part_that_is_not_whole_is_expanded_while_it_comes(packed: bytes, image: bytes, tmp_path: Path) -> None:
    with _part(tmp_path, packed[:-5000]) as part:
        with _expansion(part, tmp_path / "raw") as expansion:
            assert _appears(tmp_path / "raw")
            part.write(packed[-5000:])
        expansion.result(lambda done: None)
    assert (tmp_path / "raw").read_bytes() == image


def test_an_xz_that_was_whole_waits_so_that_its_blocks_go_in_parallel(
    packed: bytes, image: bytes, tmp_path: Path
) -> None:
    with _part(tmp_path, packed) as part:
        with _expansion(part, tmp_path / "raw") as expansion:
            assert not _appears(tmp_path / "raw")
        digest, expanded = expansion.result(lambda done: None)
    assert (tmp_path / "raw").read_bytes() == image
    assert digest.hex == hashlib.sha256(packed).hexdigest()
    assert expanded.digest.hex == hashlib.sha256(image).hexdigest()


def test_a_whole_xz_that_the_server_replaced_is_forgotten(packed: bytes, tmp_path: Path) -> None:
    newer = b"\xeb\x63\x90" + bytes(range(1, 200)) * 500
    with _part(tmp_path, packed) as part:
        with _expansion(part, tmp_path / "raw") as expansion:
            part.restart(VERSION)
            part.write(newer)
        digest, expanded = expansion.result(lambda done: None)
    assert (tmp_path / "raw").read_bytes() == newer
    assert (digest.hex, expanded.format) == (hashlib.sha256(newer).hexdigest(), "raw")


def test_a_whole_first_stream_of_two_is_no_whole_file(packed: bytes, image: bytes, tmp_path: Path) -> None:
    with _part(tmp_path, packed) as part:
        with _expansion(part, tmp_path / "raw") as expansion:
            part.write(packed)
        expansion.result(lambda done: None)
    assert (tmp_path / "raw").read_bytes() == image + image


def test_a_whole_xz_with_a_damaged_block_is_told(packed: bytes, tmp_path: Path) -> None:
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 1
    with _part(tmp_path, bytes(damaged)) as part:
        with _expansion(part, tmp_path / "raw") as expansion:
            pass
        with pytest.raises(ContentMalformed):
            expansion.result(lambda done: None)
