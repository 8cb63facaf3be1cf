"""What wrong places say of a card."""

from __future__ import annotations

import pytest
from faults.disks import random_bytes

from imagesmith.flash.findings import judge, look
from imagesmith.flash.pattern import Pattern
from imagesmith.units import GiB, MiB

PATTERN = Pattern(b"k" * 32)
SIZE = 64 * GiB
AT = 8 * GiB
MARK = (AT, 4096)


def told(found: bytes, good_end: int = SIZE) -> str:
    return judge("/dev/x", SIZE, [look(PATTERN, MARK, found, SIZE)], [MARK], good_end).what


def test_another_places_pattern_tells_the_distance() -> None:
    assert look(PATTERN, MARK, PATTERN.at(AT + 7 * GiB, 4096), SIZE).moved == 7 * GiB


def test_a_pattern_that_begins_in_the_middle_tells_it_too() -> None:
    found = PATTERN.at(AT, 1024) + PATTERN.at(AT + 7 * GiB - 512, 3072)
    assert look(PATTERN, MARK, found, SIZE).moved == 7 * GiB - 1536


def test_the_true_size_is_told_of_many_times_around() -> None:
    looked = [
        look(PATTERN, (at, 4096), PATTERN.at(at + times * 7 * GiB, 4096), SIZE)
        for at, times in ((0, 6), (4096, 4), (GiB, 5))
    ]
    assert f"has 7.0 GiB ({7 * GiB} bytes)" in judge("/dev/x", SIZE, looked, [MARK], SIZE).what


def test_few_changed_bits_are_counted() -> None:
    found = bytearray(PATTERN.at(AT, 4096))
    found[10] ^= 0b101
    assert "2 bits of what was written came back changed" in told(bytes(found))


def test_what_is_right_the_next_time_is_no_lost_write() -> None:
    assert "what it reads changes" in told(PATTERN.at(AT, 4096))


@pytest.mark.parametrize("found", [bytes(4096), b"\xff" * 4096, random_bytes(4096, 3)])
def test_something_else_did_not_stay(found: bytes) -> None:
    assert "did not stay" in told(found)
    assert "it has 8.0 GiB or little more" in told(found, AT)


def test_where_nothing_was_kept_no_size_is_told() -> None:
    assert told(bytes(4096), 0) == "it keeps nothing of what is written to it"


def test_the_pattern_of_another_run_is_not_mistaken() -> None:
    assert look(PATTERN, MARK, Pattern(b"l" * 32).at(AT + MiB, 4096), SIZE).moved == 0
