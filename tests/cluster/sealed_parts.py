"""A cluster with its secrets drawn, for the tests of k3s on its nodes, and what its files hold once written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from cluster.node_parts import MATERIALS, PROFILE, RACK, servers
from identity import drawing

from imagesmith.cluster import contents
from imagesmith.cluster.parts import part_of
from imagesmith.formats.credentials import revealed
from imagesmith.identity.tokens import ca_hash
from imagesmith.model import Cluster, Edit, K3s, Node, Part, PutFile, SealedCluster
from imagesmith.secret import Secret, SecretRef, SecretText

PASSWORDS = {
    "vault:cluster/server-token": b"5e7c" * 16,
    "vault:cluster/agent-token": b"a9e4" * 16,
    "vault:nodes/head/node-password": b"40de" * 8,
    "file:nas.password": b' a "quoted": #word',
}
HA = replace(RACK, nodes=(*servers(3), *RACK.nodes[1:]), k3s=K3s(datastore="etcd"))


@cache
def sealed(founded: str = "") -> SealedCluster:
    made = drawing.cluster()
    bundles = made.public()
    return SealedCluster(
        ca_hash=ca_hash(bundles["server-ca.crt"]),
        bundles=bundles,
        keys={name: SecretRef(f"vault:{name}") for name in made.private()},
        server_token=SecretRef("vault:cluster/server-token"),
        agent_token=SecretRef("vault:cluster/agent-token"),
        node_passwords={"head": SecretRef("vault:nodes/head/node-password")},
        founded=founded,
    )


def part(name: str = "head", cluster: Cluster = RACK, **changes: Any) -> Part:
    """The part of the node `name`, in the cluster with some of its fields changed."""
    cluster = replace(cluster, **changes)
    return part_of(cluster, _node(cluster, name), {one.name: one.role or "worker" for one in cluster.nodes}, sealed())


def _node(cluster: Cluster, name: str) -> Node:
    node = cluster.node(name)
    assert node is not None
    return node


def edits(part: Part) -> tuple[Edit, ...]:
    return contents.edits(part, PROFILE, MATERIALS)


def files(edits: tuple[Edit, ...]) -> dict[str, PutFile]:
    return {edit.path: edit for edit in edits if isinstance(edit, PutFile)}


def written(edit: PutFile, secrets: Mapping[str, bytes] = PASSWORDS) -> str:
    """What the file holds on the node."""
    if isinstance(edit.content, bytes):
        return edit.content.decode()
    assert isinstance(edit.content, SecretRef | SecretText)
    return revealed(edit.content, lambda ref: Secret(secrets[ref.name])).reveal().decode()
