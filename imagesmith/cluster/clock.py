"""Who tells a cluster's nodes the time: its servers, so that a rack without internet has one time too.

A server whose address is known serves time by chrony, also where nobody tells it the time itself; several of them
agree on one (chrony.conf(5), `local ... orphan`). The other nodes ask the servers. Called by `cluster.contents`.
"""

from __future__ import annotations

from dataclasses import replace

from imagesmith.cluster import neighbours
from imagesmith.model import Edit, Materials, Node, Part, Profile, Promise, PutFile

CONF = "/etc/imagesmith/chrony.conf"
"""The step 66-clock-service puts it where chrony reads it, once chrony is there."""
PORT = 123
STRATUM = 10
"""Far from every real clock, so that any of those is believed before."""


def serves(part: Part) -> bool:
    """Whether this node tells the others the time."""
    return part.cluster.upkeep.serve_time and part.duty != "agent" and bool(neighbours.address(part.node))


def settled(part: Part, node: Node) -> Node:
    """The node with the servers among those that it asks for the time, after those that the inventory names."""
    told = (*node.settings.time_servers, *_tellers(part))
    return replace(node, settings=replace(node.settings, time_servers=tuple(dict.fromkeys(told))))


def edits(part: Part, profile: Profile, materials: Materials) -> tuple[Edit, ...]:
    return (PutFile("root", CONF, _chrony(part).encode()),) if serves(part) else ()


def promises(part: Part) -> tuple[Promise, ...]:
    return (Promise("unit.chrony.service", "equals", "active", "it tells the nodes the time"),) if serves(part) else ()


def withdrawn(part: Part) -> frozenset[str]:
    """chrony takes the place of systemd's own."""
    return frozenset({"unit.systemd-timesyncd.service"}) if serves(part) else frozenset()


def packages(part: Part) -> tuple[str, ...]:
    return ("chrony",) if serves(part) else ()


def _tellers(part: Part) -> tuple[str, ...]:
    """The other servers that serve time; servers ask each other, which makes them agree where nobody else answers."""
    if not part.cluster.upkeep.serve_time:
        return ()
    others = (node for node in part.servers if node.name != part.node.name)
    return tuple(neighbours.address(node) for node in others if neighbours.address(node))


def _chrony(part: Part) -> str:
    lines = [
        "# This node tells the cluster's nodes the time. Without anybody to ask it tells its own; where servers differ",
        "# and nobody else answers, they agree on the time of one of them.",
        *(f"allow {network}" for network in neighbours.nodes(part)),
        f"local stratum {STRATUM} orphan",
    ]
    return "\n".join(lines) + "\n"
