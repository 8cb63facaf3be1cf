"""Reads an inventory (cluster.yaml): a cluster's name, what its nodes share, and the nodes.

Precedence of a setting, weakest first: built in, the profile's, the inventory's `defaults`, the node's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from imagesmith.errors import Problem
from imagesmith.model import Cluster, ClusterNetwork, Network, Node, Profile, Role, Settings, SshAccess, Upkeep, Wifi
from imagesmith.profile import kubernetes, names
from imagesmith.profile.addons import Around, read_addons
from imagesmith.profile.addons_checks import check_addons
from imagesmith.profile.backup import check_backup, read_backup
from imagesmith.profile.cluster_checks import check_k3s, check_nodes, check_without_k3s
from imagesmith.profile.inventory import Entry, Inventory
from imagesmith.profile.k3s import read_k3s, settled
from imagesmith.profile.load import ROLE, named_one
from imagesmith.profile.network_checks import check_networks
from imagesmith.profile.power import read_power
from imagesmith.profile.power_checks import check_power
from imagesmith.profile.power_checks import settled as settled_power
from imagesmith.profile.schema import Fields, did_you_mean, kept, mapping, read_document, settle, table, text
from imagesmith.profile.settings import (
    NETWORK,
    NO_WIFI,
    PERSONAL,
    SETTINGS,
    SHARED_NETWORK,
    network_complaint,
    settings_in,
    taken,
)
from imagesmith.profile.shared import read_network, read_ssh, read_upkeep
from imagesmith.profile.target_disk import target_disk
from imagesmith.profile.vpn import member_address, read_vpn, with_members
from imagesmith.profile.vpn_checks import check_vpn


def load_cluster(content: str, file: str, profiles: Mapping[str, Profile], around: Around | None = None) -> Cluster:
    """The inventory in `content`; `file` is its path, for complaints and for `Cluster.path`. Raises DocumentInvalid."""
    problems: list[Problem] = []
    near = around or Around()
    cluster = read_document(content, file, lambda fields: _cluster(fields, file, profiles, near), problems)
    return settle(cluster, problems)


def settings_of(profile: Profile, *wider_to_narrower: Mapping[str, Any]) -> Settings:
    """The profile's settings with what people wrote laid over them."""
    merged: dict[str, Any] = dict(profile.settings)
    for layer in wider_to_narrower:
        merged.update(layer)
    return replace(Settings(), **merged)


def _cluster(fields: Fields, file: str, profiles: Mapping[str, Profile], around: Around) -> Cluster:
    name = fields.need("name", text(names.host_name), "")
    domain = fields.take("domain", text(names.domain), "")
    shared = fields.take("defaults", table(lambda inner: taken(inner, {**SETTINGS, **SHARED_NETWORK, **PERSONAL})), {})
    if fields.is_blank("k3s"):
        fields.complain("k3s", "there is nothing behind it", "write `k3s: {channel: stable}`, or take the line away")
    nothing: tuple[Fields | None, Any] = (None, None)
    k3s_fields, k3s = fields.take("k3s", kept(read_k3s), nothing)
    network_fields, network = fields.take("network", kept(read_network), (None, ClusterNetwork()))
    ssh_fields, ssh = fields.take("ssh", kept(read_ssh), (None, SshAccess()))
    upkeep_fields, upkeep = fields.take("upkeep", kept(read_upkeep), (None, Upkeep()))
    backup_fields, backup = fields.take("backup", kept(read_backup), nothing)
    vpn_fields, (vpn_tables, vpn) = fields.take("vpn", kept(read_vpn), (None, ({}, None)))
    power_fields, power = fields.take("power", kept(lambda inner: read_power(inner, around.drivers())), nothing)
    addons, addon_tables = read_addons(fields, around)
    frame = Node(name="", profile="", cluster=name, domain=domain)
    entries = fields.need_all("nodes", table(lambda inner: _node(inner, frame, shared, profiles)))
    if k3s and k3s_fields:
        k3s = settled(k3s, k3s_fields, sum(entry.role == "server" for entry in entries))
    if power and power_fields:
        power = settled_power(power, power_fields, entries)
    nodes = tuple(entry.node for entry in entries)
    vpn = with_members(vpn, entries)
    cluster = Cluster(
        name, domain, nodes, file, k3s, network, ssh, upkeep, backup=backup, vpn=vpn, addons=addons, power=power
    )
    tables = {
        "k3s": k3s_fields,
        "network": network_fields,
        "ssh": ssh_fields,
        "upkeep": upkeep_fields,
        "backup": backup_fields,
        "vpn": vpn_fields,
        "power": power_fields,
    }
    written = {key: found for key, found in tables.items() if found}
    inventory = Inventory(cluster, entries, fields, {**written, **addon_tables})
    _check(inventory)
    check_vpn(inventory, vpn_tables)
    return cluster


