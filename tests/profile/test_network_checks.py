"""Networks that can't be together are refused: the cluster's own, the nodes', and the address that servers share."""

import pytest
from inventories import ONE, RACK, changed, complaints, load

V6 = changed(
    ONE,
    ("192.168.1.10/24", "fd00:1::10/64"),
    ("nodes:", "network: {pods: 'fd00:42::/56', services: 'fd00:43::/112', vip: 'fd00:1::9'}\nnodes:"),
)


@pytest.mark.parametrize(
    ("pairs", "complaint"),
    [
        ([("vip: 192.168.1.9", "pods: 10.43.0.0/16")],
         "yaml:7: network.pods: the services' network 10.43.0.0/16 and the"),
        ([("vip: 192.168.1.9", "pods: 10.8.0.0/16\n  services: 10.8.4.0/24")],
         "yaml:8: network.services: the services' network 10.8.4.0/24 and the pods' network 10.8.0.0/16 overlap"),
        ([("vip: 192.168.1.9", "pods: 192.168.0.0/16")],
         "yaml:7: network.pods: the network 192.168.1.0/24 of a overlaps the pods' network 192.168.0.0/16"),
        ([("vip: 192.168.1.9", "services: 192.168.1.0/26")],
         "yaml:7: network.services: the network 192.168.1.0/24 of a"),
        ([("192.168.1.10/24", "10.42.7.1/24"), ("vip: 192.168.1.9", "firewall: yes")],
         "yaml:15: nodes[0].address: the network 10.42.7.0/24 of a overlaps the pods' network 10.42.0.0/16: packets "
         "would go astray (10.42.0.0/16 is what k3s takes by itself; give `network: {pods: ...}` one"),
        ([("reserved: 192.168.1.11", "reserved: 10.43.9.9")],
         "yaml:19: nodes[1].reserved: 10.43.9.9 (reserved of b) is in the services' network 10.43.0.0/16"),
        ([("resolvable: true", "resolvable: true\n    nameservers: [10.42.0.1]")],
         "nodes[2].nameservers: 10.42.0.1 (nameservers of c) is in the pods' network"),
        ([("vip: 192.168.1.9", "pods: 10.52.0.0/23")],
         "yaml:7: network.pods: 10.52.0.0/23 has room for the pods of 2 nodes, a /24 each, and there are 4 nodes"),
        ([("vip: 192.168.1.9", "pods: 10.52.0.0/26")], "has room for the pods of 0 nodes"),
        ([("vip: 192.168.1.9", "services: 10.0.0.0/8")], "Kubernetes takes a network from /12 to /28 for services"),
        ([("vip: 192.168.1.9", "services: 10.53.0.0/29")], "Kubernetes takes a network from /12 to /28 for services"),
        ([("vip: 192.168.1.9", "services: fd00::/112")], "pods have IPv4 and services IPv6; k3s wants one for both"),
        ([("vip: 192.168.1.9", "pods: fd00::/48\n  services: fd01::/112")],
         "yaml:16: nodes[0].address: 192.168.1.10 is not IPv6, which the cluster's pods and services have"),
        ([("vip: 192.168.1.9", "vip: 192.168.1.10")], "yaml:7: network.vip: 192.168.1.10 is the address of a"),
        ([("vip: 192.168.1.9", "vip: 192.168.1.11")], "192.168.1.11 is the address of b"),
        ([("vip: 192.168.1.9", "vip: 192.168.1.1"), ("192.168.1.10/24", "192.168.1.10/24\n    gateway: 192.168.1.1")],
         "192.168.1.1 is the gateway"),
        ([("vip: 192.168.1.9", "vip: 192.168.2.9")],
         "yaml:7: network.vip: 192.168.2.9 is outside 192.168.1.0/24, the network of the server a"),
        ([("vip: 192.168.1.9", "vip: 192.168.1.255")], "is the network 192.168.1.0/24 itself or its broadcast address"),
        ([("vip: 192.168.1.9", "vip: 10.42.0.5")], "10.42.0.5 is in the pods' network 10.42.0.0/16"),
    ],
)  # fmt: skip
def test_networks_that_can_not_be_are_told_with_their_place(pairs, complaint):
    found = complaints(changed(RACK, *pairs))
    assert any(complaint in line for line in found), found
    assert all(line.endswith(")") for line in found), "each with a next step"


def test_a_network_of_many_nodes_is_told_once():
    found = complaints(changed(RACK, ("vip: 192.168.1.9", "pods: 192.168.0.0/16"), ("    resolvable: true\n",
                                      "    address: 192.168.1.12/24\n")))  # fmt: skip
    assert len([line for line in found if "of a overlaps" in line]) == 1
    assert not [line for line in found if "of c overlaps" in line]


def test_a_cluster_of_ipv6():
    assert load(V6).network.vip == "fd00:1::9"


def test_each_node_needs_a_64_of_ipv6():
    (found,) = complaints(changed(V6, ("fd00:42::/56", "fd00:42::/64")))
    assert "has room for the pods of 1 nodes, a /64 each" in found


def test_without_k3s_a_node_may_be_anywhere():
    text = changed(ONE, ("k3s: {channel: stable}\n", ""), ("192.168.1.10/24", "10.42.0.10/24"))
    assert load(text).nodes[0].network.address == "10.42.0.10/24"
