"""From where a cluster's nodes speak to each other, as far as its inventory tells. Called by `firewall` and `clock`."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_interface, ip_network

from imagesmith.cluster.parts import named_interface
from imagesmith.model import Node, Part

Range = IPv4Network | IPv6Network

PRIVATE: tuple[Range, ...] = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
)
"""Where a node with an address from DHCP may be: on no network that the internet reaches (RFC 1918, 4193, 4291)."""


_RESERVED = {4: 24, 6: 64}
"""The prefix of the network that a reserved address is taken to be in: only DHCP knows it; these are usual."""


def nodes(part: Part) -> tuple[Range, ...]:
    """The networks of the nodes' addresses; and every private one where a node's address is not known, or where
    one speaks over an interface that is named, which need not be the one with that address.

    Networks, not addresses: a node that is added later speaks to those that were built before it.
    """
    return _spoken_from(part, part.cluster.nodes)


def servers(part: Part) -> tuple[Range, ...]:
    """The networks of the servers' addresses, in the same way."""
    return _spoken_from(part, part.servers)


def address(node: Node) -> str:
    """A node's own or the one that is reserved for it, without prefix length, in its short form; empty = not known."""
    network = node.network
    return str(ip_interface(network.address or network.reserved).ip) if network.address or network.reserved else ""


def _spoken_from(part: Part, who: Iterable[Node]) -> tuple[Range, ...]:
    who = tuple(who)
    known = [_network(node) for node in who if address(node)]
    if len(known) < len(who) or any(named_interface(node, part.cluster) for node in who):
        # Whoever's address is known is on its own network, private or not.
        return _joined((*(_network(node) for node in part.cluster.nodes if address(node)), *PRIVATE))
    return _joined(known)


def _network(node: Node) -> Range:
    if node.network.address:
        return ip_interface(node.network.address).network
    own = ip_interface(node.network.reserved)
    return ip_interface(f"{own.ip}/{_RESERVED[own.version]}").network


def _joined(ranges: Iterable[Range]) -> tuple[Range, ...]:
    found = tuple(ranges)
    four = collapse_addresses(one for one in found if isinstance(one, IPv4Network))
    six = collapse_addresses(one for one in found if isinstance(one, IPv6Network))
    return (*four, *six)
