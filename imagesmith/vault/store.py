"""A vault made, changed and opened. Called by `workflow.vault`; touches one folder.

The index is what counts: a secret is written under a new name first, and is there once the index names it. So a power
cut leaves the vault as it was before a command or as it is after it, and perhaps a file that nobody names.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from imagesmith.disk import failures
from imagesmith.errors import ContentMalformed, UsageError, VaultLocked
from imagesmith.identity.authorities import Upper, VaultKey
from imagesmith.secret import Secret
from imagesmith.vault import sealing
from imagesmith.vault.draw import Drawn, belongs
from imagesmith.vault.files import LOCK, TEMPORARY, alone, make_folder, read_closed, sync, write_unnamed, write_whole
from imagesmith.vault.index import INDEX, Entry, Index, LockKind, check_name, encode, read_index
from imagesmith.vault.names import OLD, is_begun, stays


@dataclass(frozen=True, slots=True)
class Key:
    """How a vault is locked, when it is made or locked anew. `identity` is None in a plain one."""

    kind: LockKind
    identity: Secret | None = None
    passphrase: Secret | None = None
    """Seals the identity into the vault; with a key file there is none."""

    @property
    def recipient(self) -> str:
        return sealing.recipient_of(self.identity) if self.identity else ""


def create(folder: Path, key: Key) -> Index:
    """An empty vault. Raises UsageError where there is something already, IOFailed."""
    if folder.exists() and (not folder.is_dir() or any(not _unfinished(one) for one in folder.iterdir())):
        raise UsageError("it is there already", where=str(folder), hint="imagesmith vault list shows what is in it")
    sealed = _sealed_key(key)
    with failures(folder, "making the vault"):
        make_folder(folder)
    with alone(folder):
        if (folder / INDEX).exists():
            raise UsageError("another imagesmith has just made it", where=str(folder))
        name = _identity_file(1) if sealed else ""
        if sealed:
            write_whole(folder / name, sealed)
        index = Index(key.kind, key.recipient, name)
        write_whole(folder / INDEX, encode(index))
    return index


class Change:
    """Secrets put into a vault; see `changing`."""

    def __init__(self, folder: Path, index: Index) -> None:
        self._folder, self.index = folder, index
        self.written: list[Path] = []

    def put(self, name: str, drawn: Drawn) -> None:
        """A secret under its name, in place of one that is there. Sealed at once; the vault need not be open."""
        content = drawn.content
        data = content.reveal() if self.index.lock == "plain" else sealing.seal(content, self.index.recipient)
        self._put(name, data, Entry(drawn.kind, now(), "", drawn.public, drawn.fingerprint))

    def keep_old(self, name: str) -> None:
        """What is under a name is under NAME.old too, so that its end is a decision of its own.

        Where a rotation of it is begun, NAME.old is what nodes still have, and stays.
        """
        if name + OLD in self.index.secrets and is_begun(self.index.facts, name):
            return
        entry = self.index.secrets[name]
        self._put(name + OLD, read_closed(self._folder / entry.file, name), entry)

    def drop(self, name: str) -> None:
        """What is under a name is no longer there."""
        self.index = self.index.without(name)

    def remember(self, facts: Mapping[str, str]) -> None:
        """Public words about the cluster, kept in the index; an empty one is forgotten."""
        told = {**self.index.facts, **facts}
        self.index = replace(self.index, facts={key: value for key, value in told.items() if value})

    def backed_up(self, when: str) -> None:
        self.index = replace(self.index, backed_up=when)

    def lock_anew(self, opened: Opened, key: Key) -> None:
        """Every secret sealed for another key, and nothing left that the old one opens."""
        # As it is now that nobody else changes it, which may be more than when it was opened.
        now_open = _opened(self._folder, self.index, opened.identity)
        contents = {name: now_open._unsealed(name) for name in self.index.secrets}
        name = _identity_file(_number(self.index.identity_file) + 1) if key.passphrase else ""
        if sealed := _sealed_key(key):
            self._write(name, sealed)
        before = self.index
        self.index = replace(before, lock=key.kind, recipient=key.recipient, identity_file=name)
        for one, content in contents.items():
            data = sealing.seal(content, key.recipient) if key.identity else content.reveal()
            self._put(one, data, before.secrets[one])

    def _put(self, name: str, data: bytes, entry: Entry) -> None:
        check_name(name)
        before = self.index.secrets.get(name)
        number = _number(before.file) + 1 if before else 1
        end = "plain" if self.index.lock == "plain" else "age"
        file = f"{name}.{number}.{end}"
        self._write(file, data)
        self.index = self.index.with_secret(name, replace(entry, file=file))

    def _write(self, file: str, data: bytes) -> None:
        path = self._folder / file
        with failures(path, "writing the vault"):
            for folder in reversed(path.relative_to(self._folder).parents[:-1]):
                make_folder(self._folder / folder)
        self.written.append(path)
        write_unnamed(path, data)


@contextmanager
def changing(folder: Path) -> Iterator[Change]:
    """Changes that are in the vault together or not at all, at the end of the block; nobody else changes it meanwhile.

    Raises what `read_index` does, IOFailed, NoSpace.
    """
    before = read_index(folder)
    with alone(folder):
        before = read_index(folder)
        _sweep(folder, before)
        change = Change(folder, before)
        try:
            yield change
            if change.index != before:
                for parent in {path.parent for path in change.written}:
                    sync(parent)
                write_whole(folder / INDEX, encode(change.index))
        except BaseException:
            # Whatever failed, what the index on the disk names stays.
            kept = read_index(folder).files
            for path in change.written:
                if path.relative_to(folder).as_posix() not in kept:
                    path.unlink(missing_ok=True)
            raise
        with failures(folder, "removing what was replaced"):
            for file in before.files - change.index.files:
                (folder / file).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Opened:
    """A vault with its key at hand. Secrets are read one by one, as they are asked for."""

    folder: Path
    index: Index
    identity: Secret | None
    """None in a plain vault."""

    def open(self, name: str) -> Secret:
        """Raises UsageError for a name that is not there, and for the root's and the intermediate's key, which stay in
        the vault; ContentMalformed for what is not what the index says."""
        if stays(name):
            raise UsageError(
                f"{name} never leaves the vault: it signs the authorities, no node needs it", where=str(self.folder),
                hint="a backup of the vault holds it too: imagesmith vault backup DIR",
            )  # fmt: skip
        return self._unsealed(name)

    def open_upper(self, name: str) -> Upper:
        """The root or the intermediate, to sign with. Raises as `open` does."""
        content = self._unsealed(name)
        return Upper(self.index.secrets[name].public.encode(), VaultKey.read(content, name))

    def _unsealed(self, name: str) -> Secret:
        entry = self.index.secrets.get(name)
        if entry is None:
            raise UsageError(f"the vault has no {name}", where=str(self.folder), hint="imagesmith vault list")
        path = self.folder / entry.file
        data = read_closed(path, name)
        content = Secret(data) if self.identity is None else sealing.unseal(data, self.identity, str(path))
        if entry.public and not belongs(entry.kind, content, entry.public, str(path)):
            raise ContentMalformed(
                f"{name} is not the key whose public half the index tells", where=str(path),
                hint="somebody changed the vault by hand: restore it from a backup, see docs/vault.md",
            )  # fmt: skip
        return content


def open_plain(folder: Path) -> Opened:
    """A vault that has no key."""
    return _opened(folder, read_index(folder), None)


def open_by_passphrase(folder: Path, passphrase: Secret) -> Opened:
    """Raises VaultLocked for a wrong one. Takes a second: the passphrase is stretched."""
    index = read_index(folder)
    path = folder / index.identity_file
    found = sealing.unseal_by_passphrase(read_closed(path, "its key"), passphrase, str(path))
    return _opened(folder, index, sealing.identity_in(found, str(path)))


def open_by_key(folder: Path, identity: Secret) -> Opened:
    """Raises VaultLocked for another key than the vault's."""
    return _opened(folder, read_index(folder), identity)


