"""ZeroTier on a node: its identity, the network that it joins by itself, what it keeps off. Called by `contents`.

The daemon joins every network that has a file in networks.d, so nothing is typed on a node. Files are those of
ZeroTierOne's service (service/OneService.cpp, service/README.md); the package makes its own user, to whom the step
74-zerotier gives them.
"""

from __future__ import annotations

import json
from ipaddress import ip_address

from imagesmith.families.payload_files import LIBRARY
from imagesmith.formats.assignments import assignments
from imagesmith.formats.zerotier import interface, read_member
from imagesmith.model import Cluster, Edit, MakeDir, Materials, Node, Part, Profile, Promise, PutFile, ZeroTier

HOME = "/var/lib/zerotier-one"
CONF = "/etc/imagesmith/zerotier.conf"
"""What the step and `imagesmith status` go by. Public."""
SYSCTL = "/etc/sysctl.d/90-imagesmith-zerotier.conf"
PACKAGE = "zerotier-one"
UNIT = "zerotier-one.service"
PORT = 9993
STEP = "74-zerotier"
_KEPT_OFF = ("flannel", "cni", "veth", "kube", "docker", "zt", "ham")
"""Interfaces that ZeroTier must not speak over: k3s's would lead it in a circle, and so would a VPN in a VPN."""
_ROUTES = {"managed": "allowManaged", "global": "allowGlobal", "default": "allowDefault", "dns": "allowDNS"}


def asked(cluster: Cluster) -> ZeroTier | None:
    return cluster.vpn.zerotier if cluster.vpn else None


def network_of(part: Part) -> ZeroTier | None:
    """The network that the part's node is a member of."""
    found = asked(part.cluster)
    return found if found and part.node.name in found.members else None


def address_of(node: Node, cluster: Cluster) -> str:
    """The node's address in it, in its short form; empty where it has none, or any."""
    found = asked(cluster)
    address = found.members.get(node.name, "") if found else ""
    return str(ip_address(address)) if address else ""


def carries_k3s(cluster: Cluster) -> bool:
    """Whether the nodes of k3s speak to each other over it."""
    found = asked(cluster)
    return found is not None and found.k3s


def secret_name(node: str) -> str:
    """What a node's identity is called in the vault."""
    return f"nodes/{node}/zerotier-identity"


def secrets(cluster: Cluster) -> tuple[str, ...]:
    found = asked(cluster)
    return tuple(secret_name(node) for node in found.members) if found else ()


def edits(part: Part, profile: Profile, materials: Materials) -> tuple[Edit, ...]:
    """Nothing as long as there is no vault: with an identity that the daemon draws nobody would let it in."""
    found, sealed = network_of(part), part.sealed
    if found is None or sealed is None:
        return ()
    identity = sealed.more[secret_name(part.node.name)]
    member = read_member(identity.public)
    conf = {
        "ZEROTIER_NETWORK": found.network,
        "ZEROTIER_MEMBER": member.address,
        "ZEROTIER_INTERFACE": interface(found.network),
        "ZEROTIER_ADDRESS": address_of(part.node, part.cluster),
    }
    return (
        MakeDir("root", HOME, 0o755),
        PutFile("root", f"{HOME}/identity.secret", identity.ref, 0o600),
        PutFile("root", f"{HOME}/identity.public", str(member).encode()),
        PutFile("root", f"{HOME}/local.conf", _local(part)),
        MakeDir("root", f"{HOME}/networks.d", 0o755),
        PutFile("root", f"{HOME}/networks.d/{found.network}.conf", b""),
        PutFile("root", f"{HOME}/networks.d/{found.network}.local.conf", _routes(found)),
        PutFile("root", CONF, assignments(conf)),
        PutFile("root", f"{LIBRARY}/steps/{STEP}", materials.files[f"firstboot/vpn/{STEP}"], 0o755),
        *((PutFile("root", SYSCTL, _DEFAULT_ROUTE),) if "default" in found.routes else ()),
    )


def promises(part: Part) -> tuple[Promise, ...]:
    """Of the daemon alone: who lets it in, and when, is nothing that an image can promise."""
    if network_of(part) is None or part.sealed is None:
        return ()
    return (Promise(f"step.{STEP}", "equals", "done", "ZeroTier runs as the member that this image was made for"),)


def packages(part: Part) -> tuple[str, ...]:
    return (PACKAGE,) if network_of(part) else ()


def _local(part: Part) -> bytes:
    """local.conf: over what the daemon speaks, and over what it does not."""
    network = part.cluster.network
    own = {text: {"blacklist": True} for text in (network.pods, network.services)}
    settings = {"primaryPort": PORT, "interfacePrefixBlacklist": list(_KEPT_OFF)}
    return (json.dumps({"physical": own, "settings": settings}, indent=1) + "\n").encode()


def _routes(found: ZeroTier) -> bytes:
    return "".join(f"{key}={int(word in found.routes)}\n" for word, key in _ROUTES.items()).encode()


_DEFAULT_ROUTE = b"""\
# Packets of the internet come by ZeroTier, which is not where the kernel would look for their senders.
net.ipv4.conf.all.rp_filter = 2
net.ipv4.conf.default.rp_filter = 2
"""
