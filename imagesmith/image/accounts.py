"""Accounts in a file like /etc/shadow, shadow(5): one that no password opens. Bytes in, bytes out.

Called by `image.draft`. Raises ValueError, with a clause that goes on after the file's name, on what is no such file.
"""

from __future__ import annotations

import re

from imagesmith.image.text import refuse_strange

_FIELDS = 9
_LOCKED = (b"!", b"*")


def with_locked(text: bytes | None, account: str) -> bytes:
    """The text with the account's password behind a `!`, as `passwd --lock` puts it; every other byte stays."""
    if not re.fullmatch(r"[a-z_][a-z0-9_-]*", account):
        raise ValueError(f"can't have an account {account!r}")
    if text is None:
        raise ValueError(f"is missing, so {account} can't be locked in it")
    refuse_strange(text)
    start = account.encode() + b":"
    lines = text.split(b"\n")
    found = [number for number, line in enumerate(lines) if line.startswith(start)]
    if len(found) != 1:
        raise ValueError(f"has {len(found)} lines for {account}, there should be one")
    fields = lines[found[0]].split(b":")
    if len(fields) != _FIELDS:
        raise ValueError(f"has {len(fields)} fields for {account}, there should be {_FIELDS}")
    if not fields[1].startswith(_LOCKED):
        fields[1] = b"!" + fields[1]
        lines[found[0]] = b":".join(fields)
    return b"\n".join(lines)
