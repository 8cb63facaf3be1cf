"""The vault of an inventory, made, filled, opened, locked anew and backed up.

Called by `cli.vault`, and by `build` for what it needs. A command asks for a passphrase at most once; drawing needs
none, since secrets are sealed for the public half of the vault's key.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from imagesmith.cluster import contents
from imagesmith.disk import failures
from imagesmith.errors import UsageError, VaultLocked
from imagesmith.events import Listener, Warned, unheard
from imagesmith.model import Cluster
from imagesmith.secret import Secret
from imagesmith.vault import authorities, founding, sealing, signed, store
from imagesmith.vault import backup as packing
from imagesmith.vault.draw import draw_all
from imagesmith.vault.files import write_new
from imagesmith.vault.index import LockKind, is_time, read_index
from imagesmith.vault.names import (
    CA_HASH,
    CLIENT_CA,
    FOUNDED,
    FOUNDER,
    FOUNDING_OF,
    ROTATING,
    ends_with_cluster,
    is_authority,
    is_signed,
    missing,
    of_cluster,
    of_node,
)
from imagesmith.vault.store import Key, Opened

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
    return draw_missing(folder, names, opening.listener)


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


def draw_missing(folder: Path, names: Iterable[str], listener: Listener = unheard) -> tuple[str, ...]:
    """Draw what of these names is not in the vault; what was drawn. Needs no passphrase.

    What the client authority signs is made with it, where that is drawn now; else by `sign_due`. `listener` hears of
    what takes seconds: identities of ZeroTier that are searched for.
    """
    wanted = tuple(names)
    plain = tuple(name for name in wanted if not is_signed(name))
    if not missing(read_index(folder).secrets, plain):
        return ()
    with store.changing(folder) as change:
        lacking = missing(change.index.secrets, plain)
        for name, drawn in draw_all((name for name in lacking if not is_authority(name)), listener).items():
            change.put(name, drawn)
        if any(is_authority(name) for name in lacking):
            made = authorities.drawn(authorities.begins())
            authorities.put_all(change, made)
            lacking += _sign(change, wanted, made[CLIENT_CA].content)
    return lacking


def sign_due(folder: Path, names: Iterable[str], opening: Opening) -> tuple[str, ...]:
    """Make what of these names the client authority signs and is not there, or soon at its end; what was made.

    The vault is opened for it. Raises VaultLocked, and UsageError where it was changed meanwhile.
    """
    wanted = tuple(name for name in names if is_signed(name))
    if not wanted or not signed.due(read_index(folder).secrets, wanted):
        return ()
    opened = opening.vault(folder)
    key = opened.open(CLIENT_CA)
    with store.changing(folder) as change:
        if change.index.secrets[CLIENT_CA] != opened.index.secrets[CLIENT_CA]:
            raise UsageError("the vault was changed while it was being opened", where=str(folder), hint="run it again")
        return _sign(change, wanted, key)


def _sign(change: store.Change, names: Iterable[str], key: Secret) -> tuple[str, ...]:
    client = signed.client_authority(change.index.secrets[CLIENT_CA].public, key)
    due = signed.due(change.index.secrets, names)
    for name in due:
        change.put(name, signed.signed(name, client))
    return due


def names_for(nodes: Iterable[str], cluster: Cluster | None) -> tuple[str, ...]:
    """The names of all that nodes need, and of what their cluster does."""
    per_node = tuple(name for node in nodes for name in of_node(node))
    if cluster is None or cluster.k3s is None:
        return per_node
    return (*per_node, *of_cluster(), *contents.secrets(cluster))


def record_founded(folder: Path, when: str, ca_hash: str = "") -> bool:
    """Remember that the cluster was seen alive, `when` as the index has times: nobody founds it again.

    Called by what meets a running cluster, and by a person's word; a build does not know whether its image is ever
    started. `ca_hash` is what the running one's tokens carry, where that is known: one of other authorities is not
    meant. The first time counts; whether this was it. Raises UsageError for what is no time.
    """
    if not is_time(when):
        raise UsageError(f"{when[:40]!r} is no time", hint="UTC, as 2026-11-23T11:44:00Z")
    facts = read_index(folder).facts
    if founding.founding(facts).founded or (ca_hash and ca_hash != facts.get(CA_HASH)):
        return False
    with store.changing(folder) as change:
        first = not founding.founding(change.index.facts).founded
        if first:
            founding.remember_founded(change, when)
    return first


def record_founder(folder: Path, node: str, servers: Iterable[str]) -> None:
    """Remember that `node`'s image is built as the one that founds the cluster: no other server's is, from now on.

    Called by `build`, before there is such an image. Who is remembered already stays so while it is one of `servers`.
    """
    servers = tuple(servers)
    if founding.founding(read_index(folder).facts).founder in servers:
        return
    with store.changing(folder) as change:
        if founding.founding(change.index.facts).founder not in servers:
            founding.remember_founder(change, node)


def forget_founded(folder: Path) -> None:
    """The cluster is no more, and nobody its founder: the first server's next image founds it anew."""
    with store.changing(folder) as change:
        no_more(change)


def no_more(change: store.Change) -> None:
    """The same, among other changes. No node of it waits for a secret of its own either."""
    change.remember({FOUNDED: "", FOUNDER: "", FOUNDING_OF: ""})
    begun = [fact.removeprefix(ROTATING) for fact in change.index.facts if fact.startswith(ROTATING)]
    change.remember({ROTATING + name: "" for name in begun if ends_with_cluster(name)})


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
