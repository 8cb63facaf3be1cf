"""What the nodes of a cluster share: k3s, its networks, how they are reached over SSH and kept up to date.

Made by `profile.cluster` from an inventory; read by `cluster`, which decides each node's part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from imagesmith.secret import SecretRef

Datastore = Literal["sqlite", "etcd"]
Delivery = Literal["baked", "download"]
SshServer = Literal["openssh", "dropbear", "both"]


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """How a container registry is logged in to."""

    username: str
    password: SecretRef
    """The password's file, beside the inventory."""


@dataclass(frozen=True, slots=True)
class Registry:
    """A container registry, or what stands in for one."""

    name: str
    """As images name it: `docker.io`, `nas.home.arpa:5000`; `*` = all that have no entry of their own."""
    endpoints: tuple[str, ...] = ()
    """Addresses that are asked before it, https:// or http://, in this order."""
    login: RegistryLogin | None = None
    ca_file: str = ""
    """A certificate that vouches for it, PEM, beside the inventory; empty = those that the system knows."""


@dataclass(frozen=True, slots=True)
class K3s:
    """k3s itself; a cluster without it is nodes alone."""

    version: str = ""
    """As `v1.36.3+k3s1`; empty = what `channel` was when it was locked."""
    channel: str = "stable"
    """`stable`, `latest`, or a minor version as `v1.36`."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The program by architecture (`amd64`, `arm64`), as a file beside the inventory; empty = the release's own."""
    datastore: Datastore = "sqlite"
    delivery: Delivery = "baked"
    """`baked`: the program is in the image. `download`: the first boot fetches it, and holds it to the same digest."""
    airgap: bool = False
    """The container images that k3s itself needs are in the image too."""
    secrets_encryption: bool = False
    disable: tuple[str, ...] = ()
    """What k3s brings along and is not wanted: traefik, servicelb, local-storage, metrics-server, coredns."""
    registries: tuple[Registry, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterNetwork:
    pods: str = "10.42.0.0/16"
    services: str = "10.43.0.0/16"
    vip: str = ""
    """An address, without prefix, that one server after the other holds; empty = none."""
    interface: str = ""
    """What flannel and the VIP use on nodes that name none of their own; empty = that of the default route."""
    names: tuple[str, ...] = ()
    """What else the servers' certificates are for, names or addresses."""
    firewall: bool = True
    open: tuple[str, ...] = ()
    """Ports of every node that its firewall leaves open for nodes and pods, as `9100/tcp`, `27015-27030/udp`."""
    open_to_all: tuple[str, ...] = ()
    """The same, for anyone."""


@dataclass(frozen=True, slots=True)
class SshAccess:
    server: SshServer = "openssh"
    port: int = 22
    """OpenSSH's; Dropbear's where it is alone."""
    dropbear_port: int = 2222
    """Dropbear's beside OpenSSH."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    updates: Literal["off", "security"] = "off"
    """`security`: the system's security updates are installed by night, nodes restarted one at a time."""
    packages: Literal["offline", "online"] = "offline"
    """What a base lacks is carried in the image, or fetched by apt at the first boot."""
    mirrors: Mapping[str, str] = field(default_factory=dict)
    """Where packages come from instead, by what they are: `debian`, `ubuntu`, `raspberrypi`, `armbian`."""
    proxy: str = ""
    """http://host:port, for k3s and for apt; the cluster's own networks go past it."""
    serve_time: bool = True
    """Servers with an address of their own tell the other nodes the time."""
