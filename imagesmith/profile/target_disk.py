"""Reads which disk an installer may overwrite: `disk: {serial: S4EVNX0M123}`, `{size: ">=200GiB", ssd: true}`.

Used by `profile.cluster` for nodes and by `profile.settings` for `--set disk=serial=...`.
"""

from __future__ import annotations

import re
from typing import Any

from imagesmith.model import TargetDisk
from imagesmith.profile.document import Scalar, Table, Value
from imagesmith.profile.schema import Fields, Place, boolean, table, text
from imagesmith.units import parse_size


def target_disk(value: Value, place: Place) -> TargetDisk | None:
    """A kind (see `profile.schema`): a table with one of its keys at least."""
    return table(_read)(value, place)


def target_disk_in_words(written: str) -> Value:
    """The table that `serial=S4EV,ssd=true` means, as `--set` takes it."""
    pairs = (part.partition("=") for part in written.split(",") if part.strip())
    return Table(tuple((Scalar(key.strip(), 0), Scalar(value.strip(), 0)) for key, _, value in pairs), 0)


def _read(fields: Fields) -> TargetDisk:
    serial = fields.take("serial", text(_serial), "")
    # None was written or it was wrong; what is wrong has been told.
    size: dict[str, Any] = _size_fields(fields.take("size", text(_size), ""))
    ssd = fields.take("ssd", boolean, None)
    if not any(fields.has(key) for key in ("serial", "size", "ssd")):
        fields.place.complain(fields.line, "it says nothing of the disk", "give serial, size or ssd")
    return TargetDisk(serial=serial, ssd=ssd, **size)


def _serial(written: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:+-]{2,79}", written):
        raise ValueError(
            f"{written[:80]!r} is not a disk's serial number; take the whole of what `lsblk -o NAME,SERIAL` tells"
        )
    return written


def _size(written: str) -> str:
    """`largest`, `smallest`, or a bound or two as `>=200GiB <=600GiB`."""
    if written not in ("largest", "smallest"):
        for bound in written.split():
            if not bound.startswith((">=", "<=")):
                raise ValueError(f"{written[:60]!r} is no such size; write largest, smallest, '>=200GiB' or '<=2TB'")
            parse_size(bound[2:])
    return written


def _size_fields(written: str) -> dict[str, Any]:
    if written in ("", "largest", "smallest"):
        return {"size": written}
    names = {">=": "at_least", "<=": "at_most"}
    return {names[bound[:2]]: parse_size(bound[2:]) for bound in written.split()}
