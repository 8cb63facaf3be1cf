"""All that a node's part in its cluster puts into its image. Called by `planning.build`, and for its packages by
`workflow`.

A module of this folder that has something to add stands in `_SHARES` and offers the three functions of `Share`.
"""

from __future__ import annotations

from typing import Protocol

from imagesmith.cluster import access, backup, clock, firewall, hamachi, k3s, power, upkeep, vip, zerotier
from imagesmith.cluster.addons import manifests as addons
from imagesmith.model import Cluster, Edit, Materials, Node, Part, Profile, Promise


class Share(Protocol):
    """What a module adds; nothing is `()`."""

    def edits(self, part: Part, profile: Profile, materials: Materials) -> tuple[Edit, ...]: ...

    def promises(self, part: Part) -> tuple[Promise, ...]: ...

    def packages(self, part: Part) -> tuple[str, ...]: ...


_SHARES: tuple[Share, ...] = (
    access,
    firewall,
    clock,
    upkeep,
    k3s,
    vip,
    backup,
    zerotier,
    hamachi,
    power,
    addons,
)


class Keeper(Protocol):
    """A module of this folder that has secrets of its own in the vault."""

    def secrets(self, cluster: Cluster) -> tuple[str, ...]: ...


_KEEPERS: tuple[Keeper, ...] = (backup, zerotier, power, addons)


def secrets(cluster: Cluster) -> tuple[str, ...]:
    """The names in the vault of all that the inventory asks for, beside what k3s and every node has."""
    return tuple(dict.fromkeys(name for keeper in _KEEPERS for name in keeper.secrets(cluster)))


def edits(part: Part, profile: Profile, materials: Materials) -> tuple[Edit, ...]:
    """In the order in which they are to be made, after those of the node's family."""
    return tuple(edit for share in _SHARES for edit in share.edits(part, profile, materials))


def promises(part: Part) -> tuple[Promise, ...]:
    """What the first boot must bring about of it."""
    return tuple(promise for share in _SHARES for promise in share.promises(part))


def settled(part: Part, node: Node) -> Node:
    """The node as its cluster has it: by whom it is told the time, where others of the cluster do that."""
    return clock.settled(part, node)


def withdrawn(part: Part) -> frozenset[str]:
    """What a node's family promises, and what does not hold for this part: facts of the report."""
    return access.withdrawn(part) | clock.withdrawn(part)


def packages(part: Part) -> tuple[str, ...]:
    """The names of Debian packages that it needs, whether a base has them or not, each once."""
    return tuple(dict.fromkeys(name for share in _SHARES for name in share.packages(part)))