def _check(inventory: Inventory) -> None:
    check_nodes(inventory)
    if inventory.cluster.k3s:
        check_k3s(inventory)
        check_networks(inventory)
        check_power(inventory)
        check_backup(inventory)
        check_addons(inventory)
    elif not inventory.top.has("k3s") and not inventory.top.is_blank("k3s"):
        check_without_k3s(inventory)


def _node(fields: Fields, frame: Node, shared: Mapping[str, Any], profiles: Mapping[str, Profile]) -> Entry:
    name = fields.need("name", text(names.host_name), "")
    profile_name, profile = fields.need("profile", named_one(profiles, "profile"), ("", None))
    base = fields.take("base", text(names.profile_name), "")
    if profile and base and profile.base_named(base) is None:
        known = [base.name for base in profile.board.bases]
        fields.complain("base", f"{profile_name} has no base {base!r}{did_you_mean(base, known)}", ", ".join(known))
    own = taken(fields, {**NETWORK, **SETTINGS, **PERSONAL})
    # A shared gateway is for nodes with an address; the others learn theirs by DHCP.
    inherited = dict(shared) if "address" in own else {key: shared[key] for key in shared if key != "gateway"}
    merged = {**inherited, **own}
    role: Role | None = fields.take("role", ROLE, None)
    network = Network(
        **{key: value for key, value in merged.items() if key in NETWORK},
        wifi=_wifi(fields, profile, role, own, shared) if profile else None,
    )
    key, complaint = network_complaint(network)
    if complaint:
        fields.complain(key if fields.has(key) else "address", complaint)
    settings = settings_in(merged)
    node = replace(
        frame,
        name=name,
        profile=profile_name,
        base=base,
        network=network,
        disk=fields.take("disk", target_disk, None),
        settings=settings_of(profile, settings) if profile else Settings(),
        role=role,
        labels=fields.take("labels", mapping(kubernetes.label_key, text(kubernetes.label_value)), {}),
        taints=_taints(fields),
        interface=fields.take("interface", text(kubernetes.interface), ""),
    )
    return Entry(node, profile, fields, fields.take("zerotier", text(member_address), ""))


def _taints(fields: Fields) -> tuple[str, ...]:
    """Kubernetes holds one taint of a key and an effect; it would refuse the node."""
    taints = fields.take_all("taints", text(kubernetes.taint))
    known = [(taint.rpartition(":")[0].partition("=")[0], taint.rpartition(":")[2]) for taint in taints]
    for key, effect in sorted({one for one in known if known.count(one) > 1}):
        fields.complain("taints", f"two taints have the key {key} and the effect {effect}", "keep one of them")
    return taints


def _wifi(
    fields: Fields, profile: Profile, role: Role | None, own: Mapping[str, Any], shared: Mapping[str, Any]
) -> Wifi | None:
    """A node's own word, else the shared one for workers with a radio: servers are reached by wire."""
    chosen: Wifi | None = own.get("wifi")
    if chosen and chosen != NO_WIFI and not profile.board.wifi:
        fields.complain("wifi", f"the board {profile.board.name} has no Wi-Fi", "take this away; the node has its wire")
    if chosen is None and (role or profile.role) == "worker" and profile.board.wifi:
        chosen = shared.get("wifi")
    return None if chosen == NO_WIFI else chosen
