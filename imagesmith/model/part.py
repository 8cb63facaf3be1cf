"""What one node is to its cluster, what a vault shows of the cluster, and files that are fetched for an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from imagesmith.model.origins import Digest
from imagesmith.model.wanted import Cluster, Node
from imagesmith.secret import SecretRef

Duty = Literal["founder", "server", "agent"]
"""`founder` is the one server whose image may start the cluster; the other servers and the agents join."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret of a vault, as far as everybody may know it."""

    ref: SecretRef
    public: str = ""
    """Its public half, as its kind has it; empty where there is none."""


@dataclass(frozen=True, slots=True)
class SealedCluster:
    """What everybody may know of a cluster's secrets, and the names of those that nobody may."""

    ca_hash: str
    """64 hex digits, as tokens have it."""
    bundles: Mapping[str, bytes]
    """The certificates by their names in k3s's folder `tls`: `server-ca.crt`, `etcd/peer-ca.crt`; PEM."""
    keys: Mapping[str, SecretRef]
    """The keys of those, and the service accounts' one: `server-ca.key`, `service.key`. The founder's alone."""
    server_token: SecretRef
    """The password in it: `K10<ca_hash>::server:<this>`."""
    agent_token: SecretRef
    """The password in it: `K10<ca_hash>::node:<this>`."""
    node_passwords: Mapping[str, SecretRef]
    """By the node's name."""
    more: Mapping[str, Sealed] = field(default_factory=dict)
    """What else this cluster's inventory asks for (`cluster.contents.secrets`), by its name in the vault."""
    founder: str = ""
    """The server whose image was built as the one that founds; empty = none was yet."""
    founded: str = ""
    """When the cluster is known to have been founded, UTC; empty = not yet, as far as the vault knows."""
    begins: int = 0
    """Since when the certificates are valid, in seconds since 1970; 0 = who wants to know reads them."""


@dataclass(frozen=True, slots=True)
class Part:
    """A node's part in its cluster: all that its image's share of the cluster is decided by."""

    cluster: Cluster
    node: Node
    duty: Duty
    servers: tuple[Node, ...]
    """Every server of the cluster, in the inventory's order, this node too where it is one."""
    sealed: SealedCluster | None = None
    """None where there is no vault yet: then the plan has no k3s in it, and says so."""


@dataclass(frozen=True, slots=True)
class Supply:
    """A file that is fetched, held to its digest and put into an image: k3s, its images, a package."""

    name: str
    """In words: `k3s v1.36.3+k3s1 for arm64`."""
    path: str
    """In the root of the image."""
    url: str
    """Empty = it is the file `file`."""
    digest: Digest
    size: int
    """Bytes; 0 = not known."""
    mode: int = 0o644
    file: str = ""
    """On this machine; decides nothing in the image."""
