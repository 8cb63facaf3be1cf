"""A small cluster for the tests of what its nodes have in common, and every node's part in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from imagesmith import resources
from imagesmith.cluster.parts import part_of
from imagesmith.model import (
    Base,
    Board,
    Cluster,
    Edit,
    FileSource,
    K3s,
    Network,
    Node,
    Part,
    Profile,
    PutFile,
)

MATERIALS = resources.materials()
BASE = Base("stock", "debian", FileSource("stock.img"))
BOARD = Board("board", "A board", "amd64", 1 << 32, (BASE,), None, ("server", "worker"))
PROFILE = Profile("some", "A machine", BOARD, "worker", "stock")
SERVER = Node("head", "some", network=Network("192.168.7.10/24"), role="server", domain="rack.example")
FIRST = Node("arm-1", "some", network=Network("192.168.7.21/24"), domain="rack.example")
SECOND = Node("arm-2", "some", network=Network("192.168.7.22/24"), domain="rack.example")
RACK = Cluster("rack", "rack.example", (SERVER, FIRST, SECOND), k3s=K3s())


def servers(count: int) -> tuple[Node, ...]:
    return tuple(replace(SERVER, name=f"head-{n}", network=Network(f"192.168.7.{n}/24")) for n in range(1, count + 1))


def part(name: str = "head", cluster: Cluster = RACK, **changes: Any) -> Part:
    """The part of the node `name`, in the cluster with some of its fields changed."""
    cluster = replace(cluster, **changes)
    node = cluster.node(name)
    assert node is not None
    return part_of(cluster, node, {one.name: one.role or "worker" for one in cluster.nodes}, None)


def texts(edits: tuple[Edit, ...]) -> dict[str, str]:
    """Every file that is put, as text, by its path."""
    return {e.path: e.content.decode() for e in edits if isinstance(e, PutFile) and isinstance(e.content, bytes)}
