"""What is wanted: a node, on a board, by a profile; and the texts and files that plans are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from imagesmith.model.addons import Addons
from imagesmith.model.backup import Backup
from imagesmith.model.machine import QemuMachine
from imagesmith.model.origins import Base
from imagesmith.model.power import Power
from imagesmith.model.shared import ClusterNetwork, K3s, SshAccess, Upkeep
from imagesmith.model.vpn import Vpn
from imagesmith.secret import SecretRef

Architecture = Literal["amd64", "arm64"]
Role = Literal["server", "worker"]
"""`server` runs the k3s control plane, `worker` is a k3s agent."""


@dataclass(frozen=True, slots=True)
class Board:
    name: str
    title: str
    architecture: Architecture
    memory: int
    bases: tuple[Base, ...]
    machine: QemuMachine | None
    """None where QEMU has nothing that resembles the board."""
    roles: tuple[Role, ...]
    """What the board is strong enough for."""
    notes: tuple[str, ...] = ()
    unsuitable: Mapping[str, str] = field(default_factory=dict)
    """Bases that do not work on it, by name, with the reason; none of them is in `bases`."""
    wifi: bool = False
    """It has a radio of its own."""
    storage: Literal["disk", "card"] = "disk"
    """What it starts from as a rule; a card wears out under a database that writes without pause."""

    def machine_for(self, base: Base) -> QemuMachine | None:
        """The machine that boots `base` in place of this board; None where there is none."""
        return {"board": self.machine, "none": None}[base.machine] if isinstance(base.machine, str) else base.machine


@dataclass(frozen=True, slots=True)
class Wifi:
    """A wireless network that a node joins beside its wire."""

    ssid: str
    country: str
    """Two letters, ISO 3166: which channels the radio may use."""
    key: SecretRef | None = None
    """The passphrase; None = an open network."""
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Network:
    """How a node reaches the network. No address means DHCP."""

    address: str = ""
    """With prefix length, as 192.168.1.10/24."""
    gateway: str = ""
    nameservers: tuple[str, ...] = ()
    mac: str = ""
    """Lower-case, colons; empty = every wired interface."""
    wifi: Wifi | None = None
    """None = by wire only."""
    reserved: str = ""
    """Without prefix: what DHCP gives the card `mac`, every time. The node still asks."""
    resolvable: bool = False
    """The network's name server knows the node by its name, whatever its address is."""


@dataclass(frozen=True, slots=True)
class TargetDisk:
    """Which disk of a machine an installer may overwrite: all of it must hold, and for one disk only."""

    serial: str = ""
    """As the kernel or udev tells it, long or short; the only way to a disk on USB."""
    size: Literal["", "largest", "smallest"] = ""
    """Of those for which the rest holds."""
    at_least: int = 0
    at_most: int = 0
    """0 = any."""
    ssd: bool | None = None
    """Whether it has no rotating parts; None = either."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a person sets for a node; every field can be given for the whole cluster and per node."""

    user: str = "admin"
    ssh_keys: tuple[str, ...] = ()
    """Public keys, one OpenSSH line each."""
    locale: str = "en_US.UTF-8"
    timezone: str = "Etc/UTC"
    keyboard: str = "us"
    time_servers: tuple[str, ...] = ()
    """Empty = the base's own."""
    journal_max: int = 64 * 1024 * 1024
    zram_percent: int = 50
    """Compressed swap in memory, as a share of memory; 0 = none."""
    watchdog_s: int = 15
    """Hardware watchdog interval where there is one; 0 = off."""
    after_install: Literal["poweroff", "reboot"] = "poweroff"
    """What a machine does once an installer is through; `reboot` may start the installer from the stick again."""
    serial_console: bool = False
    """A console on the board's serial port, for when the network is dead."""
    password: SecretRef | None = None
    """The crypt(3) hash of a password for the console and for sudo; SSH never takes it. None = no password."""
    sudo_nopasswd: bool = False
    """sudo asks for no password: who holds the user's key is root. Without it sudo needs the user's password."""

    @property
    def has_root(self) -> bool:
        """Whether anybody can become root: root itself has no password, so it is by the user's sudo or not at all."""
        return self.sudo_nopasswd or self.password is not None


@dataclass(frozen=True, slots=True)
class SealedHostKey:
    """An SSH host key that a vault keeps for a node: its private half by name, its public half as everybody sees it."""

    kind: str
    """As in the file's name: `ed25519`, `ecdsa`."""
    private: SecretRef
    public: str
    """One line, without its end."""
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Profile:
    """A board in a role, with one base chosen."""

    name: str
    title: str
    board: Board
    role: Role
    base: str
    """Name of the default among the board's bases."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Overrides of `Settings` fields."""

    def base_named(self, name: str) -> Base | None:
        return next((base for base in self.board.bases if base.name == name), None)


@dataclass(frozen=True, slots=True)
class Node:
    """One machine: the host name it will have, its profile's name and what is particular to it."""

    name: str
    profile: str
    base: str = ""
    """Empty = the profile's default."""
    network: Network = field(default_factory=Network)
    disk: TargetDisk | None = None
    """What an installer may overwrite; other images are written to a disk that is named then."""
    settings: Settings = field(default_factory=Settings)
    cluster: str = ""
    """The cluster's name; empty = standalone, joins nothing."""
    domain: str = ""
    role: Role | None = None
    """None = its profile's."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of the Kubernetes node; they count when it joins for the first time."""
    taints: tuple[str, ...] = ()
    """As `key=value:NoSchedule`; the same."""
    interface: str = ""
    """What pods' packets and the VIP go by on this machine; empty = the cluster's."""


@dataclass(frozen=True, slots=True)
class Cluster:
    name: str
    domain: str
    nodes: tuple[Node, ...]
    path: str = ""
    """The inventory file it was read from."""
    k3s: K3s | None = None
    """None = its nodes are machines with a name and an address, and no Kubernetes."""
    network: ClusterNetwork = field(default_factory=ClusterNetwork)
    ssh: SshAccess = field(default_factory=SshAccess)
    upkeep: Upkeep = field(default_factory=Upkeep)
    backup: Backup | None = None
    """None = nodes are not backed up."""
    vpn: Vpn | None = None
    addons: Addons | None = None
    """None where nothing of it is wanted."""
    power: Power | None = None
    """None = nobody asked for a UPS."""

    def node(self, name: str) -> Node | None:
        return next((node for node in self.nodes if node.name == name), None)


@dataclass(frozen=True, slots=True)
class Materials:
    """Files that plans are made of, by name as `firstboot/steps/10-clock`, `cloud-init/user-data.j2`."""

    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Documents:
    """What is particular to one node, as the texts that its first boot reads. No secret is in them."""

    user_data: bytes
    meta_data: bytes
    network_config: bytes
    """cloud-init's three documents; the last one is netplan's format too."""
    node_conf: bytes
    """/etc/imagesmith/node.conf, lines of KEY='value'."""
