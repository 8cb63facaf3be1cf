"""Fields and kinds: typed values out, every mistake told at its own line, and the reading goes on."""

from dataclasses import dataclass

import pytest

from imagesmith.errors import Problem
from imagesmith.profile.schema import (
    boolean,
    choice,
    did_you_mean,
    integer,
    listed,
    parsed,
    read_document,
    size,
    table,
    text,
)


def result_of(kind, written):
    """The value of key `k` and the complaints."""
    problems: list[Problem] = []
    value = read_document(f"schema: 1\nk: {written}\n", "f.yaml", lambda fields: fields.take("k", kind, None), problems)
    return value, [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        (text(), "no", "no"),
        (text(), "0123", "0123"),
        (text(), "1:20", "1:20"),
        (text(), '"quoted"', "quoted"),
        (integer(0, 99), "42", 42),
        (integer(-5, 5), "-5", -5),
        (boolean, "true", True),
        (boolean, "no", False),
        (boolean, "Yes", True),
        (size, "512MiB", 512 * 1024 * 1024),
        (size, "4096", 4096),
        (choice("a", "b"), "b", "b"),
        (parsed(int), "7", 7),
        (listed(integer(0, 9)), "[1, 2]", (1, 2)),
        (text(), "", None),
        (listed(text()), "~", None),
    ],
)
def test_a_good_value_is_read(kind, written, value):
    assert result_of(kind, written) == (value, [])


@pytest.mark.parametrize(
    ("kind", "written", "complaint"),
    [
        (integer(0, 99), "0123", "unclear as a number"),
        (integer(0, 99), "100", "not between 0 and 99"),
        (integer(0, 99), "ten", "not a whole number"),
        (integer(0, 99), "1.5", "not a whole number"),
        (integer(0, 99), "٣", "not a whole number"),
        (integer(0, 99), '"42"', "quoted text"),
        (integer(0, 99), "[1]", "found a list"),
        (boolean, "maybe", "neither true nor false"),
        (boolean, '"true"', "quoted text"),
        (boolean, "1", "neither true nor false"),
        (size, "5 elephants", "is not a size"),
        (size, "99999TiB", "larger than any disk"),
        (text(), "[a]", "expected text, found a list"),
        (text(), "{a: b}", "expected text, found a table"),
        (choice("worker", "server"), "worke", "did you mean 'worker'?"),
        (listed(text()), "one", "expected a list, found the text 'one'"),
        (table(lambda fields: 1), "one", "expected keys and values, found the text 'one'"),
    ],
)
def test_a_wrong_value_is_told_at_its_line(kind, written, complaint):
    value, complaints = result_of(kind, written)
    assert value is None
    assert len(complaints) == 1
    assert complaints[0].startswith("f.yaml:2: k: ")
    assert complaint in complaints[0]


def test_a_list_keeps_its_good_items_and_tells_the_others():
    value, complaints = result_of(listed(integer(0, 9)), "[1, x, 3, 44]")
    assert value == (1, 3)
    assert [complaint.split(": ")[1] for complaint in complaints] == ["k[1]", "k[3]"]


@dataclass
class Pair:
    left: int
    right: int


def read_pair(fields):
    return Pair(fields.need("left", integer(0, 9), -1), fields.need("right", integer(0, 9), -1))


def test_a_table_goes_on_after_a_mistake():
    value, complaints = result_of(table(read_pair), "{left: x, right: 3, top: 1, lefft: 2}")
    assert value == Pair(-1, 3)
    assert len(complaints) == 3


def test_a_missing_key_is_told_at_the_table():
    _, complaints = result_of(table(read_pair), "\n  left: 1")
    assert complaints == ["f.yaml:3: k: the key 'right' is required"]


def test_an_unknown_key_is_told_with_a_guess():
    _, complaints = result_of(table(read_pair), "{left: 1, right: 2, rigth: 3}")
    assert "the key 'rigth' is unknown; did you mean 'right'?" in complaints[0]
    assert "known here: left, right" in complaints[0]


def test_an_empty_required_list_is_told():
    problems: list[Problem] = []
    read_document("schema: 1\nk: []\n", "f.yaml", lambda fields: fields.need_all("k", text()), problems)
    assert [str(problem) for problem in problems] == ["f.yaml:2: k: the list is empty"]


@pytest.mark.parametrize(
    ("first_line", "complaint"),
    [
        ("x: 1", "the key 'schema' is required"),
        ("schema: 2", "version 2 is unknown (it was written for a newer imagesmith)"),
        ("schema: one", "not a whole number"),
        ("schema: 0", "version 0 is unknown"),
    ],
)
def test_a_document_says_its_schema(first_line, complaint):
    problems: list[Problem] = []
    read_document(f"{first_line}\n", "f.yaml", lambda fields: fields.take("x", text(), None), problems)
    assert [complaint in str(problem) for problem in problems] == [True]
    assert str(problems[0]).startswith("f.yaml:1: ")


def test_a_document_that_is_a_list_is_told():
    problems: list[Problem] = []
    assert read_document("- a\n", "f.yaml", lambda fields: 1, problems) is None
    assert "expected keys and values, found a list" in str(problems[0])


def test_no_guess_is_made_for_a_word_far_from_all():
    assert did_you_mean("zebra", ["worker", "server"]) == ""