def unnamed(folder: Path, index: Index) -> tuple[Path, ...]:
    """Files in the vault that its index does not name: left by a command that was killed, or somebody else's."""
    ours = {folder / one for one in (*index.files, INDEX, LOCK)}
    return tuple(sorted(path for path in folder.rglob("*") if not path.is_dir() and path not in ours))


def now() -> str:
    """The time as the index has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _opened(folder: Path, index: Index, identity: Secret | None) -> Opened:
    if (sealing.recipient_of(identity) if identity else "") != index.recipient:
        raise VaultLocked("this is not the key of this vault", where=str(folder), hint="give its own key")
    return Opened(folder, index, identity)


def _unfinished(path: Path) -> bool:
    """Whether it is what a killed `create` leaves: a key that no index names, and that sealed nothing yet."""
    return path.name in (LOCK, _identity_file(1)) or path.name.endswith(TEMPORARY)


def _sweep(folder: Path, index: Index) -> None:
    """Remove what was replaced, and what a command that was killed left half-made. What is not ours stays."""
    current = {file.rsplit(".", 2)[0]: _number(file) for file in index.files}
    with failures(folder, "removing what was replaced"):
        for path in unnamed(folder, index):
            stem, _, number = path.relative_to(folder).as_posix().rpartition(".")[0].rpartition(".")
            replaced = number.isdecimal() and int(number) < current.get(stem, 0)
            if replaced or (path.name.startswith(".") and path.name.endswith(TEMPORARY)):
                path.unlink(missing_ok=True)


def _sealed_key(key: Key) -> bytes:
    if key.passphrase is None or key.identity is None:
        return b""
    return sealing.seal_by_passphrase(Secret(key.identity.reveal() + b"\n"), key.passphrase)


def _identity_file(number: int) -> str:
    return f"identity.{number}.age"


def _number(file: str) -> int:
    """Of a file's name, NAME.NUMBER.age; 0 where there is no file."""
    return int(file.rsplit(".", 2)[1]) if file else 0
