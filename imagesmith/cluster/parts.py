"""Who founds a cluster and who joins it: the inventory and the roles of its nodes become a node's `Part`."""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.cluster import zerotier
from imagesmith.formats.zerotier import interface as zerotier_interface
from imagesmith.model import Board, Cluster, Node, Part, Role, SealedCluster


def part_of(cluster: Cluster, node: Node, roles: Mapping[str, Role], sealed: SealedCluster | None) -> Part:
    """The part of `node`, as it is to be built, in its cluster; `roles` are those of every node, by name.

    The first server of the inventory founds, or the one that was first built to: in whatever order the inventory has
    them since, two images that found would make two clusters. Once the vault knows that the cluster was founded, a
    server that is built anew joins the others, for the same reason. A lone server has nobody to join.
    """
    servers = tuple(node if one.name == node.name else one for one in cluster.nodes if roles[one.name] == "server")
    if roles[node.name] == "worker":
        return Part(cluster, node, "agent", servers, sealed)
    names = [server.name for server in servers]
    founder = sealed.founder if sealed and sealed.founder in names else names[0]
    founded = sealed is not None and bool(sealed.founded)
    founds = node.name == founder and (len(servers) == 1 or not founded)
    return Part(cluster, node, "founder" if founds else "server", servers, sealed)


def reached_at(node: Node, domain: str) -> str:
    """What the other nodes reach a node by: its address, else the one that DHCP keeps for it, else its name."""
    return own_address(node) or _full_name(node, domain)


def own_address(node: Node) -> str:
    """The address that a node is known to have; empty = whatever it gets."""
    return node.network.address.partition("/")[0] or node.network.reserved


def spoken_at(node: Node, cluster: Cluster) -> str:
    """The address that the nodes of k3s know each other by; empty = whatever it gets."""
    return zerotier.address_of(node, cluster) if zerotier.carries_k3s(cluster) else own_address(node)


def joined_at(node: Node, cluster: Cluster) -> str:
    """What the other nodes of k3s reach a node by: as `reached_at`, where they don't speak over a VPN."""
    return spoken_at(node, cluster) or _full_name(node, cluster.domain)


def interface_of(node: Node, cluster: Cluster) -> str:
    """What pods' packets go by on the node; empty = whatever its default route does."""
    found = zerotier.asked(cluster)
    if found and found.k3s:
        return zerotier_interface(found.network)
    return named_interface(node, cluster)


def named_interface(node: Node, cluster: Cluster) -> str:
    """What the inventory names of the nodes' own networks."""
    return node.interface or cluster.network.interface


def tls_names(part: Part) -> tuple[str, ...]:
    """What the servers' certificates are for, the same on all of them: their names and addresses, the VIP, and more.

    In the inventory's order, each once.
    """
    cluster = part.cluster
    found: list[str] = []
    for server in part.servers:
        found += [server.name, _full_name(server, cluster.domain), reached_at(server, cluster.domain)]
        found.append(zerotier.address_of(server, cluster))
    return tuple(dict.fromkeys(name for name in (*found, cluster.network.vip, *cluster.network.names) if name))


def cautions(part: Part, board: Board) -> tuple[str, ...]:
    """What is to be minded of a node's part on its board; `plan` and `build` say it, and go on."""
    found = []
    if part.sealed is None:
        found.append(
            "nothing of k3s is in this plan: the cluster's secrets are not drawn yet. The build draws them into the "
            "vault; where there is none: imagesmith vault create"
        )
    k3s = part.cluster.k3s
    if part.duty != "agent" and k3s and k3s.datastore == "etcd" and board.storage == "card":
        found.append(
            "etcd on an SD card: it waits for the card after every change, so a slow card stops the cluster, and any "
            f"wears out; start this {board.title} from an SSD, or keep the data in sqlite on one server with a disk"
        )
    if part.duty == "founder" and part.sealed and part.sealed.founded:
        found.append(
            f"this starts the cluster anew, with nothing in it: it was founded before {part.sealed.founded}, and all "
            "that it knows is on the card of its only server"
        )
    mirrored = k3s and any(registry.endpoints for registry in k3s.registries)
    if part.duty != "agent" and k3s and k3s.airgap and part.cluster.network.vip and not mirrored:
        found.append(
            "the VIP's own image, kube-vip, is not among those that airgap brings, and no registry has endpoints to "
            "get it from: without internet nobody holds the VIP"
        )
    if part.duty != "agent" and k3s and k3s.airgap and part.cluster.addons and not mirrored:
        found.append(
            "the add-ons' images are not among those that airgap brings, and no registry has endpoints to get them "
            "from: without internet they wait; imagesmith addons images names them"
        )
    interfaces = vip_interfaces(part)
    if part.duty != "agent" and part.cluster.network.vip and len(interfaces) > 1:
        found.append(
            f"the servers name different interfaces ({', '.join(one or 'none' for one in interfaces)}), and the VIP "
            "has one for all: each holds it on that of its default route"
        )
    return tuple(found)


def vip_interfaces(part: Part) -> tuple[str, ...]:
    """What the servers name, each once: who holds the VIP is one object of the cluster, so it is told one alone."""
    return tuple(dict.fromkeys(interface_of(server, part.cluster) for server in part.servers))


def _full_name(node: Node, domain: str) -> str:
    return f"{node.name}.{domain}" if domain else node.name
