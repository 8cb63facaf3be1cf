"""Files as the disk keeps them: holes, sparse copies, durable names, and the system's complaints as our errors.

A door, used by `image`, `output` and `sources`.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imagesmith.errors import IOFailed, NoSpace
from imagesmith.units import MiB

CHUNK = 4 * MiB
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_FICLONE = 0x40049409
# The kernel copies nothing by itself between these two files: other file systems, or one that can't.
_COPY_BY_HAND = (errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


@contextmanager
def failures(path: Path | str, doing: str, *, full: str = "free some space there, then run it again") -> Iterator[None]:
    """Turn an OSError inside the block into NoSpace or IOFailed that names `path`; `doing` as "writing the image".

    `full` is the hint when there is no room.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in FULL:
            raise NoSpace(f"no space left while {doing}: {reason}", where=str(path), hint=full) from error
        raise IOFailed(
            f"{doing} failed: {reason}", where=str(path), hint="look at the disk and the folder's permissions"
        ) from error


def room_for_large_files() -> Path:
    """Where temporary files may grow: $TMPDIR, else /var/tmp, since /tmp may be a small one in memory."""
    return Path(os.environ.get("TMPDIR") or "/var/tmp")


def extents(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The (start, end) of every stretch with data between `start` and `end`, in order; the rest are holes.

    File systems without holes give one stretch.
    """
    at = start
    while at < end:
        try:
            data = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            raise
        if data >= end:
            return
        at = min(os.lseek(descriptor, data, os.SEEK_HOLE), end)
        yield data, at


def copy_sparse(
    source: int, target: int, start: int, end: int, to: int = 0, *, told: Callable[[int], None] = lambda done: None
) -> None:
    """Copy bytes `start`..`end` of one open file into another at `to`, holes staying holes. Raises OSError.

    The target must be empty or hold zeros there, and gets its size. `told` hears how far the copy is, in bytes.
    """
    if os.fstat(target).st_size < to + end - start:
        os.ftruncate(target, to + end - start)
    for first, last in extents(source, start, end):
        at = first
        while at < last:
            at += _copy_piece(source, target, at, min(last - at, 16 * CHUNK), to + at - start)
            told(at - start)
    told(end - start)


def clone(source: int, target: int) -> bool:
    """Let the target share the source's blocks, where the file system can (btrfs, XFS); False where it can't."""
    with suppress(OSError):
        fcntl.ioctl(target, _FICLONE, source)
        return True
    return False


def _copy_piece(source: int, target: int, at: int, size: int, to: int) -> int:
    try:
        copied = os.copy_file_range(source, target, size, at, to)
        if copied:
            return copied
    except OSError as error:
        if error.errno not in _COPY_BY_HAND:
            raise
    data = os.pread(source, min(size, CHUNK), at)
    if not data:
        raise OSError(errno.EIO, f"the file ends at byte {at}, before its size")
    write_at(target, data, to)
    return len(data)


def write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at `offset`. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def sync_folder(folder: Path) -> None:
    """Make names in `folder` durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
