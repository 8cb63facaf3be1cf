"""Lines KEY=value: one key's value or one of its words is changed and nothing else, or the file is refused."""

from __future__ import annotations

import subprocess

import pytest

from imagesmith.image.keys import with_key, with_word, without_key

ENVIRONMENT = b"verbosity=1\nconsole=serial\nethaddr=00:50:43:84:fb:2f\n#console=display\nextraargs=a  b"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"", b"console=both\n"),
        (b"a=1\n", b"a=1\nconsole=both\n"),
        (b"a=1", b"a=1\nconsole=both\n"),
        (b"a=1\nconsole=serial\nb=2\n", b"a=1\nconsole=both\nb=2\n"),
        (b"  console=serial", b"console=both"),
        (b"console=both\n", b"console=both\n"),
        (b"console=\n", b"console=both\n"),
        (b"#console=serial\n", b"#console=serial\nconsole=both\n"),
        (b"consoles=1\nmy_console=2\n", b"consoles=1\nmy_console=2\nconsole=both\n"),
        (b"\n\nconsole=1\n\n", b"\n\nconsole=both\n\n"),
        (b"caf\xe9=1\n", b"caf\xe9=1\nconsole=both\n"),
    ],
)
def test_a_key_gets_its_value_and_nothing_else_changes(old: bytes, new: bytes) -> None:
    assert with_key(old, "console", "both") == new
    assert with_key(new, "console", "both") == new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (ENVIRONMENT, ENVIRONMENT.replace(b"ethaddr=00:50:43:84:fb:2f\n", b"")),
        (b"ethaddr=1", b""),
        (b"#ethaddr=1\neth1addr=2\n", b"#ethaddr=1\neth1addr=2\n"),
    ],
)
def test_a_key_goes_and_nothing_else_changes(old: bytes, new: bytes) -> None:
    assert without_key(old, "ethaddr") == new
    assert without_key(new, "ethaddr") == new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (ENVIRONMENT, ENVIRONMENT + b" quiet"),
        (b"extraargs=a  b \nx=1\n", b"extraargs=a  b quiet\nx=1\n"),
        (b"extraargs=\n", b"extraargs=quiet\n"),
        (b"x=1", b"x=1\nextraargs=quiet\n"),
        (b"extraargs=a quiet b\n", b"extraargs=a quiet b\n"),
        (b"extraargs=quietly notquiet\n", b"extraargs=quietly notquiet quiet\n"),
        (b"extraargs=a=b=c\n", b"extraargs=a=b=c quiet\n"),
    ],
)
def test_a_word_is_added_last_to_its_keys_value(old: bytes, new: bytes) -> None:
    assert with_word(old, "extraargs", "quiet") == new
    assert with_word(new, "extraargs", "quiet") == new


STRANGE = [
    (None, "is missing"),
    (b"a=1\r\nextraargs=1\r\n", "carriage returns"),
    (b"\xef\xbb\xbfextraargs=1\n", "byte order mark"),
    (b"extraargs=1\0\n", "zero bytes"),
    (b"extraargs=1\nb=2\nextraargs=1\n", "says extraargs 2 times"),
    (b"extraargs =1\n", "does not read extraargs=value"),
    (b"extraargs\n", "does not read extraargs=value"),
    (b"extraargs=1 \\\n2\n", "over the end of a line"),
    (b"a=1\\\nextraargs=2\n", "over the end of a line"),
]


@pytest.mark.parametrize(("old", "why"), STRANGE)
def test_what_two_readers_could_take_differently_is_refused(old: bytes | None, why: str) -> None:
    for change in (
        lambda: with_key(old, "extraargs", "x"),
        lambda: without_key(old, "extraargs"),
        lambda: with_word(old, "extraargs", "x"),
    ):
        with pytest.raises(ValueError, match=why):
            change()


def test_nothing_is_added_within_a_value() -> None:
    with pytest.raises(ValueError, match="ends in a backslash"):
        with_key(b"a=1\\", "extraargs", "x")


def test_a_word_is_not_put_among_quotes() -> None:
    with pytest.raises(ValueError, match="quotes in the value of extraargs"):
        with_word(b'extraargs="a b"\n', "extraargs", "quiet")


@pytest.mark.parametrize("value", ["a\nb", "a\r", " a", "a ", "$(reboot)", "`a`", "'", '"a"', "a\\", "\0"])
def test_a_value_is_one_that_every_reader_takes_alike(value: str) -> None:
    with pytest.raises(ValueError, match="can't get"):
        with_key(b"", "console", value)


@pytest.mark.parametrize("word", ["", "two words", "a\n", "$x", "'"])
def test_a_word_is_one_word(word: str) -> None:
    with pytest.raises(ValueError, match="one word"):
        with_word(b"", "extraargs", word)


@pytest.mark.parametrize("key", ["", "a b", "a=b", "1a", "a\n", "a-b"])
def test_a_key_is_a_name(key: str) -> None:
    with pytest.raises(ValueError, match="as a key"):
        with_key(b"", key, "x")


def test_a_shell_reads_what_was_set() -> None:
    text = with_key(b"# ENABLED=maybe\nENABLED=true\nSIZE=50M\n", "ENABLED", "false") + b'echo "$ENABLED $SIZE"\n'
    assert subprocess.run(["sh"], input=text, capture_output=True, check=True).stdout == b"false 50M\n"
