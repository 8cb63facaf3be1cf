"""Files of this machine that an inventory names for an image: there, and digested. Called by `supplies` and `given`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from imagesmith.errors import UsageError
from imagesmith.model import Digest, Supply
from imagesmith.sources.disk import digest_of, failures

_DIGESTS: dict[tuple[int, ...], Digest] = {}
"""Of files that were read, by what tells that they are as they were; for the length of this process."""
_RESTS_NS = 2_000_000_000


def own_file(path: Path, name: str, target: str, mode: int, named: str) -> Supply:
    """`name` says what it is, `named` where the inventory names it. Raises UsageError where there is none, IOFailed."""
    if not path.is_file():
        hint = f"put it there, or correct the path behind {named}"
        raise UsageError("there is no such file", where=str(path.absolute()), hint=hint)
    with failures(path, "reading"):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            digest = _digested(descriptor, found)
        finally:
            os.close(descriptor)
    return Supply(name, target, "", digest, found.st_size, mode, str(path.absolute()))


def _digested(descriptor: int, found: os.stat_result) -> Digest:
    """Of an open file's content: one command plans several times, and many nodes have the same file.

    Who changes a file changes one of these. What was written a moment ago could be written once more within the same
    tick of the file system's clock, so it is read again until it has rested.
    """
    key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    if key not in _DIGESTS:
        rested = time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > _RESTS_NS
        digest = digest_of(descriptor, found.st_size)
        if not rested:
            return digest
        _DIGESTS[key] = digest
    return _DIGESTS[key]
