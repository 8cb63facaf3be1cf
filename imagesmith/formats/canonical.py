"""Canonical JSON of values, and with it the id of a plan: equal plans have one id, on every machine.

Called by `workflow` and `cli` (ids, golden plans) and by `formats.manifest`. Touches nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import PurePath

from imagesmith.model import (
    BootWords,
    BuildPlan,
    DebianSource,
    Digest,
    EnsureLine,
    EnsureToken,
    EnsureWord,
    FileContent,
    FileSource,
    HttpSource,
    Link,
    LockAccount,
    MakeDir,
    PutFile,
    Remove,
    RemoveKey,
    SetKey,
    Supply,
)
from imagesmith.secret import PasswordHash, Quoted, SecretRef, SecretText, WpaKey

# Members of unions: without their class's name, two of them could look alike.
_UNION_MEMBERS = (
    HttpSource, FileSource, DebianSource,
    PutFile, EnsureLine, EnsureToken, BootWords, SetKey, RemoveKey, EnsureWord, LockAccount, MakeDir, Link, Remove,
    FileContent, SecretRef, SecretText, PasswordHash, WpaKey, Quoted,
)  # fmt: skip


def to_plain(value: object) -> object:
    """The value as dicts, lists, text, numbers and None, dataclasses' fields in their order.

    Bytes become `{"sha256", "size"}`, a FileContent its digest and size, a FileSource's path its file name (where they
    lie on this machine decides nothing, and the manifest is given away), a SecretRef its name and when it was drawn,
    a Digest `sha256:<hex>`, an edit's mode text as `0644`. Raises TypeError on anything that has no place in a plan,
    a `Secret` first of all.
    """
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, bytes):
        return {"sha256": hashlib.sha256(value).hexdigest(), "size": len(value)}
    if isinstance(value, (Digest, PurePath)):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain_fields(value)
    if isinstance(value, Mapping):
        return {_key(key): to_plain(inner) for key, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(inner) for inner in value]
    raise TypeError(f"a {type(value).__name__} has no plain form")


def canonical_json(value: object) -> bytes:
    """UTF-8 JSON of `to_plain(value)`: keys sorted, no spaces. Raises TypeError as it does, ValueError on NaN."""
    plain = to_plain(value)
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def plan_id(plan: BuildPlan) -> str:
    """The plan's id, 64 hex digits: sha256 of its canonical JSON."""
    return hashlib.sha256(canonical_json(plan)).hexdigest()


def _plain_fields(value: object) -> dict[str, object]:
    plain: dict[str, object] = {}
    if isinstance(value, _UNION_MEMBERS):
        plain["kind"] = type(value).__name__
    for field in dataclasses.fields(value):  # type: ignore[arg-type]
        inner = getattr(value, field.name)
        if isinstance(value, FileContent) and field.name == "path":
            continue
        # Its digest says what it is, wherever it came from.
        if isinstance(value, Supply) and field.name in ("url", "file"):
            continue
        if isinstance(value, SecretRef) and (field.name == "written" or (field.name == "drawn" and not inner)):
            continue
        if isinstance(value, FileSource) and field.name == "path":
            plain["path"] = PurePath(value.path).name
        elif isinstance(value, (PutFile, MakeDir)) and field.name == "mode":
            plain["mode"] = f"{inner:04o}"
        else:
            plain[field.name] = to_plain(inner)
    return plain


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a mapping's key must be text, not {key!r}")
    return key
