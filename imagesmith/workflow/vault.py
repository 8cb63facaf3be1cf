"""The vault of an inventory, made, filled, opened, changed and backed up.

Called by `cli.vault`, and by `build` for what it needs. A command asks for a passphrase at most once; drawing needs
none, since secrets are sealed for the public half of the vault's key.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imagesmith.disk import failures
from imagesmith.errors import ContentMalformed, UsageError, VaultLocked
from imagesmith.events import Listener, Warned, unheard
from imagesmith.secret import Secret
from imagesmith.vault import authorities, sealing, store
from imagesmith.vault import backup as packing
from imagesmith.vault.draw import Drawn, draw, taken
from imagesmith.vault.files import write_new
from imagesmith.vault.index import LockKind, check_name, read_index
from imagesmith.vault.names import CA_HASH, OLD, is_authority, missing, of_cluster, of_node
from imagesmith.vault.store import Change, Key, Opened

PASSPHRASE_FILE = "IMAGESMITH_VAULT_PASSPHRASE_FILE"
NEW_PASSPHRASE_FILE = "IMAGESMITH_VAULT_NEW_PASSPHRASE_FILE"
"""For scripts: names a file with the passphrase on one line. The second is for `vault rekey` alone."""
Ask = Callable[[str, bool], Secret]
"""A passphrase from the terminal: what to ask, and whether it is a new one, to be typed twice."""
_MOST_BYTES = 64 * 1024
_OTHERS_READ = stat.S_IRGRP | stat.S_IROTH


@dataclass
class Opening:
    """Opens vaults, each once a command. Called with a vault's folder it gives what gives its secrets by name."""

    ask: Ask
    key_file: Path | None = None
    listener: Listener = unheard
    variable: str = PASSPHRASE_FILE
    _opened: dict[Path, Opened] = field(default_factory=dict)

    def __call__(self, folder: Path) -> Callable[[str], Secret]:
        return self.vault(folder).open

    def vault(self, folder: Path) -> Opened:
        """Raises VaultLocked where nothing opens it, and what `read_index` does."""
        if folder not in self._opened:
            self._opened[folder] = self._open(folder)
        return self._opened[folder]

    def passphrase(self, what: str, *, new: bool = False) -> Secret:
        """From the file that the environment names, else from the terminal."""
        path = os.environ.get(self.variable)
        if not path:
            try:
                return self.ask(what, new)
            except VaultLocked as error:
                error.hint = f"{self.variable} may name a file that holds it, closed to others (chmod 600)"
                raise
        content = self._secret_file(Path(path), f"the file that {self.variable} names").reveal()
        line = content.removesuffix(b"\n").removesuffix(b"\r")
        if not line or b"\n" in line:
            raise VaultLocked("a passphrase is one line", where=path, hint=f"look at {self.variable}")
        return Secret(line)

    def identity(self) -> Secret:
        """The key in the key file. Raises VaultLocked."""
        if self.key_file is None:
            raise VaultLocked("this vault is opened by a key file", hint="give it: --vault-key FILE")
        return sealing.identity_in(self._secret_file(self.key_file, "the vault's key"), str(self.key_file))

    def _open(self, folder: Path) -> Opened:
        lock = read_index(folder).lock
        if lock == "plain":
            return store.open_plain(folder)
        if lock == "key-file" or self.key_file:
            # The key of a vault with a passphrase can be taken out of it, by age.
            return store.open_by_key(folder, self.identity())
        return store.open_by_passphrase(folder, self.passphrase(f"Passphrase of {folder}"))

    def _secret_file(self, path: Path, what: str) -> Secret:
        try:
            # A pipe would keep us waiting for somebody to write into it.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise VaultLocked(f"{what} can't be read: {error.strerror}", where=str(path)) from None
        with failures(path, f"reading {what}"), os.fdopen(descriptor, "rb") as stream:
            mode = os.fstat(descriptor).st_mode
            content = stream.read(_MOST_BYTES)
        if mode & _OTHERS_READ and stat.S_ISREG(mode):
            shown = f"{stat.S_IMODE(mode):04o}"
            self.listener(Warned(f"{path}: other users of this machine can read it (mode {shown})",
                                 hint=f"chmod 600 {shlex.quote(str(path))}"))  # fmt: skip
        return Secret(content)


