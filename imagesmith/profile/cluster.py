"""Reads an inventory (cluster.yaml): a cluster's name, what its nodes share, and the nodes.

Precedence of a setting, weakest first: built in, the profile's, the inventory's `defaults`, the node's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from imagesmith.errors import Problem
from imagesmith.model import Cluster, Network, Node, Profile, Settings, Wifi
from imagesmith.profile import names
from imagesmith.profile.load import named_one
from imagesmith.profile.schema import Fields, did_you_mean, read_document, settle, table, text
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
from imagesmith.profile.target_disk import target_disk


def load_cluster(content: str, file: str, profiles: Mapping[str, Profile]) -> Cluster:
    """The inventory in `content`; `file` is its path, for complaints and for `Cluster.path`. Raises DocumentInvalid."""
    problems: list[Problem] = []
    cluster = read_document(content, file, lambda fields: _cluster(fields, file, profiles), problems)
    return settle(cluster, problems)


def settings_of(profile: Profile, *wider_to_narrower: Mapping[str, Any]) -> Settings:
    """The profile's settings with what people wrote laid over them."""
    merged: dict[str, Any] = dict(profile.settings)
    for layer in wider_to_narrower:
        merged.update(layer)
    return replace(Settings(), **merged)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A node with the lines that a clash with another node is told by."""

    node: Node
    lines: Mapping[str, int]
    path: str


def _cluster(fields: Fields, file: str, profiles: Mapping[str, Profile]) -> Cluster:
    name = fields.need("name", text(names.host_name), "")
    domain = fields.take("domain", text(names.domain), "")
    shared = fields.take("defaults", table(lambda inner: taken(inner, {**SETTINGS, **SHARED_NETWORK, **PERSONAL})), {})
    frame = Node(name="", profile="", cluster=name, domain=domain)
    entries = fields.need_all("nodes", table(lambda inner: _node(inner, frame, shared, profiles)))
    _refuse_clash(fields, entries, "name", lambda node: node.name)
    _refuse_clash(fields, entries, "address", lambda node: node.network.address.split("/")[0])
    _refuse_clash(fields, entries, "mac", lambda node: node.network.mac)
    return Cluster(name, domain, tuple(entry.node for entry in entries), file)


def _node(fields: Fields, frame: Node, shared: Mapping[str, Any], profiles: Mapping[str, Profile]) -> _Entry:
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
    network = Network(
        **{key: value for key, value in merged.items() if key in NETWORK},
        wifi=_wifi(fields, profile, own, shared) if profile else None,
    )
    key, complaint = network_complaint(network)
    if complaint:
        fields.complain(key if fields.has(key) else "address", complaint)
    settings = settings_in(merged)
    disk = fields.take("disk", target_disk, None)
    node = replace(
        frame,
        name=name,
        profile=profile_name,
        base=base,
        network=network,
        disk=disk,
        settings=settings_of(profile, settings) if profile else Settings(),
    )
    return _Entry(node, {key: fields.line_of(key) for key in ("name", "address", "mac")}, fields.place.path)


def _wifi(fields: Fields, profile: Profile, own: Mapping[str, Any], shared: Mapping[str, Any]) -> Wifi | None:
    """A node's own word, else the shared one for workers with a radio: servers are reached by wire."""
    chosen: Wifi | None = own.get("wifi")
    if chosen and chosen != NO_WIFI and not profile.board.wifi:
        fields.complain("wifi", f"the board {profile.board.name} has no Wi-Fi", "take this away; the node has its wire")
    if chosen is None and profile.role == "worker" and profile.board.wifi:
        chosen = shared.get("wifi")
    return None if chosen == NO_WIFI else chosen


def _refuse_clash(fields: Fields, entries: tuple[_Entry, ...], key: str, value_of: Callable[[Node], str]) -> None:
    first: dict[str, _Entry] = {}
    for entry in entries:
        value = value_of(entry.node)
        if not value:
            continue
        other = first.setdefault(value, entry)
        if other is not entry:
            line, other_line = entry.lines[key], other.lines[key]
            message = f"two nodes have the {key} {value}: lines {other_line} and {line}"
            fields.place.at(f"{entry.path}.{key}").complain(line, message, "each machine needs its own")
