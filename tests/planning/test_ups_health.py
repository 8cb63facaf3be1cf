"""What is wrong with a UPS, from what a node tells of it."""

from __future__ import annotations

import pytest

from imagesmith.planning.ups_health import ups_word, wrong_ups


def wrong(**told: str) -> list[str]:
    facts = {f"ups.{key}": value for key, value in told.items()}
    return list(wrong_ups(lambda key: facts.get(key, "")))


def test_a_node_without_a_ups_is_not_judged() -> None:
    assert wrong() == []


def test_a_ups_on_mains_is_well() -> None:
    assert wrong(name="ups@localhost", status="OL CHRG", charge="80") == []


def test_on_battery_it_tells_what_is_left() -> None:
    found = wrong(name="ups@localhost", status="OB DISCHRG", charge="74", runtime="720")
    assert found == ["it is on battery: 74%, which it says lasts 12m"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("Data stale", "the primary has lost it; is its cable plugged in?"),
        ("Driver not connected", "the primary's driver does not run; is its cable plugged in?"),
        (
            "Connection failure: Connection refused",
            "its primary does not answer (Connection failure: Connection refused)",
        ),
        ("", "upsc did not answer; is NUT installed?"),
    ],
)
def test_silence_is_told_with_its_likely_reason(error: str, said: str) -> None:
    assert wrong(name="ups@h", error=error) == [f"it hears nothing of the UPS ups@h: {said}"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("LB", "the UPS's battery is low"),
        ("RB", "the UPS's battery is to be replaced"),
        ("OVER", "the UPS bears more than it can"),
        ("FSD", "the UPS's primary has given the word: the whole rack goes down"),
    ],
)
def test_a_word_of_the_ups_is_told_in_words(word: str, said: str) -> None:
    assert wrong(name="ups@h", status=f"OL {word}") == [said]


def test_a_ups_that_is_off_is_told_as_it_says() -> None:
    assert wrong(name="ups@h", status="OFF") == ["its UPS is neither on mains nor on battery: OFF"]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, ""),
        ({"ups.name": "ups@h"}, "?"),
        ({"ups.name": "ups@h", "ups.status": "OL CHRG", "ups.charge": "80"}, "OL CHRG 80%"),
    ],
)
def test_a_line_of_status_has_it_in_short(told: dict[str, str], said: str) -> None:
    assert ups_word(told) == said
