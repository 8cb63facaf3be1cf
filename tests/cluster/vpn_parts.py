"""A small cluster whose nodes are members of a ZeroTier network, with identities that nobody uses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cluster.node_parts import RACK
from cluster.sealed_parts import sealed
from identity.published_zerotier import ADDRESS, GOOD, PUBLIC

from imagesmith.cluster.parts import part_of
from imagesmith.cluster.zerotier import secret_name
from imagesmith.model import Cluster, Part, Sealed, Vpn, ZeroTier
from imagesmith.secret import SecretRef

NETWORK = "8056c2e21c000001"
MEMBERS = {"head": "10.147.17.10", "arm-1": "10.147.17.11"}
"""The third node stays out."""
ZEROTIER = ZeroTier(NETWORK, members=MEMBERS)
CLUSTER = replace(RACK, vpn=Vpn(ZEROTIER))
IDENTITY = f"{ADDRESS}:0:{PUBLIC}"
SECRETS = {f"vault:{secret_name(node)}": GOOD.encode() for node in MEMBERS}


def member(name: str = "head", cluster: Cluster = CLUSTER, **changes: Any) -> Part:
    """The part of a node, with fields of its ZeroTier network changed."""
    assert cluster.vpn and cluster.vpn.zerotier
    cluster = replace(cluster, vpn=Vpn(replace(cluster.vpn.zerotier, **changes), cluster.vpn.hamachi))
    more = {secret_name(node): Sealed(SecretRef(f"vault:{secret_name(node)}"), IDENTITY) for node in MEMBERS}
    node = cluster.node(name)
    assert node is not None
    roles = {one.name: one.role or "worker" for one in cluster.nodes}
    return part_of(cluster, node, roles, replace(sealed(), more=more))
