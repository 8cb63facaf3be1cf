"""The nodes of an inventory, reached over SSH: who they are, by which keys they are known, asked side by side.

Called by every workflow about nodes that run. Reads the inventory, profiles and the vault's index; opens no vault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from imagesmith.cluster.parts import part_of, reached_at
from imagesmith.errors import NodeUnreachable, UsageError
from imagesmith.model import Architecture, Cluster, Node
from imagesmith.planning.health import KubeNode, read_nodes
from imagesmith.planning.life import KUBECTL
from imagesmith.profile.schema import did_you_mean
from imagesmith.remote.session import Session, session
from imagesmith.remote.way import Way
from imagesmith.vault.founding import founding
from imagesmith.vault.index import read_index
from imagesmith.vault.names import KINDS, OLD, host_key_name
from imagesmith.vault.store import now
from imagesmith.workflow.sealed import beside, host_keys_of, sealed_cluster
from imagesmith.workflow.target import DEFAULT_INVENTORY, catalogue_of, load_inventory
from imagesmith.workflow.vault import record_founded

CONF = "/etc/imagesmith/cluster.conf"
AT_ONCE = 16
"""Nodes that are asked side by side."""
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Rack:
    """An inventory with what is known beside it."""

    cluster: Cluster
    vault: Path | None
    """None where there is none: then nodes are known by the user's own known_hosts."""
    duties: Mapping[str, str]
    """`founder`, `server`, `agent` by the node's name, in the inventory's order; empty without k3s."""
    identity: Path | None = None
    """The private key to log in with; None = as ssh finds it."""

    @property
    def servers(self) -> tuple[str, ...]:
        return tuple(node for node, duty in self.duties.items() if duty in ("founder", "server"))

    def node(self, name: str) -> Node:
        """Raises UsageError."""
        found = self.cluster.node(name)
        if found is None:
            known = [node.name for node in self.cluster.nodes]
            raise UsageError(
                f"the inventory has no node {name[:80]!r}{did_you_mean(name, known)}", where=self.cluster.path,
                hint=f"nodes: {', '.join(known)}",
            )  # fmt: skip
        return found


def rack(inventory: Path | None, vault: Path | None, identity: Path | None = None) -> Rack:
    """The inventory at a path, else ./cluster.yaml, and the vault beside it. Raises UsageError, DocumentInvalid."""
    cluster = load_inventory(inventory)
    if cluster is None:
        raise UsageError("there is no inventory here, so there are no nodes", hint="imagesmith init writes one")
    folder = vault or beside(inventory or DEFAULT_INVENTORY)
    return rack_of(cluster, folder if vault or folder.exists() else None, identity)


def rack_of(cluster: Cluster, vault: Path | None, identity: Path | None = None) -> Rack:
    """The same, where the inventory was read already."""
    return Rack(cluster, vault, _duties(cluster, vault), identity)


def architectures(of: Rack) -> dict[str, Architecture]:
    """By the node's name."""
    profiles = catalogue_of(of.cluster).profiles
    return {node.name: profiles[node.profile].board.architecture for node in of.cluster.nodes}


@contextmanager
def reached(of: Rack, *, old_keys_too: bool = False) -> Iterator[Session]:
    """All nodes, to be asked in the block. `old_keys_too`: a key that a rotation replaced is taken as well."""
    with session(_way(of, node, old_keys_too) for node in of.cluster.nodes) as found:
        yield found


def each(names: Iterable[str], ask: Callable[[str], Found]) -> dict[str, Found]:
    """What `ask` says of every node, asked side by side, in the order of the names."""
    names = tuple(names)
    with ThreadPoolExecutor(max(1, min(AT_ONCE, len(names)))) as pool:
        return dict(zip(names, pool.map(ask, names), strict=True))


def ask_cluster(nodes: Session, servers: Iterable[str]) -> tuple[str, dict[str, KubeNode]] | None:
    """The first of the servers that tells of the cluster's nodes, and what it tells; None where none does."""
    for server in servers:
        try:
            told = nodes.run(server, (*KUBECTL, "get", "nodes", "-o", "json", "--request-timeout=20s"))
            return server, read_nodes(told.stdout, server)
        except NodeUnreachable:
            continue
    return None


def asked_cluster(nodes: Session, servers: Iterable[str]) -> tuple[str, dict[str, KubeNode]]:
    """As `ask_cluster`. Raises NodeUnreachable where no server tells."""
    found = ask_cluster(nodes, servers)
    if found is None:
        raise NodeUnreachable("no server tells of the cluster's nodes", hint="imagesmith status says why")
    return found


def seen_alive(of: Rack, nodes: Session, server: str) -> None:
    """The vault remembers that its cluster exists, since `server` told of it. One that was built with other authorities
    than the vault has by now is of another cluster."""
    if of.vault is None or founding(read_index(of.vault).facts).founded:
        return
    try:
        told = nodes.run(server, ("sed", "-n", "s/^CLUSTER_CA_HASH='\\(.*\\)'$/\\1/p", CONF)).stdout
    except NodeUnreachable:
        # It is none of our images.
        told = b""
    record_founded(of.vault, now(), told.decode("ascii", "replace").strip())


def _duties(cluster: Cluster, vault: Path | None) -> dict[str, str]:
    if cluster.k3s is None:
        return {node.name: "" for node in cluster.nodes}
    profiles = catalogue_of(cluster).profiles
    roles = {node.name: node.role or profiles[node.profile].role for node in cluster.nodes}
    sealed = sealed_cluster(cluster, vault)
    return {node.name: part_of(cluster, node, roles, sealed).duty for node in cluster.nodes}


def _way(of: Rack, node: Node, old_keys_too: bool) -> Way:
    known: tuple[str, ...] = ()
    if of.vault is not None:
        known = tuple(key.public for key in host_keys_of(of.vault, node.name))
        if not known:
            raise UsageError(
                f"the vault has no host key of {node.name}, so it can't be known", where=str(of.vault),
                hint="imagesmith known-hosts draws what is missing; a node that was built without it is built anew",
            )  # fmt: skip
        if old_keys_too:
            kept = read_index(of.vault).secrets
            before = [host_key_name(node.name, kind) + OLD for kind in KINDS]
            known += tuple(kept[name].public for name in before if name in kept)
    host = reached_at(node, of.cluster.domain)
    return Way(node.name, host, node.settings.user, of.cluster.ssh.port, known, of.identity)
