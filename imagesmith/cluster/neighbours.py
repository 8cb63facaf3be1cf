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
    """The networks of the nodes' addresses; and every private one where a node's address is not known, or where the
    cluster speaks over an interface that is named, which need not be the one with that address."""
    cluster = part.cluster
    known = [_network(node) for node in cluster.nodes if address(node)]
    everywhere = cluster.network.interface or any(not address(node) for node in cluster.nodes)
    return _joined((*known, *PRIVATE) if everywhere else known)


def servers(part: Part) -> tuple[Range, ...]:
    """The servers' addresses alone, under the same conditions; else as of all nodes."""
    if part.cluster.network.interface or any(not address(node) for node in part.servers):
        return nodes(part)
    return _joined(ip_network(address(node)) for node in part.servers)


def address(node: Node) -> str:
    """A node's own or the one that is reserved for it, without prefix length, in its short form; empty = not known."""
    network = node.network
    return str(ip_interface(network.address or network.reserved).ip) if network.address or network.reserved else ""


def _network(node: Node) -> Range:
    """A reserved address stands for itself: how long its prefix is, only DHCP knows."""
    return ip_interface(node.network.address).network if node.network.address else ip_network(address(node))


def _joined(ranges: Iterable[Range]) -> tuple[Range, ...]:
    found = tuple(ranges)
    four = collapse_addresses(one for one in found if isinstance(one, IPv4Network))
    six = collapse_addresses(one for one in found if isinstance(one, IPv6Network))
    return (*four, *six)
