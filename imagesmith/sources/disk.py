"""What the sources need beside `imagesmith.disk`: digests that step over holes, complaints that know of the cache."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from imagesmith.disk import FULL, extents
from imagesmith.errors import IOFailed, NoSpace
from imagesmith.model import Digest

CHUNK = 1 << 20
_ZEROS = bytes(CHUNK)


@contextmanager
def failures(path: Path | str, doing: str = "writing") -> Iterator[None]:
    """Turn an OSError inside the block into NoSpace or IOFailed that names `path`."""
    try:
        yield
    except OSError as error:
        raise complaint(error, path, doing) from error


def complaint(error: OSError, path: Path | str, doing: str) -> NoSpace | IOFailed:
    """What to tell a person about an OSError: NoSpace when the file system is full, else IOFailed."""
    reason = error.strerror or str(error)
    if error.errno in FULL:
        return NoSpace(
            f"no space left while {doing}: {reason}",
            where=str(path),
            hint="free some space (`imagesmith cache prune`) or set IMAGESMITH_CACHE to a larger disk, then repeat",
        )
    return IOFailed(f"{doing} failed: {reason}", where=str(path), hint="look at the disk and the folder's permissions")


def digest_of(descriptor: int, size: int, progress: Callable[[int], None] = lambda done: None) -> Digest:
    """sha256 of the whole content of an open file, holes as zeros but not read. `progress` hears the bytes done."""
    hasher = hashlib.sha256()
    done = 0
    for start, end in extents(descriptor, 0, size):
        feed_zeros(hasher.update, start - done)
        done = start
        while done < end:
            data = os.pread(descriptor, min(CHUNK, end - done), done)
            if not data:
                raise OSError(errno.EIO, "the file became shorter while it was read")
            hasher.update(data)
            done += len(data)
            progress(done)
    if done < size:
        feed_zeros(hasher.update, size - done)
        progress(size)
    return Digest("sha256", hasher.hexdigest())


def feed_zeros(feed: Callable[[bytes], object], count: int) -> None:
    """Give `feed` that many zero bytes without making them anew."""
    while count >= CHUNK:
        feed(_ZEROS)
        count -= CHUNK
    if count:
        feed(_ZEROS[:count])
