"""A rack with a UPS, for the tests of what its nodes get: a server with the cable, another server, two workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cluster.node_parts import FIRST, SECOND, SERVER
from cluster.sealed_parts import edits, files, sealed, written

from imagesmith.cluster import contents
from imagesmith.cluster.parts import part_of
from imagesmith.model import Cluster, K3s, Network, Part, Power, Sealed, Threshold, Ups, UpsDriver
from imagesmith.secret import SecretRef

OTHER = replace(SERVER, name="tail", network=Network("192.168.7.11/24"))
RIELLO = UpsDriver("riello_usb", ("04b4:5500",))
POWER = Power(
    Ups("ups", RIELLO),
    "head",
    1800,
    {"workers": Threshold(120, 60), "servers": Threshold(300, 50), "primary": Threshold(480, 30)},
    {"workers": 90, "servers": 90, "primary": 90},
    ("arm-1", "arm-2"),
)
RACK = Cluster("rack", "rack.example", (SERVER, OTHER, FIRST, SECOND), k3s=K3s(), power=POWER)
SECRETS = {
    "vault:cluster/ups-primary-password": b"p1" * 16,
    "vault:cluster/ups-secondary-password": b"s2" * 16,
    **{f"vault:nodes/{one}/drain-certificate": b"KEY of " + one.encode() for one in ("arm-1", "arm-2")},
}


def part(name: str = "head", power: Power | None = POWER, **changes: Any) -> Part:
    cluster = replace(RACK, power=power, **changes)
    node = cluster.node(name)
    assert node is not None
    known = replace(sealed(), more=_more(cluster))
    return part_of(cluster, node, {one.name: one.role or "worker" for one in cluster.nodes}, known)


def put(name: str = "head", power: Power | None = POWER, secrets: Mapping[str, bytes] = SECRETS) -> dict[str, str]:
    """What the node's image has, by path; that of k3s itself apart."""
    ours = files(edits(part(name, power)))
    found = {path: edit for path, edit in ours.items() if "/rancher/" not in path or "imagesmith" in path}
    return {path: written(edit, secrets) for path, edit in found.items() if not path.endswith("kubelet.conf")}


def modes(name: str = "head", power: Power | None = POWER) -> dict[str, int]:
    return {path: edit.mode for path, edit in files(edits(part(name, power))).items()}


def _more(cluster: Cluster) -> dict[str, Sealed]:
    return {name: Sealed(SecretRef(f"vault:{name}"), f"CERTIFICATE {name}\n") for name in contents.secrets(cluster)}
