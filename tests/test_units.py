"""Sizes: read strictly, shown shortly, aligned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.units import GiB, KiB, MiB, align_down, align_up, parse_size, show_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("17B", 17),
        ("1KiB", 1024),
        ("512 MiB", 512 * MiB),
        ("8GiB", 8 * GiB),
        ("2TiB", 2048 * GiB),
        ("2GB", 2_000_000_000),
        ("3KB", 3000),
        ("  8GiB ", 8 * GiB),
    ],
)
def test_a_size_is_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "GiB", "-1", "1.5GiB", "8gib", "8G", "8 G i B", "1e9", "0x10", "8GiBs", "8GiB\n8", "1_000", "8GiB;", "½"],
)
def test_anything_else_is_refused_by_its_own_text(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (10 * KiB, "10 KiB"),
        (300 * MiB, "300 MiB"),
        (GiB + GiB // 2, "1.5 GiB"),
        (5000 * GiB, "4.9 TiB"),
        (100_000 * GiB, "98 TiB"),
    ],
)
def test_a_size_is_shown_as_a_person_reads_it(size: int, text: str) -> None:
    assert show_size(size) == text


@given(st.integers(0, 1 << 60))
def test_what_is_shown_is_within_a_tenth_of_it(size: int) -> None:
    number, unit = show_size(size).split()
    factor = {"B": 1, "KiB": KiB, "MiB": MiB, "GiB": GiB, "TiB": 1024 * GiB}[unit]
    assert abs(float(number) * factor - size) <= size * 0.06


@given(st.integers(0, 1 << 60), st.integers(1, 1 << 30))
def test_aligning_goes_to_the_next_multiple_and_no_further(value: int, step: int) -> None:
    up, down = align_up(value, step), align_down(value, step)
    assert up % step == down % step == 0
    assert value - step < down <= value <= up < value + step
