"""The cache: whole, checked files under `<root>/<kind>/<key>/`, shared by processes and by `sudo`.

    <root>/entries/<kind>/<key>/data         the file, 0444, never written again
                                entry.json   size, digest, facts; its mtime is the last use
           refs/<name>                       small pointers to keys
           locks/<kind>.<key>                flock, one per entry; `hold`
           parts/<key>                       downloads that are not whole yet, kept for resuming
           tmp/<kind>.<key>.<random>/        `scratch`; flocked by its process, swept when that is gone

An entry is a folder that is renamed into place, so it is there whole or not at all.
Called by the sources and by the bootstrap; touches nothing outside its root.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from imagesmith.disk import sync_folder
from imagesmith.errors import IOFailed
from imagesmith.events import Listener, Noted, Progress, Warned, unheard
from imagesmith.model import Digest
from imagesmith.sources import owner
from imagesmith.sources.disk import digest_of, failures, remove_tree

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
PART_KIND = "raw"
"""Downloads are made for entries of this kind, so they are held together with them."""
# What has been compared with its digest in this run: data path -> (inode, size, mtime, ctime).
_checked: dict[str, tuple[int, int, int, int]] = {}


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A whole file in the cache."""

    kind: str
    """`raw` = expanded raw images, `files` = as published, `trees` ..."""
    key: str
    path: Path
    """The data file; read-only, never to be written."""
    size: int
    digest: Digest
    """sha256 of the data file, holes counting as zeros."""
    facts: Mapping[str, object]
    """What its maker wanted to remember; plain JSON."""
    used: float
    """Last use, seconds since 1970."""


