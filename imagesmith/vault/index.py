"""What is in a vault, without opening it: names, kinds, times and public parts. No secret, and no digest of one.

Called by `store`, and by `workflow` where only public parts are wanted (a plan, known_hosts). Reads index.json.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from imagesmith.disk import failures
from imagesmith.errors import ContentMalformed, UsageError

INDEX = "index.json"
SCHEMA = 1
LockKind = Literal["passphrase", "key-file", "plain"]
"""By what the vault's key is kept: sealed by a passphrase in the vault, in a file elsewhere, or there is no key."""
NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,80}(/[a-z0-9][a-z0-9.-]{0,80}){0,3}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
_MOST_BYTES = 4 * 1024 * 1024
_RESTORE = "restore the vault from a backup, see docs/vault.md"


@dataclass(frozen=True, slots=True)
class Entry:
    """One secret, as far as everybody may know it."""

    kind: str
    """`ssh-host-key`, `password`, `ca-key`, `signing-key`, `client-key`, `zerotier-identity`, or `imported`."""
    made: str
    """UTC, as 2026-11-23T11:44:00Z."""
    file: str
    """Where in the vault it is sealed. A new name with every change: the old one stays until the index names this."""
    public: str = ""
    """What everybody may know, as its users read it: a line of OpenSSH's, a public key in PEM, ZeroTier's
    identity.public, and of an authority its certificates up to the root. Empty where there is none."""
    fingerprint: str = ""
    """Of the public key: `SHA256:` and base64."""


@dataclass(frozen=True, slots=True)
class Index:
    lock: LockKind
    recipient: str = ""
    """The public half of the vault's key, age1...; empty in a plain vault."""
    identity_file: str = ""
    """Where in the vault its key is sealed by a passphrase."""
    backed_up: str = ""
    """When the last backup was made; empty = never."""
    secrets: Mapping[str, Entry] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    """What else is to be remembered of the cluster, in public words, as when it was founded."""

    def without(self, name: str) -> Index:
        return replace(self, secrets={one: entry for one, entry in self.secrets.items() if one != name})

    def with_secret(self, name: str, entry: Entry) -> Index:
        return replace(self, secrets={**self.secrets, name: entry})

    @property
    def files(self) -> frozenset[str]:
        """Every file that the vault consists of beside its index."""
        own = {self.identity_file} if self.identity_file else set[str]()
        return frozenset(own | {entry.file for entry in self.secrets.values()})


def read_index(folder: Path) -> Index:
    """The index of the vault in `folder`. Raises UsageError where there is none, ContentMalformed, IOFailed."""
    path = folder / INDEX
    if not folder.is_dir():
        raise UsageError("there is no vault", where=str(folder), hint="imagesmith vault create makes one")
    try:
        with failures(path, "reading the vault's index"):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as stream:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise _damaged(path, "it is no regular file")
                return parse(stream.read(_MOST_BYTES + 1), str(path))
    except Exception as error:
        if isinstance(error.__cause__, FileNotFoundError):
            hint = f"is it another folder? A vault is made by imagesmith vault create; else {_RESTORE}"
            raise ContentMalformed(
                "this folder has no index, so it is no vault", where=str(folder), hint=hint
            ) from None
        raise


def parse(data: bytes, where: str) -> Index:
    """Raises ContentMalformed, naming what is wrong first."""
    try:
        plain = json.loads(data) if len(data) <= _MOST_BYTES else None
        if not isinstance(plain, dict) or plain.get("vault") != "imagesmith":
            raise ValueError("it is not the index of a vault")
        if plain.get("schema") != SCHEMA:
            raise ValueError(f"its schema is {plain.get('schema')!r}, this imagesmith knows {SCHEMA}")
        return _index(plain)
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        what = error if isinstance(error, ValueError) else f"{type(error).__name__}, {error}"
        raise _damaged(Path(where), str(what)) from None


def encode(index: Index) -> bytes:
    """index.json."""
    secrets = {
        name: {key: getattr(entry, key) for key in Entry.__slots__ if getattr(entry, key)}
        for name, entry in sorted(index.secrets.items())
    }
    plain = {
        "vault": "imagesmith",
        "schema": SCHEMA,
        "lock": index.lock,
        "recipient": index.recipient,
        "identity_file": index.identity_file,
        "backed_up": index.backed_up,
        "facts": dict(sorted(index.facts.items())),
        "secrets": secrets,
    }
    return (json.dumps(plain, indent=1) + "\n").encode()


def is_time(text: str) -> bool:
    """Whether it is a time as the index has it: UTC, as 2026-11-23T11:44:00Z."""
    return bool(_TIME.fullmatch(text))


def check_name(name: str) -> str:
    """A secret's name, as it came. Raises UsageError."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} can't be the name of a secret",
            hint="a-z, 0-9, dots and dashes, up to four words with / between them, as nodes/node-1/node-password",
        )
    return name


def _index(plain: Mapping[str, Any]) -> Index:
    lock = plain["lock"]
    if lock not in get_args(LockKind):
        raise ValueError(f"its key is kept by {str(lock)[:40]!r}, which is unknown")
    recipient, identity = _text(plain["recipient"]), _text(plain["identity_file"])
    if bool(recipient) != (lock != "plain") or bool(identity) != (lock == "passphrase"):
        raise ValueError("what it says of its key does not fit together")
    if identity and not re.fullmatch(r"identity\.[0-9]{1,9}\.age", identity):
        raise ValueError("its key lies under a strange name")
    backed_up = _text(plain["backed_up"])
    if backed_up and not _TIME.fullmatch(backed_up):
        raise ValueError("the time of its backup is none")
    facts = {_text(key): _text(value) for key, value in plain["facts"].items()}
    secrets = {name: _entry(name, entry, lock) for name, entry in plain["secrets"].items()}
    return Index(lock, recipient, identity, backed_up, secrets, facts)


def _entry(name: str, plain: Mapping[str, Any], lock: str) -> Entry:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} can't be the name of a secret")
    entry = Entry(**{key: _text(value) for key, value in plain.items()})
    # It is never looked for outside of the vault, whoever wrote this.
    if not re.fullmatch(rf"{re.escape(name)}\.[0-9]{{1,9}}\.{'plain' if lock == 'plain' else 'age'}", entry.file):
        raise ValueError(f"{name} lies under a strange name")
    if not _TIME.fullmatch(entry.made):
        raise ValueError(f"the time of {name} is none")
    return entry


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("text was expected")
    return value


def _damaged(path: Path, what: str) -> ContentMalformed:
    return ContentMalformed(f"the vault's index is damaged or foreign: {what}", where=str(path), hint=_RESTORE)
