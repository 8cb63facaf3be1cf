"""Secrets that can't be printed by accident, names of secrets that are resolved late, texts with secrets in them."""

from __future__ import annotations

from dataclasses import dataclass, field

FILE = "file:"
VAULT = "vault:"
"""What the names of secrets begin with: those that lie in files, and those that lie in an inventory's vault."""


class Secret:
    """Bytes that show as `***` everywhere but in `reveal()`. Never in a plan, a log or JSON."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")


@dataclass(frozen=True, slots=True)
class Written:
    """Where a secret was named: a document's file and line (0 = none) and the path in it, as `defaults.wifi`."""

    file: str = ""
    line: int = 0
    path: str = ""


@dataclass(frozen=True, slots=True)
class SecretRef:
    """The name of a secret, as a plan carries it; `workflow.secrets` turns it into a Secret."""

    name: str
    """Kind and what it is called there: `file:admin.hash`, `vault:nodes/node-1/host-key.ed25519`."""
    written: Written = field(default=Written(), compare=False)
    """For complaints, and for finding it: a file's name is relative to the document's, a vault's secret lies in the
    vault's folder, which `written.file` is then. No part of a plan."""
    drawn: str = ""
    """When the vault drew it, as its index tells everybody. A token drawn anew shows in a plan by nothing else."""

    @property
    def shown(self) -> str:
        """The secret in words: `the file admin.hash`."""
        if self.name.startswith(VAULT):
            return f"the vault's {self.name.removeprefix(VAULT)}"
        return f"the file {self.name.removeprefix(FILE)}" if self.name.startswith(FILE) else self.name


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """A secret that must be a password's crypt(3) hash, as `/etc/shadow` has it."""

    ref: SecretRef


@dataclass(frozen=True, slots=True)
class WpaKey:
    """The key of a Wi-Fi network, 64 hex digits, made of a secret passphrase and the network's name.

    It opens this one network; the passphrase, which people use elsewhere too, stays at home.
    """

    passphrase: SecretRef
    ssid: str


@dataclass(frozen=True, slots=True)
class Quoted:
    """A secret between the double quotes of a YAML text, escaped as it needs to be there."""

    ref: SecretRef


@dataclass(frozen=True, slots=True)
class SecretText:
    """A text that is put together when it is written, of plain pieces and secret ones."""

    parts: tuple[bytes | SecretRef | PasswordHash | WpaKey | Quoted, ...]
