"""Who founds a cluster and who joins it: the inventory and the roles of its nodes become a node's `Part`."""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.model import Cluster, Node, Part, Role, SealedCluster


def part_of(cluster: Cluster, node: Node, roles: Mapping[str, Role], sealed: SealedCluster | None) -> Part:
    """The part of `node`, as it is to be built, in its cluster; `roles` are those of every node, by name.

    The first server of the inventory founds. Once the vault knows that the cluster was founded, a server that is built
    anew joins the others: a second founding would make a second cluster. A lone server has nobody to join.
    """
    servers = tuple(node if one.name == node.name else one for one in cluster.nodes if roles[one.name] == "server")
    if roles[node.name] == "worker":
        return Part(cluster, node, "agent", servers, sealed)
    first = servers[0].name == node.name
    founded = sealed is not None and bool(sealed.founded)
    founds = first and (len(servers) == 1 or not founded)
    return Part(cluster, node, "founder" if founds else "server", servers, sealed)
