"""From where a cluster's nodes speak to each other, as far as its inventory tells. Called by `firewall` and `clock`."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_interface, ip_network

from imagesmith.model import Node, Part

Range = IPv4Network | IPv6Network

PRIVATE: tuple[Range, ...] = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
)
"""Where a node with an address from DHCP may be: on no network that the internet reaches (RFC 1918, 4193, 4291)."""


def nodes(part: Part) -> tuple[Range, ...]:
    """The networks of the nodes' addresses; and every private one where a node has no address of its own, or where the
    cluster speaks over an interface that is named, which need not be the one with that address."""
    cluster = part.cluster
    known = [ip_interface(node.network.address).network for node in cluster.nodes if node.network.address]
    everywhere = cluster.network.interface or any(not node.network.address for node in cluster.nodes)
    return _joined((*known, *PRIVATE) if everywhere else known)


def servers(part: Part) -> tuple[Range, ...]:
    """The servers' addresses alone, under the same conditions; else as of all nodes."""
    if part.cluster.network.interface or any(not node.network.address for node in part.servers):
        return nodes(part)
    return _joined(ip_network(address(node)) for node in part.servers)


def address(node: Node) -> str:
    """Without its prefix length, in its short form; empty where DHCP gives one."""
    return str(ip_interface(node.network.address).ip) if node.network.address else ""


def _joined(ranges: Iterable[Range]) -> tuple[Range, ...]:
    found = tuple(ranges)
    four = collapse_addresses(one for one in found if isinstance(one, IPv4Network))
    six = collapse_addresses(one for one in found if isinstance(one, IPv6Network))
    return (*four, *six)