class Cache:
    """Content by `(kind, key)`. Every method may raise IOFailed or NoSpace."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._owner = owner.of_folder(self.root)
        self._locks: dict[tuple[str, str], FileLock] = {}

    @classmethod
    def default(cls) -> Cache:
        """The user's cache: IMAGESMITH_CACHE, else the platform's; under sudo that of the user who called it."""
        return cls(owner.default_cache_folder())

    # -- reading ----------------------------------------------------------------------------------

    def get(self, kind: str, key: str, listener: Listener = unheard) -> CacheEntry | None:
        """The entry, or None. Its bytes are compared with its digest once per run.

        An entry that does not hold what it promises is told as Warned, removed and taken as absent.
        """
        folder = self._entry_folder(kind, key)
        if not os.path.lexists(folder):
            return None
        try:
            entry = self._read(kind, key)
            fault = self._recheck(entry, listener)
        except (OSError, ValueError, KeyError, TypeError) as error:
            fault = str(error)
        if fault:
            listener(Warned(f"cache entry {kind}/{key} was altered ({fault}); it is thrown away and made again"))
            self._discard(folder)
            return None
        with suppress(OSError):
            os.utime(folder / "entry.json", follow_symlinks=False)
        return entry

    def has(self, kind: str, key: str) -> bool:
        """Whether the entry is there, at once: its bytes are not compared, and this counts as no use of it."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            entry = self._read(kind, key)
            return entry.path.lstat().st_size == entry.size
        return False

    def entries(self) -> tuple[CacheEntry, ...]:
        """Every entry, the least recently used first; unreadable ones are left out."""
        found = []
        for folder in sorted(self.root.glob("entries/*/*")):
            with suppress(OSError, ValueError, KeyError, TypeError):
                found.append(self._read(folder.parent.name, folder.name))
        return tuple(sorted(found, key=lambda entry: (entry.used, entry.kind, entry.key)))

    @contextmanager
    def using(self, path: Path) -> Iterator[bool]:
        """While inside, `prune` leaves the entry with this data file alone; False when it was removed just before."""
        with ExitStack() as leaving:
            with failures(path, "reading the cache"), suppress(FileNotFoundError):
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
                leaving.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield path.exists()

    # -- writing ----------------------------------------------------------------------------------

    @contextmanager
    def hold(self, kind: str, key: str, listener: Listener = unheard) -> Iterator[None]:
        """Be the only process that makes this entry; waits for another one. May be nested."""
        lock = self._lock(kind, key)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            listener(Noted(f"waiting for another imagesmith that makes {kind}/{key}"))
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def scratch(self, kind: str, key: str) -> Iterator[Path]:
        """A fresh folder on the cache's file system, removed at the end whatever happens."""
        name = f"{_checked_name(kind)}.{_checked_name(key)}."
        with ExitStack() as leaving:
            with failures(self.root, "making a scratch folder"):
                top = self._folder("tmp")
                with _flocked(top):  # so that no other process sweeps it before it is locked
                    self._sweep(top)
                    folder = Path(tempfile.mkdtemp(prefix=name, dir=top))
                    leaving.callback(remove_tree, folder)
                    self._give(folder)
                    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                    leaving.callback(os.close, descriptor)
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield folder

    def part(self, key: str) -> Path:
        """Where a download that is not whole yet lies, between runs. Touch it only inside `hold(PART_KIND, key)`."""
        with failures(self.root):
            return self._folder("parts") / _checked_name(key)

    def publish(self, kind: str, key: str, data: Path, digest: Digest, facts: Mapping[str, object]) -> CacheEntry:
        """Move `data` (a file on the cache's file system) into the cache, durably, and make it read-only.

        `digest` is the sha256 that its writer computed; an entry of that name is replaced.
        """
        final = self._entry_folder(kind, key)
        with self.scratch(kind, key) as folder, failures(final, "filing in the cache"):
            made = folder / "entry"
            made.mkdir(mode=0o755)
            _move(data, made / "data")
            size = self._seal(made / "data")
            record = {"schema": 1, "size": size, "digest": str(digest), "facts": dict(facts)}
            (made / "entry.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
            self._seal(made / "entry.json")
            self._give(made)
            sync_folder(made)
            parent = self._folder("entries", kind)
            _take_place(made, final, folder / "old")
            sync_folder(parent)
        entry = self._read(kind, key)
        _checked[str(entry.path)] = _identity(entry.path.lstat())
        return entry

    def refer(self, name: str, key: str) -> None:
        """Let `name` point at `key`, atomically."""
        target = self._folder("refs") / _checked_name(name)
        with self.scratch("refs", name) as folder, failures(target):
            made = folder / "ref"
            made.write_text(_checked_name(key) + "\n")
            self._seal(made)
            made.rename(target)

    def referred(self, name: str) -> str | None:
        """The key that `name` points at, or None."""
        path = self.root / "refs" / _checked_name(name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "r") as file:
                key = file.read(200).strip()
        except OSError:
            return None
        return key if _NAME.fullmatch(key) else None

    def prune(self, *, older_than_s: float | None = None, everything: bool = False) -> tuple[CacheEntry, ...]:
        """Remove entries not used for `older_than_s` seconds, or all; never one that is held or in use.

        Returns what was removed. Broken downloads of the same age and dead scratch folders go too.
        """
        limit = time.time() if everything else time.time() - (older_than_s if older_than_s is not None else 1e18)
        removed = []
        with failures(self.root, "pruning the cache"):
            with _flocked(self._folder("tmp")):
                self._sweep(self._folder("tmp"))
            for entry in self.entries():
                if entry.used <= limit and self._remove_unless_held(entry):
                    removed.append(entry)
            for part in self._folder("parts").iterdir():
                with self._unheld(PART_KIND, part.name.removesuffix(".json")) as free:
                    if free and part.lstat().st_mtime <= limit:
                        part.unlink()
        return tuple(removed)

    # -- inside -----------------------------------------------------------------------------------

    def _entry_folder(self, kind: str, key: str) -> Path:
        return self.root / "entries" / _checked_name(kind) / _checked_name(key)

    def _read(self, kind: str, key: str) -> CacheEntry:
        folder = self._entry_folder(kind, key)
        data, record_path = folder / "data", folder / "entry.json"
        for path, is_kind in ((folder, stat.S_ISDIR), (data, stat.S_ISREG), (record_path, stat.S_ISREG)):
            status = path.lstat()
            if not is_kind(status.st_mode) or status.st_uid not in {0, os.geteuid(), *(self._owner or ())[:1]}:
                raise ValueError(f"{path.name} is a link, or another user's")
        used = record_path.lstat().st_mtime
        record = json.loads(record_path.read_text())
        digest = Digest.parse(record["digest"])
        return CacheEntry(kind, key, data, int(record["size"]), digest, dict(record["facts"]), used)

    def _recheck(self, entry: CacheEntry, listener: Listener) -> str:
        """What is wrong with the entry's bytes, or nothing."""
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            identity = _identity(os.fstat(descriptor))
            if identity[1] != entry.size:
                return f"it has {identity[1]} bytes instead of {entry.size}"
            if _checked.get(str(entry.path)) == identity:
                return ""
            heard = digest_of(
                descriptor, entry.size, lambda done: listener(Progress("check the cache", done, entry.size))
            )
        finally:
            os.close(descriptor)
        if heard != entry.digest:
            return "its bytes differ from its digest"
        _checked[str(entry.path)] = identity
        return ""

    def _remove_unless_held(self, entry: CacheEntry) -> bool:
        with self._unheld(entry.kind, entry.key) as free:
            if not free:
                return False
            try:
                with _flocked(entry.path, fcntl.LOCK_EX | fcntl.LOCK_NB, os.O_RDONLY):
                    self._discard(self._entry_folder(entry.kind, entry.key))
            except BlockingIOError:  # somebody is `using` it
                return False
        return True

    @contextmanager
    def _unheld(self, kind: str, key: str) -> Iterator[bool]:
        """Hold it if nobody does; says whether that worked."""
        lock = FileLock(str(self._lock_path(kind, key)), mode=0o600)  # a new one: `hold`'s would count as ours
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _discard(self, folder: Path) -> None:
        _checked.pop(str(folder / "data"), None)
        with (
            self.scratch(folder.parent.name, folder.name) as scratch,
            failures(folder, "removing from the cache"),
            suppress(FileNotFoundError),
        ):
            folder.rename(scratch / "old")  # at once, so that nobody sees half an entry

    def _lock_path(self, kind: str, key: str) -> Path:
        return self._folder("locks") / f"{_checked_name(kind)}.{_checked_name(key)}"

    def _lock(self, kind: str, key: str) -> FileLock:
        with failures(self.root):
            path = self._lock_path(kind, key)
            if not os.path.lexists(path):
                with suppress(FileExistsError):
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
                self._give(path)
            return self._locks.setdefault((kind, key), FileLock(str(path), mode=0o600))

    def _folder(self, *parts: str) -> Path:
        """A folder below the root, made when missing, each level ours and no link."""
        folder = self.root
        owner.make_folders(folder, self._owner)
        for part in parts:
            folder = folder / _checked_name(part)
            with suppress(FileExistsError):
                folder.mkdir(mode=0o755)
                self._give(folder)
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise IOFailed(
                    "a link or file stands where the cache keeps a folder", where=str(folder), hint="remove it"
                )
        return folder

    def _seal(self, path: Path) -> int:
        """Make a file read-only, the owner's and durable; returns its size."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fchmod(descriptor, 0o444)
            if self._owner:
                os.fchown(descriptor, *self._owner)
            os.fsync(descriptor)
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def _give(self, path: Path) -> None:
        if self._owner:
            os.chown(path, *self._owner, follow_symlinks=False)

    def _sweep(self, top: Path) -> None:
        """Remove scratch folders whose process is gone (killed, power cut)."""
        for folder in top.iterdir():
            try:
                with _flocked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    remove_tree(folder)
            except OSError:
                continue  # in use, or not ours


@contextmanager
def _flocked(path: Path, how: int = fcntl.LOCK_EX, flags: int = os.O_DIRECTORY) -> Iterator[None]:
    descriptor = os.open(path, flags | os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for the cache: a-z, 0-9, dot, dash, at most 128")
    return name


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise IOFailed(
            "lies on another file system than the cache", where=str(source), hint="make it inside Cache.scratch"
        ) from error


def _take_place(made: Path, final: Path, old: Path) -> None:
    """Rename a folder to its final name, moving away whatever stands there."""
    while True:
        try:
            made.rename(final)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        remove_tree(old)
        with suppress(FileNotFoundError):
            final.rename(old)
