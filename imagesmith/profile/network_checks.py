"""Finds what of a cluster's networks can't be together: pods in the nodes' network, a VIP that is taken or elsewhere.

Called by `profile.cluster` once everything is read; complaints go to the inventory's own list.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network

from imagesmith.profile.inventory import Entry, Inventory

_Network = IPv4Network | IPv6Network

_NODE_PREFIX = {4: 24, 6: 64}
"""Of the share of `pods` that each node gets; k3s's own choice."""
_SERVICES = {4: (12, 28), 6: (108, 124)}
"""The prefixes that Kubernetes takes for `services`; its name server has the tenth address."""
_FREE = {"pods": "10.142.0.0/16", "services": "10.143.0.0/16"}
_OWN = {"pods": "the pods' network", "services": "the services' network"}


def check_networks(inventory: Inventory) -> None:
    """Whether pods, services, nodes and the VIP have networks that go together."""
    network = inventory.cluster.network
    own = {"pods": ip_network(network.pods), "services": ip_network(network.services)}
    _check_sizes(inventory, own)
    _check_versions(inventory, own)
    if own["pods"].overlaps(own["services"]):
        key = "services" if inventory.says("network", "services") else "pods"
        message = f"the services' network {own['services']} and the pods' network {own['pods']} overlap"
        hint = "both are the cluster's own: take two that are free, like 10.42.0.0/16 and 10.43.0.0/16"
        inventory.complain("network", key, message, hint)
    for key, taken in own.items():
        _check_nodes(inventory, key, taken)
    if network.vip:
        _check_vip(inventory, own)


def _check_sizes(inventory: Inventory, own: dict[str, _Network]) -> None:
    pods, services, nodes = own["pods"], own["services"], len(inventory.entries)
    share = _NODE_PREFIX[pods.version]
    room = 2 ** (share - pods.prefixlen) if pods.prefixlen <= share else 0
    if room < nodes:
        message = f"{pods} has room for the pods of {room} nodes, a /{share} each, and there are {nodes} nodes"
        inventory.complain("network", "pods", message, "take a larger network, like 10.42.0.0/16")
    low, high = _SERVICES[services.version]
    if not low <= services.prefixlen <= high:
        message = f"Kubernetes takes a network from /{low} to /{high} for services, not {services}"
        inventory.complain("network", "services", message, "write it like 10.43.0.0/16")


def _check_versions(inventory: Inventory, own: dict[str, _Network]) -> None:
    pods, services = own["pods"], own["services"]
    if pods.version != services.version:
        message = f"pods have IPv{pods.version} and services IPv{services.version}; k3s wants one for both"
        inventory.complain("network", "services", message, "write both as IPv4, or both as IPv6")
        return
    for entry in inventory.entries:
        address, key = _address(entry)
        if address and ip_address(address).version != pods.version:
            message = f"{address} is not IPv{pods.version}, which the cluster's pods and services have"
            entry.fields.complain(key, message, "give the node an address of that kind, or `network` other ones")


def _check_nodes(inventory: Inventory, key: str, taken: _Network) -> None:
    """Each network of nodes is told once, however many nodes are in it."""
    told: set[_Network] = set()
    for entry, where, found in _node_networks(inventory):
        if found in told or not found.overlaps(taken):
            continue
        told.add(found)
        if where == "address":
            what = f"the network {found} of {entry.node.name} overlaps"
        else:
            what = f"{found.network_address} ({where} of {entry.node.name}) is in"
        message = f"{what} {_OWN[key]} {taken}: packets would go astray"
        free = f"that is nowhere else, like {_FREE[key]}"
        if inventory.says("network", key):
            inventory.complain("network", key, message, f"take one {free}")
        else:
            hint = f"{taken} is what k3s takes by itself; give `network: {{{key}: ...}}` one {free}"
            entry.fields.complain(where, message, hint)


def _node_networks(inventory: Inventory) -> Iterator[tuple[Entry, str, _Network]]:
    """What is on the nodes' side of the network, with the key that says so."""
    for entry in inventory.entries:
        network = entry.node.network
        if network.address:
            yield entry, "address", ip_interface(network.address).network
        if network.reserved:
            yield entry, "reserved", ip_network(network.reserved)
        for server in network.nameservers:
            yield entry, "nameservers", ip_network(server)


def _check_vip(inventory: Inventory, own: dict[str, _Network]) -> None:
    vip = ip_address(inventory.cluster.network.vip)
    for key, taken in own.items():
        if vip in taken:
            message = f"{vip} is in {_OWN[key]} {taken}, and it is an address among the servers'"
            inventory.complain("network", "vip", message, "take a free address in the servers' network")
    for entry in inventory.entries:
        network = entry.node.network
        holders = {_address(entry)[0]: f"the address of {entry.node.name}", network.gateway: "the gateway"}
        if holder := holders.get(str(vip)):
            message = f"{vip} is {holder}; one server after the other holds the VIP beside its own address"
            inventory.complain("network", "vip", message, "take an address that no machine has, outside DHCP's range")
            break
    _check_vip_place(inventory)


def _check_vip_place(inventory: Inventory) -> None:
    """Only a server with its prefix written tells what its network is."""
    vip = ip_address(inventory.cluster.network.vip)
    for entry in inventory.servers:
        if not entry.node.network.address:
            continue
        network = ip_interface(entry.node.network.address).network
        edges = (network[0], network[-1]) if network.version == 4 and network.prefixlen < 31 else ()
        if vip not in network:
            message = f"{vip} is outside {network}, the network of the server {entry.node.name}"
        elif vip in edges:
            message = f"{vip} is the network {network} itself or its broadcast address, not a machine's"
        else:
            continue
        inventory.complain("network", "vip", message, "all servers must be able to hold it: take one in their network")
        return


def _address(entry: Entry) -> tuple[str, str]:
    """What a node is known to have, and the key that says so; empty where that is for DHCP to decide."""
    network = entry.node.network
    return (network.address.partition("/")[0], "address") if network.address else (network.reserved, "reserved")
