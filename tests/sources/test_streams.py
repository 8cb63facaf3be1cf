"""Readers that wrap readers."""

import hashlib
import io
import random

import pytest

from imagesmith.errors import ContentMalformed
from imagesmith.streams import Counting, Hashing, Limited, Peekable, pieces

DATA = random.Random(1).randbytes(10_001)


class Trickle:
    """Gives fewer bytes than asked for, as sockets do."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, 7))


def test_counting_counts_what_came_not_what_was_asked() -> None:
    counting = Counting(Trickle(DATA))
    counting.read(100)
    assert counting.count == 7
    assert b"".join(pieces(counting, 100)) == DATA[7:]
    assert counting.count == len(DATA)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_hashing_digests_all_that_passed(algorithm: str) -> None:
    hashing = Hashing(Trickle(DATA), algorithm)  # type: ignore[arg-type]
    assert b"".join(pieces(hashing, 100)) == DATA
    assert str(hashing.digest()) == f"{algorithm}:{hashlib.new(algorithm, DATA).hexdigest()}"


def test_limited_lets_exactly_the_limit_pass() -> None:
    assert b"".join(pieces(Limited(Trickle(DATA), len(DATA)), 100)) == DATA


def test_limited_stops_at_one_byte_more() -> None:
    with pytest.raises(ContentMalformed, match=r"the list is larger than the 9\.8 KiB"):
        list(pieces(Limited(Trickle(DATA), len(DATA) - 1, "the list"), 100))


def test_peeking_takes_nothing_away() -> None:
    peekable = Peekable(Trickle(DATA))
    assert peekable.peek(1000) == DATA[:1000]
    assert peekable.peek(10) == DATA[:10]
    assert b"".join(pieces(peekable, 100)) == DATA


def test_peeking_past_the_end_gives_what_there_is() -> None:
    assert Peekable(Trickle(b"abc")).peek(10) == b"abc"
