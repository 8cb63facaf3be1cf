"""A node's firewall: which packets may come in, as one table of nftables. Called by `cluster.contents`.

The table is ours alone and hooks into input only: what is forwarded (pods, services, load balancers) is the business
of k3s, whose tables are never touched. Dropped is what no rule of the table lets in; a packet that passes here may
still be dropped by somebody else's table, which is as it should be. Addresses and ports are data, see `openings`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Literal

from imagesmith.cluster import access, clock, neighbours, nut, zerotier
from imagesmith.formats.zerotier import interface
from imagesmith.model import Edit, Materials, Part, Profile, Promise, PutFile

CONF = "/etc/imagesmith/firewall.nft"
UNIT = "imagesmith-firewall.service"
TABLE = "inet imagesmith"

Source = Literal["anyone", "nodes", "servers"]


@dataclass(frozen=True, slots=True)
class Opening:
    """Ports of a node that are open, and why."""

    protocol: Literal["tcp", "udp"]
    ports: str
    """As nftables has them: `443`, `30000-32767`."""
    source: Source
    why: str


def openings(part: Part) -> tuple[Opening, ...]:
    """What is open on the node. Who is let in by a port still has to show a key, a token or a certificate."""
    server = part.duty != "agent"
    return (
        *(Opening("tcp", str(port), "anyone", "SSH") for port in access.ports(part.cluster.ssh)),
        *(_API if server else ()),
        *_EVERY_NODE,
        *(_ETCD if server and _has_etcd(part) else ()),
        *((Opening("udp", str(zerotier.PORT), "anyone", "ZeroTier"),) if zerotier.network_of(part) else ()),
        *((Opening("udp", str(clock.PORT), "nodes", "the time"),) if clock.serves(part) else ()),
        *(_UPS if _has_ups(part) else ()),
        *_asked_for(part.cluster.network.open, "nodes"),
        *_asked_for(part.cluster.network.open_to_all, "anyone"),
    )


_API = (Opening("tcp", "6443", "anyone", "Kubernetes' API, and joining"),)
_EVERY_NODE = (
    Opening("tcp", "80", "anyone", "what the cluster serves, by ServiceLB"),
    Opening("tcp", "443", "anyone", "what the cluster serves, by ServiceLB"),
    Opening("tcp", "30000-32767", "anyone", "services of type NodePort"),
    Opening("udp", "30000-32767", "anyone", "services of type NodePort"),
    Opening("tcp", "10250", "nodes", "the kubelet: logs, exec, metrics"),
    Opening("tcp", "5001", "nodes", "images, from one node to the other"),
    Opening("udp", "8472", "nodes", "the pods' network, by VXLAN"),
    Opening("udp", "51820-51821", "nodes", "the pods' network, by WireGuard"),
)
_ETCD = (Opening("tcp", "2379-2380", "servers", "etcd"),)

_UPS = (Opening("tcp", str(nut.PORT), "nodes", "how the UPS is"),)


def edits(part: Part, profile: Profile, materials: Materials) -> tuple[Edit, ...]:
    """Not enabled here: the step 64-firewall does that once nft is there and has taken the rules."""
    if not part.cluster.network.firewall:
        return ()
    return (
        PutFile("root", CONF, ruleset(part).encode()),
        PutFile("root", f"/etc/systemd/system/{UNIT}", materials.files[f"firstboot/cluster/{UNIT}"]),
    )


def promises(part: Part) -> tuple[Promise, ...]:
    if not part.cluster.network.firewall:
        return ()
    return (
        Promise(f"unit.{UNIT}", "equals", "active", "the firewall is up"),
        Promise("nft_table", "equals", TABLE, "its rules are in the kernel"),
    )


def packages(part: Part) -> tuple[str, ...]:
    return ("nftables",) if part.cluster.network.firewall else ()


def ruleset(part: Part) -> str:
    """For `nft -f`: takes the table's place in one step, whether it is there already or not."""
    rules = [
        'iifname "lo" accept',
        "ct state established,related accept",
        "# What Kubernetes has already led to this node itself: a service whose pod uses the node's own network.",
        "ct status dnat accept",
        "meta l4proto { icmp, ipv6-icmp, igmp } accept",
        "udp sport 67 udp dport 68 accept",
        "ip6 saddr fe80::/10 udp dport 546 accept",
        "# Names on the link, .local",
        "udp dport 5353 ip daddr 224.0.0.251 accept",
        "udp dport 5353 ip6 daddr ff02::fb accept",
        "# Pods and services",
        *(
            f"{_family(text)} saddr {text} accept"
            for text in (part.cluster.network.pods, part.cluster.network.services)
        ),
        *_ports(openings(part), "anyone"),
        *_jumps("nodes", neighbours.nodes(part)),
        *_over_zerotier(part),
        *(_jumps("servers", neighbours.servers(part)) if _has_etcd(part) else ()),
        "counter",
    ]
    chains = [_chain("nodes", _ports(openings(part), "nodes"))]
    if _has_etcd(part):
        chains.append(_chain("servers", _ports(openings(part), "servers")))
    chains.append(_chain("input", ("type filter hook input priority filter; policy drop;", *rules)))
    return _TABLE.format(table=TABLE, chains="\n".join(chains))


def _asked_for(written: Iterable[str], source: Source) -> Iterator[Opening]:
    for one in written:
        ports, _, protocol = one.partition("/")
        yield Opening("tcp" if protocol == "tcp" else "udp", ports, source, "your own")


def _has_etcd(part: Part) -> bool:
    return part.cluster.k3s is not None and part.cluster.k3s.datastore == "etcd"


def _has_ups(part: Part) -> bool:
    return part.cluster.power is not None and nut.is_primary(part, part.cluster.power)


def _ports(opened: Iterable[Opening], source: Source) -> tuple[str, ...]:
    return tuple(
        f'{one.protocol} dport {one.ports} accept comment "{one.why}"' for one in opened if one.source == source
    )


def _jumps(chain: str, ranges: Iterable[neighbours.Range]) -> tuple[str, ...]:
    by_family: dict[str, list[str]] = {}
    for one in ranges:
        by_family.setdefault("ip6" if one.version == 6 else "ip", []).append(str(one))
    return tuple(f"{family} saddr {{ {', '.join(found)} }} jump {chain}" for family, found in by_family.items())


def _over_zerotier(part: Part) -> tuple[str, ...]:
    """Nodes that speak to each other over it: their own addresses, since others may be members of the network too."""
    found = zerotier.network_of(part)
    if found is None or not found.k3s:
        return ()
    told = (zerotier.address_of(node, part.cluster) for node in part.cluster.nodes)
    members = [ip_network(address) for address in told if address]
    came = f'iifname "{interface(found.network)}"'
    return ("# Nodes that speak over ZeroTier", *(f"{came} {rule}" for rule in _jumps("nodes", members)))


def _family(network: str) -> str:
    return "ip6" if ip_network(network).version == 6 else "ip"


def _chain(name: str, rules: Iterable[str]) -> str:
    return "\n".join((f"\tchain {name} {{", *(f"\t\t{rule}" for rule in rules), "\t}"))


_TABLE = """\
#!/usr/sbin/nft -f
# Which packets may come in. Loaded by imagesmith-firewall.service; nobody else's table is touched.
# Added and deleted first, so that the same file takes the place of what it loaded before, in one step.
add table {table}
delete table {table}
table {table} {{
{chains}
}}
"""
