"""Where a probe writes: enough places to meet every true size, few enough for a minute."""

from __future__ import annotations

import pytest

from imagesmith.model import Device
from imagesmith.planning.probing import MARK, SPREAD, ends, plan_probe
from imagesmith.units import GiB, KiB, MiB

SIZES = [512, 4 * KiB, MiB, 40 * MiB, 7_948_206_080, 64 * GiB, 1024 * GiB]


def card(size: int, sector: int = 512) -> Device:
    return Device("/dev/x", "x", "disk", size, logical_sector=sector)


@pytest.mark.parametrize("size", SIZES)
def test_first_and_last_block_and_each_power_of_two_are_tested(size: int) -> None:
    plan = plan_probe(card(size), full=False)
    tested = {*range(0, plan.window, MARK), *plan.marks}
    assert {0, (size - 1) // MARK * MARK} <= tested
    assert {1 << bit for bit in range(12, 50) if 1 << bit < size} <= tested
    assert sum(one for _, one in plan.markers) + plan.window == plan.tested <= size


@pytest.mark.parametrize("size", SIZES)
def test_nothing_reaches_beyond_the_card_or_is_tested_twice(size: int) -> None:
    plan = plan_probe(card(size), full=False)
    at = plan.window
    for offset, length in plan.markers:
        assert at <= offset
        at = offset + length
    assert at <= size


@pytest.mark.parametrize("real", [7 * GiB + 11 * MiB + 4 * KiB, 29 * GiB + 4 * KiB, 63 * GiB - 4 * KiB])
def test_whatever_the_true_size_a_marker_falls_into_the_window(real: int) -> None:
    plan = plan_probe(card(64 * GiB), full=False)
    assert any(real <= mark < real + plan.window for mark in plan.marks)


def test_a_card_of_64_gib_takes_a_minute_or_two() -> None:
    plan = plan_probe(card(64 * GiB), full=False)
    assert len(plan.marks) < SPREAD + 100
    assert plan.tested < 64 * MiB


def test_full_tests_all() -> None:
    assert plan_probe(card(64 * GiB), full=True).tested == 64 * GiB


def test_ends_are_whole_sectors_and_never_overlap() -> None:
    assert ends(card(512)) == ((0, 512),)
    assert ends(card(MiB + 4096, 4096)) == ((0, MiB), (MiB, 4096))
    assert ends(card(10 * MiB)) == ((0, MiB), (9 * MiB, MiB))
