"""What will be done: edits, promises, and the plan that holds all that decides an image's bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imagesmith.model.machine import QemuMachine
from imagesmith.model.origins import Base, Digest
from imagesmith.model.part import Duty, Supply
from imagesmith.model.wanted import Architecture, Node, Role
from imagesmith.secret import SecretRef, SecretText


@dataclass(frozen=True, slots=True)
class FileContent:
    """Content too large for a plan: a file of known digest, opened when it is applied."""

    path: Path
    digest: Digest
    size: int


Content = bytes | FileContent | SecretRef | SecretText
PartitionRole = Literal["boot", "esp", "root", "medium"]
"""Where an edit goes: `medium` is an installer's own file system, `root` is then that of the system it installs.

Paths are absolute inside that file system, `/` separated.
"""


@dataclass(frozen=True, slots=True)
class PutFile:
    partition: PartitionRole
    path: str
    content: Content
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class EnsureLine:
    """The file has this line; added at the end when it is missing. The file is made when absent."""

    partition: PartitionRole
    path: str
    line: str


@dataclass(frozen=True, slots=True)
class EnsureToken:
    """A word in a one-line file (cmdline.txt); every other word stays as and where it is."""

    partition: PartitionRole
    path: str
    token: str


@dataclass(frozen=True, slots=True)
class BootWords:
    """Words for the kernel on every line of a GRUB menu that starts it.

    A menu that the medium does not have is left out.
    """

    partition: PartitionRole
    path: str
    installer: tuple[str, ...]
    """Before the `---`: for this start only."""
    installed: tuple[str, ...] = ()
    """Behind it: for this start, and for those of what is installed."""


@dataclass(frozen=True, slots=True)
class SetKey:
    """A file of lines KEY=value has this one, in place of the key's old value; added at the end when it is missing.

    Only for a file that is there: what else it should say is not known.
    """

    partition: PartitionRole
    path: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class RemoveKey:
    """A file of lines KEY=value has none for this key; commented lines stay."""

    partition: PartitionRole
    path: str
    key: str


@dataclass(frozen=True, slots=True)
class EnsureWord:
    """A word among those of one key's value in a file of lines KEY=value; the others stay as and where they are."""

    partition: PartitionRole
    path: str
    key: str
    word: str


@dataclass(frozen=True, slots=True)
class LockAccount:
    """An account in a file like /etc/shadow, which must have it, is entered with no password; all else stays."""

    partition: PartitionRole
    path: str
    account: str


@dataclass(frozen=True, slots=True)
class MakeDir:
    """A directory, with its missing parents (0755 root)."""

    partition: PartitionRole
    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link at `path`, replacing a file or link that is there."""

    partition: PartitionRole
    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Remove:
    """A file or link that must not be there; absent is fine."""

    partition: PartitionRole
    path: str


Edit = (
    PutFile
    | EnsureLine
    | EnsureToken
    | BootWords
    | SetKey
    | RemoveKey
    | EnsureWord
    | LockAccount
    | MakeDir
    | Link
    | Remove
)


@dataclass(frozen=True, slots=True)
class Promise:
    """One thing that the first boot must bring about, checked against the guest's report.

    `fact` is a key of the report (`hostname`, `unit.ssh.service`, `step.20-grow-root`), see docs/boot.md.
    """

    fact: str
    relation: Literal["equals", "at_least", "present", "absent"]
    value: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """All that decides the bytes of an image, before a byte is read. Its id is in `formats.canonical`."""

    name: str
    """Of the output: the node's or the profile's name."""
    node: Node
    role: Role
    profile: str
    board: str
    architecture: Architecture
    base: Base
    edits: tuple[Edit, ...]
    promises: tuple[Promise, ...]
    machine: QemuMachine | None
    supplies: tuple[Supply, ...] = ()
    """Files that are fetched for the image and put into its root, after the edits."""
    duty: Duty | None = None
    """Its part in a k3s cluster; None where it has none."""
    cautions: tuple[str, ...] = ()
    """What is to be minded of that part; `plan` and `build` say it, and go on."""
    epoch: int = 0
    """Time that every written file bears; 0 = the base's own."""
    schema: int = 1
