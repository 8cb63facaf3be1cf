"""The firewall: what it lets in, said by nft itself and by real sockets between namespaces, beside rules like k3s's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cluster.namespaces import FAR, NEAR, NODE, NODE_FROM_FAR, POD, Machines, machines
from cluster.node_parts import MATERIALS, PROFILE, RACK, part, servers, texts

from imagesmith.cluster import firewall
from imagesmith.model import ClusterNetwork, K3s, Network, Part, Promise, SshAccess, Upkeep

NFT = shutil.which("nft", path=f"{os.environ['PATH']}:/usr/sbin")
needs_nft = pytest.mark.skipif(not NFT or not shutil.which("unshare"), reason="nft is not installed")
ETCD = K3s(datastore="etcd")
HA = replace(RACK, nodes=(*servers(3), *RACK.nodes[1:]), k3s=ETCD)
WITH_DHCP = replace(RACK, nodes=(RACK.nodes[0], replace(RACK.nodes[1], network=Network())))
OPENED = ClusterNetwork(open=("9100/tcp",), open_to_all=("9990-9999/udp",))
SIX = replace(RACK, nodes=tuple(replace(one, network=Network(f"fd00::{n}/64")) for n, one in enumerate(RACK.nodes, 1)))


def opened(one: Part) -> set[tuple[str, str, str]]:
    return {(opening.protocol, opening.ports, opening.source) for opening in firewall.openings(one)}


# -- what is open -------------------------------------------------------------------------------------------


def test_an_agent_has_no_api_and_no_etcd() -> None:
    ports = {port for _, port, _ in opened(part("arm-1", HA))}
    assert not {"6443", "2379-2380"} & ports


def test_anyone_may_ask_a_server_for_the_api() -> None:
    assert ("tcp", "6443", "anyone") in opened(part())


def test_etcd_is_for_servers_alone_and_only_where_it_is() -> None:
    assert ("tcp", "2379-2380", "servers") in opened(part("head-1", HA))
    assert "2379" not in firewall.ruleset(part())


def test_etcds_peers_are_known_by_their_networks_so_that_a_server_can_be_added() -> None:
    apart = replace(HA.nodes[-1], network=Network("10.9.0.7/16"))
    cluster = replace(HA, nodes=(*HA.nodes[:-1], apart))
    text = firewall.ruleset(part("head-2", cluster))
    assert "ip saddr { 192.168.7.0/24 } jump servers" in text
    assert "ip saddr { 10.9.0.0/16, 192.168.7.0/24 } jump nodes" in text


@pytest.mark.parametrize(
    ("ssh", "ports"),
    [
        (SshAccess(), {"22"}),
        (SshAccess(port=2200), {"2200"}),
        (SshAccess("dropbear", 2200), {"2200"}),
        (SshAccess("both", 22, 2222), {"22", "2222"}),
    ],
)
def test_ssh_is_open_on_its_own_ports_and_no_other(ssh: SshAccess, ports: set[str]) -> None:
    assert {one.ports for one in firewall.openings(part(ssh=ssh)) if one.why == "SSH"} == ports


def test_the_time_is_told_to_nodes_where_it_is_served() -> None:
    assert ("udp", "123", "nodes") in opened(part())
    assert "123" not in {port for _, port, _ in opened(part("arm-1"))}
    assert "123" not in {port for _, port, _ in opened(part(upkeep=Upkeep(serve_time=False)))}


def test_between_nodes_is_what_no_one_else_may_reach() -> None:
    between = {port for _, port, source in opened(part("arm-1")) if source == "nodes"}
    assert between == {"10250", "5001", "8472", "51820-51821"}


def test_where_addresses_are_from_dhcp_every_private_network_is_the_nodes() -> None:
    text = firewall.ruleset(part("head", WITH_DHCP))
    assert "ip saddr { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 } jump nodes" in text
    assert "ip6 saddr { fc00::/7, fe80::/10 } jump nodes" in text


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("10.1.2.3", "ip saddr { 10.1.2.0/24, 192.168.7.0/24 } jump nodes"),
        ("fd00:1::3", "ip6 saddr { fd00:1::/64 } jump nodes"),
    ],
)
def test_an_address_that_is_reserved_stands_for_its_network(address: str, rule: str) -> None:
    reserved = Network(mac="52:54:00:12:34:56", reserved=address)
    cluster = replace(RACK, nodes=(RACK.nodes[0], replace(RACK.nodes[1], network=reserved)))
    assert rule in firewall.ruleset(part("head", cluster))


def test_an_interface_by_name_may_be_on_another_network() -> None:
    assert "172.16.0.0/12" in firewall.ruleset(part(network=ClusterNetwork(interface="eth1")))


def test_a_nodes_own_interface_too() -> None:
    nodes = (*RACK.nodes[:-1], replace(RACK.nodes[-1], interface="end0"))
    assert "172.16.0.0/12" in firewall.ruleset(part("head", replace(RACK, nodes=nodes)))
    assert "172.16.0.0/12" not in firewall.ruleset(part())


def test_pods_may_reach_their_node() -> None:
    text = firewall.ruleset(part(network=ClusterNetwork(pods="10.50.0.0/16", services="fd00:43::/112")))
    assert "ip saddr 10.50.0.0/16 accept" in text
    assert "ip6 saddr fd00:43::/112 accept" in text


@pytest.mark.parametrize("name", ["head", "arm-1"])
def test_ports_of_ones_own_are_open_to_whom_they_are_to_be(name: str) -> None:
    more = opened(part(name, network=OPENED)) - opened(part(name))
    assert more == {("tcp", "9100", "nodes"), ("udp", "9990-9999", "anyone")}


def test_the_page_tells_every_port() -> None:
    page = (Path(__file__).parents[2] / "docs/access.md").read_text()
    told = page.partition("| open | on | to | for |")[2].partition("\n\n")[0]
    for opening in firewall.openings(part("head-1", HA)):
        if opening.why != "SSH":
            named = re.compile(rf"\| ([^|]*, )?{opening.ports}/[^|]*\b{opening.protocol}\b")
            rows = [row for row in told.splitlines() if named.match(row)]
            assert [f"| {opening.source} | {opening.why} |" in row for row in rows] == [True], opening


# -- what goes into the image -------------------------------------------------------------------------------


def test_nothing_is_made_where_no_firewall_is_wanted() -> None:
    off = part(network=ClusterNetwork(firewall=False))
    assert (firewall.edits(off, PROFILE, MATERIALS), firewall.promises(off), firewall.packages(off)) == ((), (), ())


def test_its_rules_and_its_unit_are_put_and_promised() -> None:
    put = texts(firewall.edits(part(), PROFILE, MATERIALS))
    assert put["/etc/imagesmith/firewall.nft"] == firewall.ruleset(part())
    assert "nft -f /etc/imagesmith/firewall.nft" in put["/etc/systemd/system/imagesmith-firewall.service"]
    told = {(one.fact, one.value) for one in firewall.promises(part())}
    assert told == {("unit.imagesmith-firewall.service", "active"), ("nft_table", "inet imagesmith")}
    assert firewall.packages(part()) == ("nftables",)
    assert all(isinstance(one, Promise) and one.because for one in firewall.promises(part()))


def test_nothing_but_our_own_table_is_named() -> None:
    lines = [line.split("#")[0] for line in firewall.ruleset(part("head-1", HA)).splitlines()]
    assert not any("flush" in line or "forward" in line for line in lines)
    named = [line for line in lines if line.split()[:2] and "table" in line.split()[:2]]
    assert named == [
        "add table inet imagesmith", "delete table inet imagesmith", "table inet imagesmith {",
    ]  # fmt: skip


# -- said by nft and by sockets -----------------------------------------------------------------------------


@pytest.mark.root
@needs_nft
@pytest.mark.parametrize(
    "one",
    [part(), part("arm-1"), part("head-1", HA), part("head", WITH_DHCP), part("head", SIX), part(network=OPENED)],
    ids=["server", "agent", "etcd", "dhcp", "ipv6", "opened"],
)
def test_nft_takes_the_rules(one: Part, tmp_path: Path) -> None:
    rules = tmp_path / "firewall.nft"
    rules.write_text(firewall.ruleset(one))
    done = subprocess.run(
        ["unshare", "-n", str(NFT), "-c", "-f", rules], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


KUBE = """\
*filter
:KUBE-FIREWALL - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-ROUTER-INPUT - [0:0]
:FLANNEL-FWD - [0:0]
-A INPUT -m comment --comment "kube-router netpol" -j KUBE-ROUTER-INPUT
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -j FLANNEL-FWD
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A FLANNEL-FWD -s 10.42.0.0/16 -j ACCEPT
-A FLANNEL-FWD -d 10.42.0.0/16 -j ACCEPT
COMMIT
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p tcp --dport 30080 -j DNAT --to-destination 10.42.0.5:8080
-A KUBE-NODEPORTS -p tcp --dport 30081 -j DNAT --to-destination 192.168.7.10:9100
-A CNI-HOSTPORT-DNAT -p tcp --dport 8443 -j DNAT --to-destination 10.42.0.5:8080
COMMIT
"""


@pytest.fixture(scope="module")
def behind() -> Iterator[Machines]:
    """A founder's firewall is up in the node's namespace, beside rules like k3s's, and everybody answers."""
    if os.geteuid() != 0 or not NFT or not shutil.which("iptables-nft-restore"):
        pytest.skip("needs root, nft and iptables-nft")
    with machines() as made:
        made.run(made.node, "iptables-nft-restore", text=KUBE)
        load(made)
        ports = ("tcp/22", "tcp/6443", "tcp/10250", "tcp/9100", "tcp/2379", "udp/123", "udp/8472", "udp/9999")
        with made.answering(made.node, *ports), made.answering(made.pod, "tcp/8080"):
            yield made


