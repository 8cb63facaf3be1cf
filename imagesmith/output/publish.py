"""Publishing: files are made in a hidden folder beside the final one, and it takes the final name whole or not at all.

Called by `workflow.build`. What stands under a final name is a complete set: SHA256SUMS is its last file, every
file was synced before the name was given, and a set that was there before is exchanged in one step.
"""

from __future__ import annotations

import ctypes
import errno
import fnmatch
import hashlib
import os
import shutil
import stat
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import filelock

from imagesmith.disk import failures, sync_folder
from imagesmith.errors import ContentMalformed, IOFailed, UsageError
from imagesmith.events import Listener, Noted, unheard
from imagesmith.formats import checksums
from imagesmith.invoker import give

SUMS = "SHA256SUMS"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class Staging:
    """A folder to make files in, which `publish` gives the final name. Use as a context manager.

    `path` exists from entering on. Leaving without `publish` removes it. One process at a time has the staging of a
    name; another one waits. What killed runs left behind is removed on entering.
    """

    def __init__(
        self,
        final: Path,
        *,
        also_ours: Collection[str] = (),
        wait_s: float = -1,
        listener: Listener = unheard,
    ) -> None:
        """`also_ours`: patterns of names that may stand in an older set beside what its SHA256SUMS lists.

        `wait_s` is how long to wait for another build of the same name; -1 for as long as it takes.
        """
        self.final = final.absolute()
        self.path = self.final.with_name(f".{self.final.name}.staging")
        self._aside = self.final.with_name(f".{self.final.name}.replaced")
        self._also_ours = tuple(also_ours)
        self._wait_s = wait_s
        self._listener = listener
        self._lock = filelock.FileLock(self.final.with_name(f".{self.final.name}.lock"), mode=0o600)

    def __enter__(self) -> Staging:
        """Raises UsageError on a target that is not ours to replace, IOFailed, NoSpace."""
        _refuse_links(self.final)
        _make_folder(self.final.parent)
        self._take_lock()
        try:
            self._recover()
            _refuse_foreign(self.final, self._also_ours)
            with failures(self.path, "making the staging folder"):
                self.path.mkdir(mode=0o700)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            _remove(self.path)
        finally:
            self._lock.release()

    def write(self, name: str, data: bytes, *, mode: int = 0o644) -> Path:
        """A small file in the set."""
        path = self.path / name
        with failures(path, f"writing {name}"):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
        return path

    def publish(self, digests: Mapping[str, str]) -> Path:
        """Give the set its final name, which is returned.

        `digests` has the sha256 (hex) of files that were digested already, by name; the others are digested here.
        Raises UsageError when something foreign appeared under the final name meanwhile, IOFailed, NoSpace.
        """
        names = sorted(entry.name for entry in self.path.iterdir())
        lines = [f"{digests.get(name) or _digest(self.path / name)}  {name}\n" for name in names]
        self.write(SUMS, "".join(lines).encode())
        for name in (*names, SUMS):
            _settle(self.path / name)
        with failures(self.final, "publishing"):
            self.path.chmod(0o755)
            give(self.path)
            sync_folder(self.path)
            _refuse_links(self.final)
            _refuse_foreign(self.final, self._also_ours)
            self._swap()
            sync_folder(self.final.parent)
            _remove(self.path)
            _remove(self._aside)
        return self.final

    def _swap(self) -> None:
        if not self.final.exists():
            self.path.rename(self.final)
        elif not _exchange(self.path, self.final):
            # A kill between these two leaves the old set aside, and `_recover` brings it back.
            self.final.rename(self._aside)
            try:
                self.path.rename(self.final)
            except BaseException:
                if not self.final.exists():
                    self._aside.rename(self.final)
                raise

    def _take_lock(self) -> None:
        path = self._lock.lock_file
        with failures(path, "taking the lock"):
            _make_lock(Path(path))
            with suppress(filelock.Timeout):
                self._lock.acquire(timeout=0)
                return
            self._listener(Noted(f"another build of {self.final.name} is running; waiting for it"))
            try:
                self._lock.acquire(timeout=self._wait_s)
            except filelock.Timeout as error:
                raise IOFailed(
                    f"another build of {self.final.name} is still running",
                    where=path,
                    hint="wait until it is done, or stop it; then run this again",
                ) from error

    def _recover(self) -> None:
        """Put right what a killed run left. The lock is ours, so nobody is at work here."""
        with failures(self.final, "clearing what a stopped build left"):
            _remove(self.path)
            if self._aside.exists() and not self.final.exists():
                self._aside.rename(self.final)
            _remove(self._aside)


def _refuse_links(final: Path) -> None:
    if final.name in ("", ".", "..") or final.name.startswith("."):
        raise UsageError(f"{final.name!r} is no name for a build's folder", where=str(final))
    for path, what in ((final, "target"), (final.parent, "output folder")):
        if not path.is_symlink():
            continue
        true = path.resolve()
        if path == final or not true.is_relative_to(path.parent.resolve()):
            raise UsageError(
                f"the {what} is a symbolic link to {true}, which is somewhere else",
                where=str(path),
                hint="name the true folder with --output, or remove the link",
            )


def _refuse_foreign(final: Path, also_ours: Collection[str]) -> None:
    """Raise UsageError unless `final` is absent, empty, or a set that was published here."""
    with failures(final, "looking at the target"):
        if not final.exists():
            return
        if not final.is_dir():
            raise UsageError("a file is in the way", where=str(final), hint="move it, or choose another --output")
        found = {entry.name for entry in final.iterdir()}
        sums = final / SUMS
        listed = sums.read_text(errors="replace") if sums.is_file() and not sums.is_symlink() else ""
    try:
        ours = {line.name for line in checksums.parse(listed)} | {SUMS}
    except ContentMalformed:
        ours = set()
    foreign = sorted(
        name for name in found - ours if not any(fnmatch.fnmatchcase(name, pattern) for pattern in also_ours)
    )
    if foreign:
        raise UsageError(
            f"files that no build has put there would be lost: {', '.join(foreign[:5])}",
            where=str(final),
            hint="move them away, or choose another --output",
        )


def _make_folder(folder: Path) -> None:
    with failures(folder, "making the output folder"):
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            give(path)


def _make_lock(path: Path) -> None:
    """The lock's file, the user's also under `sudo`: it stays, and without sudo they must be able to take it."""
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            give(descriptor)
        finally:
            os.close(descriptor)


def _settle(path: Path) -> None:
    """Owner and contents of one file, safe on the disk."""
    with failures(path, f"writing {path.name} to the disk"):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise IOFailed("is no regular file, so it is not published", where=str(path))
            give(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _digest(path: Path) -> str:
    with failures(path, f"reading {path.name}"), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _remove(folder: Path) -> None:
    with suppress(FileNotFoundError):
        if folder.is_symlink() or not folder.is_dir():
            folder.unlink()
        else:
            shutil.rmtree(folder)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change names in one step; False where kernel, C library or file system can't."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        return False
    if library.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(other))
