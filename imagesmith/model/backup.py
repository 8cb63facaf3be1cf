"""What an inventory asks for under `backup`: where the nodes' backups go, when, and for how long they are kept.

Made by `profile.backup`; read by `cluster.backup`, `planning` and `workflow`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SshStore:
    """A machine that nodes reach over SSH, each by a key that opens nothing but its own backups there."""

    user: str
    host: str
    folder: str
    host_key: str
    """`ssh-ed25519 AAAA...`, the only one that is believed."""
    port: int = 22


@dataclass(frozen=True, slots=True)
class NfsStore:
    """A folder that nodes mount."""

    host: str
    export: str
    options: tuple[str, ...] = ()
    """Of mount, beside our own."""


@dataclass(frozen=True, slots=True)
class Keep:
    daily: int = 7
    """The newest of each of so many days that have one."""
    weekly: int = 4
    """And the newest of each of so many weeks."""


@dataclass(frozen=True, slots=True)
class Backup:
    store: SshStore | NfsStore
    at: str = "02:30"
    """When the first node begins, by its own time zone; the others follow."""
    keep: Keep = Keep()
    encrypt: bool = False
    """Sealed on the node for a key whose private half lies in the vault."""
    exclude: tuple[str, ...] = ()
    """Paths that are left out."""
    include: tuple[str, ...] = ()
    """Mount points that are taken beside the root and the boot partition."""
    state: tuple[str, ...] = ()
    """Paths that a restore lays back, beside those that it always does."""
    without: tuple[str, ...] = ()
    """Nodes that are not backed up."""

    def covers(self, node: str) -> bool:
        return node not in self.without