def load(made: Machines, network: ClusterNetwork = RACK.network) -> None:
    made.run(made.node, NFT, "-f", "-", text=firewall.ruleset(part(k3s=ETCD, network=network)))


@pytest.mark.root
def test_what_is_open_to_anyone_is_reached_from_anywhere(behind: Machines) -> None:
    found = behind.reaches(
        behind.computer,
        ("tcp", NEAR, NODE, 22),
        ("tcp", NEAR, NODE, 6443),
        ("tcp", FAR, NODE_FROM_FAR, 22),
        ("tcp", FAR, NODE_FROM_FAR, 6443),
    )
    assert found == [True] * 4


@pytest.mark.root
def test_what_is_between_nodes_is_reached_from_their_network_alone(behind: Machines) -> None:
    knocks = (("tcp", 10250), ("udp", 8472), ("udp", 123), ("tcp", 2379))
    near = behind.reaches(behind.computer, *((kind, NEAR, NODE, port) for kind, port in knocks))
    far = behind.reaches(behind.computer, *((kind, FAR, NODE_FROM_FAR, port) for kind, port in knocks))
    assert (near, far) == ([True] * 4, [False] * 4)


@pytest.mark.root
def test_all_else_is_dropped(behind: Machines) -> None:
    found = behind.reaches(behind.computer, ("tcp", NEAR, NODE, 9100), ("udp", NEAR, NODE, 9999))
    assert found == [False] * 2


