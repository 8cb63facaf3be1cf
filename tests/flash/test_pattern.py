"""The pattern tells every place from every other one."""

from __future__ import annotations

import zlib

from imagesmith.flash.pattern import Pattern
from imagesmith.units import GiB, MiB

PATTERN = Pattern(bytes(range(32)))


def test_it_is_one_stream_however_it_is_cut() -> None:
    whole = PATTERN.at(5 * GiB, 64 * 1024)
    assert whole == b"".join(PATTERN.at(5 * GiB + at, 4096) for at in range(0, 64 * 1024, 4096))


def test_a_piece_tells_its_place() -> None:
    for offset in (0, 4096, MiB + 512, 300 * GiB):
        assert PATTERN.origin(PATTERN.at(offset, 4096), 512 * GiB) == offset


def test_what_is_not_wholly_the_pattern_tells_none() -> None:
    damaged = bytearray(PATTERN.at(MiB, 4096))
    damaged[4000] ^= 1
    for data in (bytes(4096), b"\xff" * 4096, bytes(damaged), b"", b"short"):
        assert PATTERN.origin(data, GiB) is None


def test_a_place_beyond_the_card_is_no_place_of_it() -> None:
    assert PATTERN.origin(PATTERN.at(2 * GiB, 4096), GiB) is None


def test_it_can_not_be_packed() -> None:
    assert len(zlib.compress(PATTERN.at(0, MiB), 9)) > MiB
