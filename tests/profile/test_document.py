"""The YAML reader keeps text as written, knows every line, and refuses what a person would not write."""

import time

import pytest

from imagesmith.errors import Problem
from imagesmith.profile import document
from imagesmith.profile.document import Listing, Scalar, Table, read


def tree(text):
    problems: list[Problem] = []
    value = read(text, "f.yaml", problems)
    assert problems == []
    return value


def complaints(text):
    problems: list[Problem] = []
    read(text, "f.yaml", problems)
    return [str(problem) for problem in problems]


@pytest.mark.parametrize("word", ["no", "0123", "1:20", "1e3", "2026-10-06", "0x10", "on", "1_000", "12.50"])
def test_a_plain_scalar_keeps_its_text(word):
    assert tree(f"a: {word}\n") == Table(((Scalar("a", 1), Scalar(word, 1)),), 1)


def test_a_quoted_scalar_is_known_as_quoted():
    assert tree("'no'\n") == Scalar("no", 1, plain=False)


def test_every_value_knows_its_line():
    value = tree("a: 1\n# a comment\nb:\n  - x\n  -\n    c: y\n")
    (_, _), (key, items) = value.entries
    assert (key.line, items.line) == (3, 4)
    assert [item.line for item in items.items] == [4, 6]


@pytest.mark.parametrize("text", ["a:\n", "a: ~\n", "a: null\n"])
def test_nothing_is_null(text):
    assert tree(text).entries[0][1].is_null


def test_quoted_nothing_is_text():
    assert not tree('a: ""\n').entries[0][1].is_null


def test_a_duplicate_key_names_both_lines():
    assert complaints("a: 1\nb: 2\na: 3\n") == [
        "f.yaml:3: a: the key 'a' stands here a second time, first on line 1 (keep one of them)"
    ]


def test_a_duplicate_key_deep_down_is_told_with_its_path():
    assert complaints("x:\n  - a: 1\n    a: 2\n")[0].startswith("f.yaml:3: x[0].a: ")


@pytest.mark.parametrize(
    "tagged",
    [
        "!!python/object/apply:os.system ['true']",
        "!!python/name:os.system",
        "!!binary aGk=",
        "!!str 1",
        "!secret x",
        "! x",
        "!!map {}",
        "!<tag:example.org,2026:x> y",
    ],
)
def test_tags_are_refused(tagged):
    assert any("is not allowed" in complaint for complaint in complaints(f"ok: 1\na: {tagged}\n"))
    assert complaints(f"ok: 1\na: {tagged}\n")[0].startswith("f.yaml:2: a")


def test_an_alias_is_written_out():
    value = tree("a: &x [1, 2]\nb: *x\n")
    assert value.entries[1][1] == Listing((Scalar("1", 1), Scalar("2", 1)), 1)


def test_an_alias_to_itself_is_refused():
    assert "points to nothing that ended before it" in complaints("a: &x\n  - *x\n")[0]


def test_many_aliases_are_refused():
    text = "a: &x 1\nb: [" + ", ".join(["*x"] * (document.MAX_ALIASES + 1)) + "]\n"
    assert "aliases" in complaints(text)[0]


def test_a_billion_laughs_are_refused_at_once():
    lines = ["a0: &a0 [" + ", ".join(["lol"] * 3000) + "]"]
    lines += [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 6)]
    before = time.monotonic()
    assert "once its aliases are written out" in complaints("\n".join(lines))[0]
    assert time.monotonic() - before < 5


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_a_deep_document_is_refused_at_once(opening):
    (complaint,) = complaints(opening * 5000)
    assert complaint.startswith("f.yaml:1: ")
    assert complaint.endswith("nested deeper than 16 levels")


def test_a_huge_document_is_refused_unread():
    assert "longer than" in complaints("# " + "x" * document.MAX_CHARACTERS)[0]


def test_merge_keys_are_refused():
    assert "merge keys" in complaints("a: &x {b: 1}\nc:\n  <<: *x\n")[0]


def test_a_second_document_is_refused():
    assert complaints("a: 1\n---\nb: 2\n")[0].startswith("f.yaml:2: a second document")


def test_an_empty_file_is_told():
    assert complaints("# nothing here\n") == ["f.yaml: the file is empty"]


def test_a_tab_is_told_with_its_line():
    (complaint,) = complaints("a:\n\tb: 1\n")
    assert complaint.startswith("f.yaml:2: not YAML: ")
    assert "spaces, not tabs" in complaint


def test_a_control_character_is_told_with_its_line():
    assert complaints("a: 1\nb: \x07\n") == [r"f.yaml:2: a character that YAML does not allow: '\x07'"]


def test_a_table_as_key_is_refused():
    assert "can't be a key" in complaints("{a: 1}: 2\n")[0]


def test_a_key_with_terminal_codes_is_shown_escaped():
    text = 'x:\n  "a\\e[31m": 1\n  "a\\e[31m": 2\n'
    assert "\x1b" not in "".join(complaints(text))


def test_several_mistakes_are_all_told():
    assert len(complaints("a: 1\na: 2\nb: !x 1\nc: *nowhere\n")) == 3