@pytest.mark.root
def test_ports_of_ones_own_are_reached_from_where_they_are_to_be(behind: Machines) -> None:
    load(behind, OPENED)
    try:
        near = behind.reaches(behind.computer, ("tcp", NEAR, NODE, 9100), ("udp", NEAR, NODE, 9999))
        far = behind.reaches(behind.computer, ("tcp", FAR, NODE_FROM_FAR, 9100), ("udp", FAR, NODE_FROM_FAR, 9999))
        assert (near, far) == ([True, True], [False, True])
    finally:
        load(behind)


@pytest.mark.root
def test_a_pod_reaches_its_node_at_every_port(behind: Machines) -> None:
    assert behind.reaches(behind.pod, ("tcp", POD, NODE, 9100), ("udp", POD, "10.42.0.1", 9999)) == [True, True]


@pytest.mark.root
def test_the_node_reaches_itself_and_others(behind: Machines) -> None:
    with behind.answering(behind.computer, "tcp/8000"):
        found = behind.reaches(
            behind.node, ("tcp", "127.0.0.1", "127.0.0.1", 9100), ("tcp", NODE, NODE, 9100), ("tcp", NODE, NEAR, 8000)
        )
    assert found == [True] * 3


@pytest.mark.root
def test_what_is_forwarded_is_not_its_business(behind: Machines) -> None:
    with behind.answering(behind.computer, "tcp/8001"):
        inwards = behind.reaches(behind.computer, ("tcp", NEAR, POD, 8080))
        outwards = behind.reaches(behind.pod, ("tcp", POD, NEAR, 8001))
    assert (inwards, outwards) == ([True], [True])


@pytest.mark.root
def test_services_are_reached_in_a_pod_and_on_the_node_itself(behind: Machines) -> None:
    # NodePort to a pod, NodePort to a pod on the node's own network, a load balancer's port.
    found = behind.reaches(behind.computer, *(("tcp", NEAR, NODE, port) for port in (30080, 30081, 8443)))
    assert found == [True] * 3


@pytest.mark.root
def test_it_answers_pings(behind: Machines) -> None:
    assert behind.reaches(behind.computer, ("ping", FAR, NODE_FROM_FAR, 0)) == [True]


@pytest.mark.root
def test_loading_it_anew_changes_neither_it_nor_what_others_have(behind: Machines) -> None:
    def ruleset() -> list[str]:
        lines = behind.run(behind.node, NFT, "-s", "list", "ruleset").splitlines()
        return [line for line in lines if not line.startswith("#")]

    before = ruleset()
    load(behind)
    # What was made last is told last.
    assert sorted(ruleset()) == sorted(before)
    assert sum("hook input" in line and "drop" in line for line in ruleset()) == 1


@pytest.mark.root
def test_a_stopped_firewall_leaves_the_rules_of_others(behind: Machines) -> None:
    kube = behind.run(behind.node, "iptables-nft-save")
    behind.run(behind.node, NFT, "delete", "table", "inet", "imagesmith")
    try:
        assert behind.reaches(behind.computer, ("tcp", NEAR, NODE, 9100)) == [True]
        assert _rules(behind.run(behind.node, "iptables-nft-save")) == _rules(kube)
    finally:
        load(behind)


def _rules(saved: str) -> list[str]:
    """Without dates and counters."""
    return [line.split(" [")[0] for line in saved.splitlines() if not line.startswith("#")]
