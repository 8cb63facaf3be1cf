"""The secrets that plans name, opened before anything is fetched; what is wrong with them is told all at once.

Called by `workflow.build` for its plan, and by `cli.build` for all of them first. Reads the files that an inventory
names, has a vault opened where plans name what lies there, and writes nothing.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from imagesmith.errors import DocumentInvalid, Problem, UsageError, VaultLocked
from imagesmith.events import Listener, Warned, unheard
from imagesmith.formats.credentials import OpenSecret, named_by, revealed
from imagesmith.model import BuildPlan, PutFile
from imagesmith.secret import FILE, VAULT, PasswordHash, Quoted, Secret, SecretRef, SecretText, WpaKey
from imagesmith.vault.names import stays

OpenVault = Callable[[Path], Callable[[str], Secret]]
"""From a vault's folder to what gives its secrets by name; raises VaultLocked."""
_MOST_BYTES = 4096
_OTHERS_READ = stat.S_IRGRP | stat.S_IROTH
_Part = SecretRef | PasswordHash | WpaKey | Quoted
_HINTS = {
    PasswordHash: "make the hash, it asks for the password: openssl passwd -6 > {file}",
    WpaKey: "write the network's passphrase into it, 8 to 63 characters on one line",
    SecretRef: "write the secret into it",
    Quoted: "write the password into it, on one line",
}


def locked(folder: Path) -> Callable[[str], Secret]:
    """An OpenVault for who has no key. Raises VaultLocked."""
    raise VaultLocked("the vault is locked, and nothing was given to open it", where=str(folder))


def open_secrets(
    plans: Sequence[BuildPlan], listener: Listener = unheard, open_vault: OpenVault = locked
) -> OpenSecret:
    """What gives each secret of the plans, all of which are there and are what they must be.

    Warns of files that others can read, each once. Raises DocumentInvalid with every problem, each
    where the inventory names the secret; UsageError for a key that stays in its vault; VaultLocked, and what an opened
    vault raises.
    """
    opened: dict[tuple[Path, str], Secret] = {}
    problems: dict[Problem, None] = {}

    def open_secret(ref: SecretRef) -> Secret:
        return opened[_key(ref)]

    for part in (part for plan in plans for part in _parts(plan)):
        ref = named_by(part)
        try:
            if _key(ref) not in opened:
                opened[_key(ref)] = _from_vault(ref, open_vault) if _in_vault(ref) else _opened(ref, listener)
            revealed(SecretText((part,)), open_secret)
        except ValueError as error:
            hint = _HINTS[type(part)].format(file=shlex.quote(str(_path(ref))))
            at = ref.written
            problems[Problem(at.file or "the plan", at.line, at.path, f"{ref.shown}: {error}", hint)] = None
    if problems:
        raise DocumentInvalid(tuple(problems))
    return open_secret


def open_file(ref: SecretRef, listener: Listener = unheard) -> Secret:
    """A secret that no node is given, out of the file that an inventory names. Raises DocumentInvalid."""
    try:
        return _opened(ref, listener)
    except ValueError as error:
        at, hint = ref.written, _HINTS[SecretRef]
        raise DocumentInvalid([Problem(at.file, at.line, at.path, f"{ref.shown}: {error}", hint)]) from None


def _parts(plan: BuildPlan) -> Iterator[_Part]:
    for edit in plan.edits:
        if isinstance(edit, PutFile) and isinstance(edit.content, SecretRef):
            yield edit.content
        elif isinstance(edit, PutFile) and isinstance(edit.content, SecretText):
            yield from (part for part in edit.content.parts if not isinstance(part, bytes))


def _path(ref: SecretRef) -> Path:
    """Of a secret's file, which is named from the document's folder on; on a command line from the current one.

    Of one in a vault, the vault's folder.
    """
    if _in_vault(ref):
        return Path(ref.written.file)
    return Path(ref.written.file).parent / ref.name.removeprefix(FILE)


def _key(ref: SecretRef) -> tuple[Path, str]:
    return _path(ref), ref.name


def _in_vault(ref: SecretRef) -> bool:
    return ref.name.startswith(VAULT)


def _from_vault(ref: SecretRef, open_vault: OpenVault) -> Secret:
    """Raises UsageError, before the vault is opened, for what no node may ever have."""
    name = ref.name.removeprefix(VAULT)
    if stays(name):
        raise UsageError(
            f"{ref.shown} signs a cluster's authorities and never leaves the vault, for no node and no image",
            where=ref.written.file, hint="the plan that names it is wrong: report it",
        )  # fmt: skip
    return open_vault(Path(ref.written.file))(name)


def _opened(ref: SecretRef, listener: Listener) -> Secret:
    """Raises ValueError with what is wrong."""
    if not ref.name.startswith(FILE):
        raise ValueError("a secret of a kind that this imagesmith does not know")
    path = _path(ref)
    try:
        # A pipe would keep us waiting for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                raise ValueError("it is no file with something in it")
            value = os.read(descriptor, _MOST_BYTES + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise ValueError(f"there is no such file ({path})") from None
    except OSError as error:
        raise ValueError(f"it can't be read: {error.strerror}") from None
    if state.st_mode & _OTHERS_READ:
        mode = f"{stat.S_IMODE(state.st_mode):04o}"
        listener(Warned(f"{path}: other users of this machine can read this secret (mode {mode})",
                        hint=f"chmod 600 {shlex.quote(str(path))}"))  # fmt: skip
    return Secret(_one_line(value))


def _one_line(value: bytes) -> bytes:
    if len(value) > _MOST_BYTES:
        raise ValueError("it is far too large for what it should be")
    line = value.removesuffix(b"\n").removesuffix(b"\r")
    if not line:
        raise ValueError("it is empty")
    if b"\n" in line or b"\r" in line:
        raise ValueError("it has several lines")
    return line
