"""Files of this machine that an inventory names for an image: there, and digested. Called by `supplies` and `given`."""

from __future__ import annotations

import os
from pathlib import Path

from imagesmith.errors import UsageError
from imagesmith.model import Supply
from imagesmith.sources.disk import digest_of, failures


def own_file(path: Path, name: str, target: str, mode: int, named: str) -> Supply:
    """`name` says what it is, `named` where the inventory names it. Raises UsageError where there is none, IOFailed."""
    if not path.is_file():
        hint = f"put it there, or correct the path behind {named}"
        raise UsageError("there is no such file", where=str(path.absolute()), hint=hint)
    with failures(path, "reading"):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            digest = digest_of(descriptor, size)
        finally:
            os.close(descriptor)
    return Supply(name, target, "", digest, size, mode, str(path.absolute()))
