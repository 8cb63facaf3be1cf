"""Closed folders and files, whole or not at all: 0700 and 0600, a temporary beside the target, fsync, rename.

Called by `store` and `backup`; touches what it is given.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from imagesmith.disk import failures, sync_folder
from imagesmith.errors import ContentMalformed, UsageError
from imagesmith.invoker import give

LOCK = ".lock"
TEMPORARY = ".new"
"""How names of half-made files end."""
WAIT_S = 30.0
_WRITING = "writing the vault"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MOST_BYTES = 16 * 1024 * 1024


@contextmanager
def alone(folder: Path, wait_s: float = WAIT_S) -> Iterator[None]:
    """Nobody else changes the vault meanwhile. Raises UsageError after `wait_s`, IOFailed."""
    lock = filelock.FileLock(folder / LOCK, mode=0o600)
    with failures(folder / LOCK, "locking the vault"):
        try:
            lock.acquire(timeout=wait_s)
        except filelock.Timeout:
            raise UsageError(
                "another imagesmith is changing this vault", where=str(folder), hint="wait until it is done"
            ) from None
    try:
        with suppress(OSError):
            give(folder / LOCK)
        yield
    finally:
        lock.release()


def make_folder(path: Path) -> None:
    """A folder for its owner alone, durable; one that is there is taken. Raises OSError."""
    if not path.is_dir():
        path.mkdir(mode=0o700)
        path.chmod(0o700)
        give(path)
        sync_folder(path.parent)


def write_whole(path: Path, data: bytes, what: str = _WRITING) -> None:
    """`path` has exactly these bytes, or what it had before, at every moment. Raises IOFailed, NoSpace."""
    write_unnamed(path, data, what)
    sync(path.parent)


def sync(folder: Path) -> None:
    """The names in a folder last. Raises IOFailed."""
    with failures(folder, _WRITING):
        sync_folder(folder)


def write_unnamed(path: Path, data: bytes, what: str = _WRITING) -> None:
    """As `write_whole`, but the name lasts only once its folder is synced: for many files that nothing names yet."""
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    with failures(path, what):
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                os.fchmod(descriptor, 0o600)
                give(descriptor)
                stream.write(data)
                stream.flush()
                os.fsync(descriptor)
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_new(path: Path, data: bytes) -> None:
    """A file of 0600 that was not there before, whole. Raises UsageError where it is there, IOFailed, NoSpace."""
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    write_whole(temporary, data, "writing")
    try:
        with failures(path, "writing"):
            _name(temporary, path)
            sync_folder(path.absolute().parent)
    finally:
        temporary.unlink(missing_ok=True)


def read_closed(path: Path, what: str) -> bytes:
    """The bytes of a file in a vault, links not followed. Raises ContentMalformed where it is missing, IOFailed."""
    try:
        with failures(path, f"reading {what}"):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as stream:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise ContentMalformed(f"{what} is no regular file", where=str(path))
                return stream.read(_MOST_BYTES)
    except Exception as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise ContentMalformed(
                f"{what} is missing from the vault", where=str(path),
                hint="restore the vault from a backup, see docs/vault.md",
            ) from None  # fmt: skip
        raise


def open_to_others(folder: Path) -> tuple[Path, ...]:
    """What in the vault anybody but its owner can read, write or enter, the vault itself first."""
    paths = [folder, *sorted(folder.rglob("*"))]
    return tuple(path for path in paths if not path.is_symlink() and path.lstat().st_mode & _OTHERS)


def _name(temporary: Path, path: Path) -> None:
    """Unlike a rename, a link replaces nothing; on a file system without links (FAT) there is no such promise."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise UsageError("it is there already, and is not overwritten", where=str(path), hint="move it away") from None
    except PermissionError:
        if os.path.lexists(path):
            raise UsageError("it is there already, and is not overwritten", where=str(path)) from None
        temporary.rename(path)
