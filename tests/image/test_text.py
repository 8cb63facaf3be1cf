"""Lines and words in small texts."""

from __future__ import annotations

import pytest

from imagesmith.image.text import with_line, with_token


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"a b\n", b"a b quiet\n"),
        (b"a b", b"a b quiet"),
        (b"a b \n", b"a b quiet\n"),
        (b"a  b\t\n", b"a  b\tquiet\n"),
        (b"", b"quiet"),
        (b"a quiet b\n", b"a quiet b\n"),
        (b"notquiet quietly\n", b"notquiet quietly quiet\n"),
    ],
)
def test_a_word_is_added_last_and_nothing_else_changes(old: bytes, new: bytes) -> None:
    assert with_token(old, "quiet") == new


@pytest.mark.parametrize(
    ("old", "why"),
    [
        (None, "missing"),
        (b"a\r\n", "carriage returns"),
        (b"\xef\xbb\xbfa\n", "byte order mark"),
        (b"a\nb\n", "2 lines"),
        (b"a\n\n", "2 lines"),
        (b"a\0b\n", "zero bytes"),
    ],
)
def test_a_command_line_that_a_loader_reads_otherwise_is_refused(old: bytes | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        with_token(old, "quiet")


@pytest.mark.parametrize("token", ["", "two words", "a\n", " a"])
def test_a_token_is_one_word(token: str) -> None:
    with pytest.raises(ValueError, match="one word"):
        with_token(b"a\n", token)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"", b"x=1\n"),
        (b"a\n", b"a\nx=1\n"),
        (b"a", b"a\nx=1\n"),
        (b"a\nx=1\nb\n", b"a\nx=1\nb\n"),
        (b"a\r\nb\r\n", b"a\r\nb\r\nx=1\r\n"),
        (b"x=1\r\n", b"x=1\r\n"),
        (b"#x=1\n", b"#x=1\nx=1\n"),
    ],
)
def test_a_line_is_added_where_it_is_missing(old: bytes, new: bytes) -> None:
    assert with_line(old, "x=1") == new


@pytest.mark.parametrize(("old", "line"), [(b"\xef\xbb\xbf", "a"), (b"\0", "a"), (b"a", "b\nc"), (b"a", "b\r")])
def test_strange_texts_and_lines_are_refused(old: bytes, line: str) -> None:
    with pytest.raises(ValueError):
        with_line(old, line)
