"""Nodes that can't be one cluster are refused: clashes, roles, numbers of servers, servers out of reach, ports."""

import pytest
from inventories import ONE, RACK, changed, complaints, load

from imagesmith.profile.shared import port_taken


def server(name: str) -> str:
    return f"  - name: {name}\n    profile: pc-server\n    address: 192.168.1.{20 + ord(name) - ord('a')}/24\n"


def test_three_servers_are_reached_by_address_reservation_or_name():
    cluster = load(RACK)
    assert [node.network.reserved for node in cluster.nodes] == ["", "192.168.1.11", "", ""]
    assert [node.network.resolvable for node in cluster.nodes] == [False, False, True, False]


@pytest.mark.parametrize(
    ("pairs", "complaint"),
    [
        ([("- name: d", "- name: c")], "yaml:24: nodes[3].name: two nodes have the name c: lines 20 and 24"),
        ([("resolvable: true", "address: 192.168.1.10/24")],
         "yaml:23: nodes[2].address: two nodes have the address 192.168.1.10: lines 15 and 23"),
        ([("reserved: 192.168.1.11", "reserved: 192.168.1.10")],
         "yaml:19: nodes[1].reserved: two nodes have the address 192.168.1.10: lines 15 and 19"),
        ([("resolvable: true", "mac: dc:a6:32:01:02:03\n    reserved: 192.168.1.11")],
         "nodes[2].mac: two nodes have the mac dc:a6:32:01:02:03: lines 18 and 23"),
        ([("resolvable: true", "mac: dc:a6:32:01:02:04\n    reserved: 192.168.1.11")],
         "nodes[2].reserved: two nodes have the address 192.168.1.11: lines 19 and 24"),
        ([("    resolvable: true\n", "")], "yaml:20: nodes[2].address: the server c must be reached by the others"),
        ([("resolvable: true", "resolvable: no")], "the server c must be reached by the others"),
        ([("    mac: dc:a6:32:01:02:03\n", "")],
         "yaml:18: nodes[1].reserved: DHCP keeps an address for a network card"),
        ([("192.168.1.10/24", "192.168.1.10/24\n    mac: dc:a6:32:01:02:05\n    reserved: 192.168.1.12")],
         "nodes[0].reserved: the node has an address of its own"),
        ([("pi-worker\n    role", "small-worker\n    role")],
         "yaml:22: nodes[2].role: the board small can't be a server: it has 1.0 GiB of memory, and a k3s server needs"),
        ([("version: v1.36.3+k3s1", "datastore: sqlite")],
         "yaml:5: k3s.datastore: sqlite is a file on one server, and there are 3 servers"),
        ([("role: server", "role: worker")],
         "k3s.datastore: 2 servers with etcd stop when either is lost: a change needs a majority of them, 2 of 2 "
         "(take 1 or 3 servers"),
        ([("version: v1.36.3+k3s1", "file: {amd64: k3s}")],
         "yaml:5: k3s.file: there is no program for arm64, which c, d would"),
        ([("server: both", "server: openssh\n  dropbear_port: 2222")], "there is no Dropbear: this port is for"),
        ([("server: both", "server: dropbear\n  dropbear_port: 2222")], "Dropbear is alone, and answers on `port`"),
        ([("server: both", "server: both\n  port: 2222")],
         "yaml:10: ssh.port: OpenSSH and Dropbear can't both answer on port 2222"),
        ([("server: both", "server: both\n  dropbear_port: 22")], "yaml:10: ssh.dropbear_port: OpenSSH and Dropbear"),
        ([("server: both", "port: 10250")], "yaml:9: ssh.port: port 10250 is the kubelet's or its neighbours'"),
        ([("server: both", "server: both\n  dropbear_port: 30022")], "among those that Kubernetes gives to services"),
        ([("server: both", "port: 443")], "yaml:9: ssh.port: port 443 is HTTPS, which k3s gives to Traefik"),
    ],
)  # fmt: skip
def test_a_rack_that_can_not_be_is_told_with_its_place(pairs, complaint):
    found = complaints(changed(RACK, *pairs))
    assert any(complaint in line for line in found), found
    assert all(line.endswith(")") or ";" in line for line in found), "each with a next step"


def test_a_cluster_needs_a_server():
    (found,) = complaints(changed(ONE, ("pc-server", "pi-worker")))
    assert "yaml:5: nodes: no node is a server" in found


def test_four_servers_bear_no_more_than_three():
    (found,) = complaints(RACK + server("e"))
    assert "4 servers with etcd bear the loss of 1, as 3 do: a change needs a majority of them, 3 of 4" in found
    assert "(take 3 or 5 servers" in found


def test_five_servers_are_fine():
    assert load(RACK + server("e") + server("f")).k3s.datastore == "etcd"


def test_servers_are_not_counted_while_a_profile_is_unknown():
    (found,) = complaints(changed(RACK, ("profile: pc-server", "profile: pc-sever")))
    assert "did you mean 'pc-server'?" in found


def test_a_program_for_no_node_is_told():
    files, no_pi = ("channel: stable", "file: {amd64: k3s, arm64: x}"), ("pi-worker", "pc-server\n    role: worker")
    (found,) = complaints(changed(ONE, files, no_pi))
    assert "k3s.file: there is a program for arm64, and no node with such a processor (take arm64 away)" in found


@pytest.mark.parametrize("part", ["traefik", "servicelb"])
def test_without_traefik_its_ports_are_free(part):
    text = changed(RACK, ("server: both", "port: 443"), ("version: v1.36.3+k3s1", f"disable: [{part}]"))
    assert load(text).ssh.port == 443


@pytest.mark.parametrize("port", [2379, 2380, 5001, 6443, 6444, 10010, 10248, 10250, 10256, 10259, 30000, 32767])
def test_a_port_of_k3s_is_taken(port):
    assert port_taken(port)


@pytest.mark.parametrize("port", [22, 2222, 2378, 6442, 8022, 10247, 10251, 10255, 10260, 29999, 32768])
def test_its_neighbours_are_free(port):
    assert port_taken(port) == ""


def test_a_worker_by_its_node_gets_the_shared_wifi_and_a_server_does_not():
    shared = "defaults:\n  wifi: {ssid: home, country: DE}\nnodes:"
    wifi = {node.name: node.network.wifi for node in load(changed(RACK, ("nodes:", shared))).nodes}
    assert wifi["d"] and not wifi["c"]
