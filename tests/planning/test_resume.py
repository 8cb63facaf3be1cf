"""What an interrupted run wrote: joined places, and a name that only the same image on the same card has."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from imagesmith.model import BlockMap, Device, MappedRange
from imagesmith.planning.flash import SourceImage
from imagesmith.planning.resume import Written, resume_key

IMAGE = SourceImage(Path("i.img"), 1000, b"")
CARD = Device("/dev/sdx", "sdx", "disk", 4000, serial="S1", by_id=("/dev/disk/by-id/usb-S1",), number="8:16", diskseq=7)


def test_places_that_touch_are_one() -> None:
    written = Written([(0, 10), (20, 10), (10, 10), (40, 5)])
    assert written.places == ((0, 30), (40, 5))
    assert written.size == 35


@pytest.mark.parametrize(
    ("offset", "size", "there"), [(0, 30, True), (5, 5, True), (25, 6, False), (30, 1, False), (40, 5, True)]
)
def test_only_what_is_there_whole_counts(offset: int, size: int, there: bool) -> None:
    assert Written([(0, 30), (40, 5)]).holds(offset, size) is there


def test_a_place_written_over_is_taken_out() -> None:
    assert Written([(0, 100)]).without(40, 20).places == ((0, 40), (60, 40))
    assert Written([(0, 10), (50, 10)]).without(0, 55).places == ((55, 5),)


def test_it_agrees_with_a_plain_set_of_bytes() -> None:
    chance = random.Random(4)
    written, plain = Written(), set[int]()
    for _ in range(400):
        offset, size = chance.randrange(500), chance.randrange(1, 20)
        if chance.random() < 0.3:
            written, plain = written.without(offset, size), plain - set(range(offset, offset + size))
        else:
            written.add(offset, size)
            plain |= set(range(offset, offset + size))
        at, length = chance.randrange(500), chance.randrange(1, 30)
        assert written.holds(at, length) == (set(range(at, at + length)) <= plain)
        assert written.size == len(plain)


def test_the_name_is_of_this_image_on_this_card() -> None:
    name = resume_key(IMAGE, "v1", CARD)
    mapped = SourceImage(Path("i.img"), 1000, b"", BlockMap(1000, 4096, (MappedRange(0, 0, "ab"),)))
    assert name == resume_key(IMAGE, "v1", Device("/dev/sdy", "sdy", "disk", 4000, by_id=CARD.by_id, number="8:32"))
    others = {
        resume_key(IMAGE, "v2", CARD),
        resume_key(mapped, "v1", CARD),
        resume_key(IMAGE, "v1", Device("/dev/sdx", "sdx", "disk", 4000, serial="S2")),
        resume_key(IMAGE, "v1", Device("/dev/loop0", "loop0", "loop", 4000, number="7:0", diskseq=9)),
        resume_key(IMAGE, "v1", Device("/dev/loop0", "loop0", "loop", 4000, number="7:0", diskseq=10)),
    }
    assert len(others) == 5
    assert name not in others


def test_without_a_name_for_either_nothing_is_kept() -> None:
    assert resume_key(IMAGE, "", CARD) == ""
    assert resume_key(IMAGE, "v1", Device("card.img", "card.img", "file", 4000)) == ""
