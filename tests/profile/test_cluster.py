"""Inventories: settings flow from cluster to node, and two machines never share a name, address or hardware address."""

import pytest

from imagesmith.errors import DocumentInvalid
from imagesmith.model import Base, Board, FileSource, Network, Profile, Settings
from imagesmith.profile.cluster import load_cluster

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBg4TY9TSRWzCp0lVUKWEkyqOcDSAXWxLeqXW8zdDdCv"
BASE = Base("debian", "debian", FileSource("a.img"))
BOARD = Board("toy", "A toy", "amd64", 2**31, (BASE,), None, ("server", "worker"))
PROFILES = {
    "toy-server": Profile("toy-server", "", BOARD, "server", "debian"),
    "toy-worker": Profile("toy-worker", "", BOARD, "worker", "debian", {"zram_percent": 100, "watchdog_s": 30}),
}
INVENTORY = f"""\
schema: 1
name: home
domain: home.arpa
defaults:
  user: ada
  ssh_keys:
    - {KEY} ada
  timezone: Europe/Berlin
  watchdog_s: 20
  gateway: 192.168.1.1
  nameservers: [192.168.1.1, 9.9.9.9]
nodes:
  - name: node-1
    profile: toy-server
    address: 192.168.1.10/24
    mac: DC-A6-32-01-02-03
  - name: node-2
    profile: toy-worker
    base: debian
    timezone: UTC
"""


def load(text):
    return load_cluster(text, "cluster.yaml", PROFILES)


def complaints(text):
    with pytest.raises(DocumentInvalid) as caught:
        load(text)
    for problem in caught.value.problems:
        assert (problem.file, problem.line > 0) == ("cluster.yaml", True)
    return [str(problem) for problem in caught.value.problems]


def test_a_cluster():
    cluster = load(INVENTORY)
    assert (cluster.name, cluster.domain, cluster.path) == ("home", "home.arpa", "cluster.yaml")
    assert [node.name for node in cluster.nodes] == ["node-1", "node-2"]
    assert {(node.cluster, node.domain) for node in cluster.nodes} == {("home", "home.arpa")}


def test_a_node_has_its_own_network_and_shares_the_rest():
    assert load(INVENTORY).node("node-1").network == Network(
        "192.168.1.10/24", "192.168.1.1", ("192.168.1.1", "9.9.9.9"), "dc:a6:32:01:02:03"
    )


def test_a_node_without_an_address_asks_dhcp():
    assert load(INVENTORY).node("node-2").network == Network(nameservers=("192.168.1.1", "9.9.9.9"))


def test_settings_flow_from_wide_to_narrow():
    settings = load(INVENTORY).node("node-2").settings
    assert settings.zram_percent == 100  # the profile's
    assert settings.watchdog_s == 20  # the cluster's word beats the profile's
    assert settings.timezone == "UTC"  # the node's word beats the cluster's
    assert settings.ssh_keys == (f"{KEY} ada",)
    assert settings.locale == Settings().locale


def test_a_wrong_node_does_not_hide_the_others():
    found = complaints(INVENTORY.replace("node-1", "Node_1").replace("node-2", "x;reboot"))
    assert [line.split(": ")[1] for line in found] == ["nodes[0].name", "nodes[1].name"]


@pytest.mark.parametrize("name", ["x;reboot", "$(reboot)", "'`id`'", "a b", "../x", "a|b", '"a\\nb"', "Ａ", "node.1"])
def test_a_host_name_with_shell_in_it_is_refused(name):
    assert any("is not a host name" in line for line in complaints(INVENTORY.replace("name: node-1", f"name: {name}")))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("name: node-2", "name: node-1", "yaml:17: nodes[1].name: two nodes have the name node-1: lines 13 and 17"),
        ("timezone: UTC", "address: 192.168.1.10/24", "two nodes have the address 192.168.1.10: lines 15 and 20"),
        ("timezone: UTC", "mac: dc:a6:32:01:02:03", "two nodes have the mac dc:a6:32:01:02:03: lines 16 and 20"),
        ("timezone: UTC", "timezone: Mars City", "is not a time zone"),
        ("timezone: UTC", "time_zone: UTC", "cluster.yaml:20: nodes[1].time_zone: the key 'time_zone' is unknown; "
                                            "did you mean 'timezone'?"),
        ("timezone: UTC", "timezone: UTC\n    timezone: UTC", "a second time, first on line 20"),
        ("profile: toy-worker", "profile: toy-workr", "did you mean 'toy-worker'?"),
        ("profile: toy-worker", "profile: ../toy-worker", "is not a name"),
        ("profile: toy-worker", "", "the key 'profile' is required"),
        ("base: debian", "base: raspios", "toy-worker has no base 'raspios'"),
        ("192.168.1.10/24", "192.168.1.10", "lacks the prefix length"),
        ("192.168.1.10/24", "192.168.1.1/24", "is the node's own address"),
        ("192.168.1.10/24", "10.0.0.10/24", "is outside the node's network 10.0.0.0/24"),
        ("timezone: UTC", "gateway: 192.168.1.1", "a gateway needs an address"),
        ("timezone: UTC", "timezone: UTC\n  - just-a-name", "expected keys and values"),
        (KEY, "ssh-ed25519 AAAA", "the public key is damaged"),
        ("user: ada", "user: root", "is a system account"),
        ("user: ada", "user: ada\n  address: 10.0.0.1/8", "the key 'address' is unknown"),
        ("name: home", "name: home sweet home", "is not a host name"),
        ("schema: 1", "schema: 2", "written for a newer imagesmith"),
        ("user: ada", "user: !!python/name:os.system ada", "the tag"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(old, new, complaint):
    assert old in INVENTORY
    found = complaints(INVENTORY.replace(old, new))
    assert any(complaint in line for line in found), found


def test_an_inventory_without_nodes_is_told():
    text = INVENTORY[: INVENTORY.index("nodes:")]
    assert "the key 'nodes' is required" in complaints(text)[0]


def test_all_mistakes_come_at_once():
    text = (
        INVENTORY.replace("Europe/Berlin", "Mars City")
        .replace("node-1", "_")
        .replace("toy-worker", "x")
        .replace("ada\n", "A\n")
    )
    assert len(complaints(text)) >= 4
