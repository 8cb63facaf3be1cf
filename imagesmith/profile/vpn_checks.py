"""Finds what of an inventory's VPNs its nodes can't be: members of one address, k3s over it without addresses, Hamachi
on an ARM board. Called by `profile.cluster` once everything is read; complaints go to the inventory's own list.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_interface, ip_network

from imagesmith.model import Hamachi, ZeroTier
from imagesmith.model.vpn import STAYS_OUT
from imagesmith.profile.inventory import Entry, Inventory
from imagesmith.profile.schema import Fields, did_you_mean


def check_vpn(inventory: Inventory, tables: Mapping[str, Fields]) -> None:
    """`tables` are those of `vpn` that are written."""
    vpn = inventory.cluster.vpn
    if vpn is None or vpn.zerotier is None:
        _refuse_members(inventory, "zerotier" in tables)
    if vpn and vpn.zerotier:
        _check_members(inventory, vpn.zerotier)
        _check_files(inventory, vpn.zerotier, tables["zerotier"])
        if vpn.zerotier.k3s:
            _check_k3s(inventory, tables["zerotier"])
    if vpn and vpn.hamachi:
        _check_hamachi(inventory, vpn.hamachi, tables["hamachi"])


# -- ZeroTier -------------------------------------------------------------------------------------


def _refuse_members(inventory: Inventory, was_tried: bool) -> None:
    for entry in inventory.entries:
        if entry.fields.has("zerotier") and not was_tried:
            message = "this is the node's address in a ZeroTier network, and there is none in this inventory"
            entry.fields.complain("zerotier", message, "add `vpn: {zerotier: {network: ...}}`, or take this away")


def _check_members(inventory: Inventory, zerotier: ZeroTier) -> None:
    first: dict[str, Entry] = {}
    for entry in inventory.entries:
        address = entry.zerotier
        if not address or address == STAYS_OUT:
            continue
        if "managed" not in zerotier.routes:
            message = "its network gives no addresses: `routes` has no `managed`"
            entry.fields.complain("zerotier", message, "add it there, or take this away")
        other = first.setdefault(address, entry)
        if other is not entry:
            lines = f"lines {other.fields.line_of('zerotier')} and {entry.fields.line_of('zerotier')}"
            message = f"two nodes have the address {address} in the ZeroTier network: {lines}"
            entry.fields.complain("zerotier", message, "each node needs its own")
        if where := _taken(inventory, entry):
            hint = "take one of those that the network's page has under Managed Routes"
            entry.fields.complain("zerotier", f"{address} is in {where}: packets would go astray", hint)


def _taken(inventory: Inventory, entry: Entry) -> str:
    """Whose network an address is in already; empty = nobody's."""
    address, network = ip_address(entry.zerotier), inventory.cluster.network
    if inventory.cluster.k3s:
        for text, whose in ((network.pods, "the pods' network"), (network.services, "the services' network")):
            if address in ip_network(text):
                return f"{whose} {text}"
    for other in inventory.entries:
        own = other.node.network.address
        if own and address in ip_interface(own).network:
            return f"{ip_interface(own).network}, the network of {other.node.name} itself"
    return ""


def _check_files(inventory: Inventory, zerotier: ZeroTier, fields: Fields) -> None:
    used = {entry.profile.board.architecture for entry in inventory.entries if entry.profile}
    for architecture in zerotier.files:
        if architecture not in used and inventory.roles_known:
            message = f"there is a package for {architecture}, and no node with such a processor"
            fields.complain("file", message, f"take {architecture} away")


def _check_k3s(inventory: Inventory, fields: Fields) -> None:
    """What k3s over the VPN takes: an address of every node that is known now, and one server, or no etcd."""
    cluster = inventory.cluster
    for entry in inventory.entries:
        if entry.zerotier in ("", STAYS_OUT):
            message = f"k3s is to go over ZeroTier (line {fields.line_of('k3s')}), and {entry.node.name} has no address"
            entry.fields.complain("zerotier", f"{message} there", "write the node's address in that network")
        elif ip_address(entry.zerotier).version != ip_network(cluster.network.pods).version:
            entry.fields.complain("zerotier", "it is not of the IP version that pods have", "give one of that kind")
        if entry.node.interface:
            message = "k3s over ZeroTier uses that network's interface, whose name is known"
            entry.fields.complain("interface", message, "take this away, or `k3s: true` of vpn")
    if cluster.k3s and cluster.k3s.datastore == "etcd" and len(inventory.servers) > 1:
        message = f"k3s does not support etcd over a VPN, and there are {len(inventory.servers)} servers"
        fields.complain("k3s", message, "keep one server, or leave k3s on the nodes' own network")
    for key in ("interface", "vip"):
        if inventory.says("network", key):
            what = "an address of the nodes' own network" if key == "vip" else "another interface"
            inventory.complain("network", key, f"k3s is to go over ZeroTier, and this is {what}", "keep one of the two")


# -- Hamachi --------------------------------------------------------------------------------------


def _check_hamachi(inventory: Inventory, hamachi: Hamachi, fields: Fields) -> None:
    by_name = {entry.node.name: entry for entry in inventory.entries}
    for name in hamachi.nodes:
        entry = by_name.get(name)
        if entry is None:
            known = ", ".join(by_name)
            fields.complain("nodes", f"there is no node {name!r}{did_you_mean(name, by_name)}", f"nodes: {known}")
        elif entry.profile and entry.profile.board.architecture != "amd64":
            board = entry.profile.board
            message = f"{name} is {board.title} ({board.architecture}), and LogMeIn has no Hamachi for that"
            hint = "give it ZeroTier, or reach it through a PC of the rack that has Hamachi: ssh -J PC"
            fields.complain("nodes", message, hint)
