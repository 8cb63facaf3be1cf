"""A locked account: its password opens nothing, and every other byte of the file is as it was."""

from __future__ import annotations

import pytest

from imagesmith.image.accounts import with_locked

OTHERS = b"daemon:*:20000:0:99999:7:::\nann:$y$j9T$x$y:20000:0:99999:7:::\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"root:$y$hash:20000:0:99999:7:::\n", b"root:!$y$hash:20000:0:99999:7:::\n"),
        (b"root::20000:0:99999:7:::\n", b"root:!:20000:0:99999:7:::\n"),
        (b"root:!$y$hash:20000:0:99999:7:::\n", b"root:!$y$hash:20000:0:99999:7:::\n"),
        (b"root:*:20000:0:99999:7:::\n", b"root:*:20000:0:99999:7:::\n"),
    ],
)
def test_only_the_password_of_the_account_changes(old: bytes, new: bytes) -> None:
    assert with_locked(OTHERS + old, "root") == OTHERS + new
    assert with_locked(old + OTHERS.rstrip(b"\n"), "root") == new + OTHERS.rstrip(b"\n")


@pytest.mark.parametrize(
    ("old", "why"),
    [
        (None, "is missing"),
        (OTHERS, "0 lines for root"),
        (b"root:x:1:0:9:7:::\nroot:x:1:0:9:7:::\n", "2 lines for root"),
        (b"root:x:0:0:root:/root:/bin/bash\n", "7 fields for root"),
        (b"\xef\xbb\xbfroot:x:1:0:9:7:::\n", "byte order mark"),
        (b"root:x\0:1:0:9:7:::\n", "zero bytes"),
    ],
)
def test_what_is_no_such_file_is_refused(old: bytes | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        with_locked(old, "root")


@pytest.mark.parametrize("account", ["", "a:b", "root\n", ".*", "Root"])
def test_an_account_is_a_plain_name(account: str) -> None:
    with pytest.raises(ValueError, match="can't have an account"):
        with_locked(OTHERS, account)
