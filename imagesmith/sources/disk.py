"""What the sources need beside `imagesmith.disk`: digests over holes, complaints that know the cache, trees removed."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from imagesmith import disk
from imagesmith.model import Digest

CHUNK = 1 << 20
_ZEROS = bytes(CHUNK)
_FULL = "free some space (`imagesmith cache prune`) or set IMAGESMITH_CACHE to a larger disk, then repeat"


def failures(path: Path | str, doing: str = "writing") -> AbstractContextManager[None]:
    """`imagesmith.disk.failures`, whose hint about room knows of the cache."""
    return disk.failures(path, doing, full=_FULL)


def digest_of(descriptor: int, size: int, progress: Callable[[int], None] = lambda done: None) -> Digest:
    """sha256 of the whole content of an open file, holes as zeros but not read. `progress` hears the bytes done."""
    hasher = hashlib.sha256()
    done = 0
    for start, end in disk.extents(descriptor, 0, size):
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


def remove_tree(path: Path) -> None:
    """Remove a file or tree; read-only folders in it are no hindrance, what cannot go stays."""
    if not path.is_dir() or path.is_symlink():
        with suppress(OSError):
            path.unlink()
        return
    for folder, names, _ in os.walk(path):
        for name in names:
            inside = os.path.join(folder, name)  # noqa: PTH118
            if not os.path.islink(inside):  # noqa: PTH114
                with suppress(OSError):
                    os.chmod(inside, 0o700)  # noqa: PTH101
    shutil.rmtree(path, ignore_errors=True)
