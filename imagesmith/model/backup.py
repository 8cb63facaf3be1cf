"""What an inventory asks for under `backup`: where the nodes' backups go, when, and for how long they are kept.

Made by `profile.backup`; read by `cluster.backup`, `planning` and `workflow`.
"""

from __future__ import annotations

from dataclasses import dataclass

NEVER_LAID = (
    # What the card starts by, and the programs of its base.
    *("/boot", "/etc/fstab", "/etc/crypttab", "/bin", "/sbin", "/lib", "/usr/bin", "/usr/sbin", "/usr/lib/modules"),
    *("/usr/lib/firmware", "/usr/lib/systemd", "/var/lib/dpkg", "/proc", "/sys", "/dev", "/run", "/tmp"),
    # Who the node is, on the network and to others.
    *("/etc/hostname", "/etc/hosts", "/etc/machine-id", "/etc/ssh", "/etc/network", "/etc/netplan", "/etc/resolv.conf"),
    *("/etc/systemd/network", "/etc/NetworkManager", "/etc/wireguard", "/etc/nftables.conf"),
    # Who may log in, as the inventory has it now.
    *("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/sudoers", "/etc/sudoers.d"),
    # What is imagesmith's and k3s's.
    *("/etc/imagesmith", "/usr/lib/imagesmith", "/var/lib/imagesmith", "/etc/rancher", "/var/lib/rancher/k3s/server"),
    *("/var/lib/rancher/k3s/agent", "/var/lib/rancher/k3s/data", "/var/lib/kubelet"),
    *("/etc/systemd/system/k3s.service", "/etc/systemd/system/k3s-agent.service"),
)
"""What a restore leaves as the fresh card has it, whatever an inventory says: refused there, left out on the node."""


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
