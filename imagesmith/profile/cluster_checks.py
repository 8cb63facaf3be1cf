"""Finds what the nodes of an inventory can't be together: two of one name, too few servers, servers out of reach.

Called by `profile.cluster` once everything is read; complaints go to the inventory's own list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imagesmith.profile.addons import KEYS as _ADDONS
from imagesmith.profile.inventory import Entry, Inventory
from imagesmith.profile.k3s import ARCHITECTURES
from imagesmith.profile.load import weakness
from imagesmith.profile.shared import ports_of

_OF_K3S = ("role", "labels", "taints", "interface")
_SERVICE_PORTS = {80: "HTTP", 443: "HTTPS"}


def check_nodes(inventory: Inventory) -> None:
    """What holds for every inventory, with k3s or without."""
    _refuse_clash("name", ((entry, "name", entry.node.name) for entry in inventory.entries))
    _refuse_clash("address", _addresses(inventory.entries))
    _refuse_clash("mac", ((entry, "mac", entry.node.network.mac) for entry in inventory.entries))


def check_without_k3s(inventory: Inventory) -> None:
    """What would be said for nothing: no node would have any of it."""
    hint = "add `k3s: {channel: stable}`, or take this away"
    for name in dict.fromkeys((*inventory.tables, *_ADDONS)):
        if inventory.top.has(name):
            inventory.top.complain(name, "this is for the nodes of a k3s cluster, and there is no `k3s` here", hint)
    for entry in inventory.entries:
        for key in _OF_K3S:
            if entry.fields.has(key):
                entry.fields.complain(key, "this is for a node of k3s, and there is no `k3s` in this inventory", hint)


def check_k3s(inventory: Inventory) -> None:
    """Whether these nodes can be a k3s cluster."""
    for entry in inventory.entries:
        _check_role(entry)
    if inventory.roles_known:
        _check_servers(inventory)
    for entry in inventory.servers:
        _check_reached(entry)
    _check_files(inventory)
    _check_ports(inventory)


# -- every inventory ------------------------------------------------------------------------------


def _addresses(entries: Sequence[Entry]) -> Iterator[tuple[Entry, str, str]]:
    for entry in entries:
        network = entry.node.network
        yield entry, "address", network.address.partition("/")[0]
        yield entry, "reserved", network.reserved


def _refuse_clash(what: str, found: Iterator[tuple[Entry, str, str]]) -> None:
    first: dict[str, tuple[Entry, str]] = {}
    for entry, key, value in found:
        if not value:
            continue
        other, other_key = first.setdefault(value, (entry, key))
        if other is not entry:
            lines = f"lines {other.fields.line_of(other_key)} and {entry.fields.line_of(key)}"
            entry.fields.complain(key, f"two nodes have the {what} {value}: {lines}", "each machine needs its own")


# -- k3s ------------------------------------------------------------------------------------------


def _check_role(entry: Entry) -> None:
    board, role = (entry.profile.board, entry.node.role) if entry.profile else (None, None)
    if board and role and role not in board.roles:
        reason = weakness(board, role)
        hint = f"make it a {' or '.join(board.roles)}, or take a stronger board"
        entry.fields.complain("role", f"the board {board.name} can't be a {role}: {reason}", hint)


def _check_servers(inventory: Inventory) -> None:
    k3s, count = inventory.cluster.k3s, len(inventory.servers)
    if not count:
        message = "no node is a server, and without one there is no cluster to join"
        inventory.top.complain("nodes", message, "give one node a profile of a server, or `role: server`")
    elif k3s and k3s.datastore == "sqlite" and count > 1:
        message = f"sqlite is a file on one server, and there are {count} servers"
        inventory.complain("k3s", "datastore", message, "take etcd, with three servers; or keep one server")
    elif k3s and k3s.datastore == "etcd" and count % 2 == 0:
        majority, borne = count // 2 + 1, count // 2 - 1
        bears = f"bear the loss of {borne}, as {count - 1} do" if borne else "stop when either is lost"
        message = f"{count} servers with etcd {bears}: a change needs a majority of them, {majority} of {count}"
        hint = f"take {count - 1} or {count + 1} servers; `role: worker` makes one of them a worker"
        inventory.complain("k3s", "datastore", message, hint)


def _check_reached(entry: Entry) -> None:
    network = entry.node.network
    if not (network.address or network.reserved or network.resolvable):
        entry.fields.complain(
            "address",
            f"the server {entry.node.name} must be reached by the others before its image exists, "
            "and nobody knows what DHCP will give it",
            "give it an `address`; or `mac` and `reserved`, what your DHCP server keeps for it; or `resolvable: true` "
            "where your name server knows its name",
        )


def _check_files(inventory: Inventory) -> None:
    k3s = inventory.cluster.k3s
    boards = [entry.profile.board for entry in inventory.entries if entry.profile]
    if not k3s or not k3s.files or not inventory.roles_known:
        return
    used = {board.architecture for board in boards}
    for architecture in ARCHITECTURES:
        if architecture in k3s.files and architecture not in used:
            message = f"there is a program for {architecture}, and no node with such a processor"
            inventory.complain("k3s", "file", message, f"take {architecture} away")
        if architecture in used and architecture not in k3s.files:
            nodes = ", ".join(
                entry.node.name
                for entry in inventory.entries
                if entry.profile and entry.profile.board.architecture == architecture
            )
            message = f"there is no program for {architecture}, which {nodes} would need"
            inventory.complain("k3s", "file", message, f"add {architecture}: and the path of that program")


def _check_ports(inventory: Inventory) -> None:
    """Traefik takes two ports on every node, by ServiceLB: what else answers there is never asked."""
    k3s = inventory.cluster.k3s
    if not k3s or "traefik" in k3s.disable or "servicelb" in k3s.disable:
        return
    for key, port in ports_of(inventory.cluster.ssh).items():
        if port in _SERVICE_PORTS:
            message = f"port {port} is {_SERVICE_PORTS[port]}, which k3s gives to Traefik on every node"
            inventory.complain("ssh", key, message, "choose another, or `disable: [traefik]` in `k3s`")