def create(folder: Path, opening: Opening, kind: LockKind, names: Iterable[str] = ()) -> tuple[str, ...]:
    """A new vault with these secrets drawn, whose names it gives. A key file is made where there is none.

    Raises UsageError where there is a vault already, or a passphrase is too short.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise UsageError("it is there already, and is no folder", where=str(folder), hint="move it away")
    if (folder / "index.json").exists():
        raise UsageError("there is a vault already", where=str(folder), hint="imagesmith vault list")
    store.create(folder, new_key(opening, kind, f"New passphrase for {folder}"))
    return draw_missing(folder, names)


def new_key(opening: Opening, kind: LockKind, what: str) -> Key:
    """What a vault is to be locked by. Raises VaultLocked, UsageError."""
    if kind == "plain":
        return Key("plain")
    if kind == "passphrase":
        return Key("passphrase", sealing.new_identity(), opening.passphrase(what, new=True))
    path = opening.key_file
    if path is not None and not os.path.lexists(path):
        write_new(path, sealing.new_identity().reveal() + b"\n")
    return Key("key-file", opening.identity())


def draw_missing(folder: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Draw what of these names is not in the vault; what was drawn. Needs no passphrase."""
    wanted = tuple(names)
    if not missing(read_index(folder).secrets, wanted):
        return ()
    with store.changing(folder) as change:
        lacking = missing(change.index.secrets, wanted)
        for name in lacking:
            if not is_authority(name):
                change.put(name, draw(name))
        if any(is_authority(name) for name in lacking):
            put_authorities(change, authorities.drawn(authorities.begins()))
    return lacking


def put_authorities(change: Change, made: Mapping[str, Drawn]) -> None:
    """All authorities of a new cluster, together with what tokens carry of them. What was there is kept under .old."""
    for name, drawn in made.items():
        if name in change.index.secrets:
            change.keep_old(name)
        change.put(name, drawn)
    change.remember({CA_HASH: authorities.ca_hash(made)})


def names_for(nodes: Iterable[str], *, cluster: bool) -> tuple[str, ...]:
    """The names of all that nodes need, and with `cluster` of what k3s does."""
    per_node = tuple(name for node in nodes for name in of_node(node))
    return (*per_node, *(of_cluster() if cluster else ()))


def rotate(folder: Path, name: str) -> None:
    """Draw a secret anew; the one before is kept under NAME.old. Raises UsageError where there is none."""
    if name.endswith(OLD):
        raise UsageError(f"{name} is what another secret was before", hint=f"rotate {name.removesuffix(OLD)}")
    drawn = draw(name)
    with store.changing(folder) as change:
        if name not in change.index.secrets:
            raise UsageError(f"the vault has no {name}", where=str(folder), hint="imagesmith vault list")
        change.keep_old(name)
        change.put(name, drawn)


def what_follows(name: str) -> str:
    """What a person does once a secret was drawn anew, honestly: nothing here reaches a running node."""
    if name.startswith("nodes/") and "/host-key." in name:
        node = name.split("/")[1]
        return (
            f"{node} goes on with its old key. Build and flash it anew, or put the new one there yourself "
            f"(imagesmith vault export {name}); then write known_hosts anew: imagesmith known-hosts"
        )
    if name.startswith("nodes/"):
        return (
            "the server knows the node by the old password: build and flash the node anew, and delete the Secret "
            f"{name.split('/')[1]}.node-password.k3s in kube-system before it joins"
        )
    if name.startswith("cluster/"):
        return (
            "a running cluster goes on with the old one, and imagesmith does not change it there yet (that will come, "
            "over SSH). Images built from now on carry the new one and will NOT join it: change the cluster first, by "
            f"k3s's own `k3s token rotate` or `k3s certificate rotate-ca`, or bring {name}{OLD} back by import"
        )
    return "whoever uses it goes on with the old one"


def take(folder: Path, name: str, content: Secret, where: str, *, replace: bool) -> None:
    """Put a secret in that was made elsewhere. Raises UsageError where there is one, ContentMalformed."""
    check_name(name)
    if not content.reveal():
        raise ContentMalformed("it is empty", where=where)
    drawn = taken(name.removesuffix(OLD), content, where)
    with store.changing(folder) as change:
        if name in change.index.secrets:
            if not replace:
                hint = "--replace puts the new one in its place and keeps the old one beside it"
                raise UsageError(f"the vault has a {name} already", where=str(folder), hint=hint)
            change.keep_old(name)
        change.put(name, drawn)


def lock_anew(folder: Path, opening: Opening, key: Key) -> None:
    """Seal everything for another key. Old copies and backups of the vault are still opened by the old one."""
    opened = opening.vault(folder)
    with store.changing(folder) as change:
        change.lock_anew(opened, key)


def backup(folder: Path, into: Path, opening: Opening) -> Path:
    """One file with all of the vault, sealed; its path. The vault remembers that it was made.

    With a key file nothing is asked; else by the vault's own passphrase, for a plain vault by a new one.
    """
    index = read_index(folder)
    passphrase = None
    if index.lock == "passphrase":
        passphrase = opening.passphrase(f"Passphrase of {folder}")
        store.open_by_passphrase(folder, passphrase)
    elif index.lock == "plain":
        passphrase = opening.passphrase("New passphrase for the backup", new=True)
    when = store.now()
    index, tar = packing.packed(folder, when)
    sealed = packing.sealed_by(tar, passphrase) if passphrase else packing.sealed_for(tar, index.recipient)
    name = f"{folder.resolve().name}-{when.replace(':', '')}.tar.age"
    with failures(into, "making the folder of the backup"):
        into.mkdir(parents=True, exist_ok=True)
    write_new(into / name, sealed)
    with store.changing(folder) as change:
        change.backed_up(when)
    return into / name
