"""Three servers behind one address, and an arm64 agent: one server is lost, the first is replaced, the others run on.

k3s and what gives the servers their common address are the tests' stand-in unless IMAGESMITH_K3S names the real program
(for amd64: the arm64 agent is left out then). The tests look at one rack, in this order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from lanes.racks import PATIENCE_S, read
from rack import k3s_program
from rack.desk import Desk
from rack.network import Lan
from rack.running import Rack

pytestmark = [
    pytest.mark.boot,
    pytest.mark.long,
    pytest.mark.archive,
    pytest.mark.root,
    pytest.mark.timeout(3600),
]

SERVERS = ("ha-1", "ha-2", "ha-3")
ARM = "arm-1"
VIP = "10.77.0.9"
INVENTORY = """\
schema: 1
name: rack-ha
k3s:
  file: {amd64: K3S, arm64: K3S}
  datastore: etcd
network: {vip: 10.77.0.9}
defaults:
  user: admin
  ssh_keys: [KEY]
  sudo_nopasswd: true
  gateway: 10.77.0.254
  nameservers: [10.77.0.254]
  time_servers: [10.77.0.254]
  locale: C.UTF-8
nodes:
  - {name: ha-1, profile: qemu-x86-server, address: 10.77.0.11/24}
  - {name: ha-2, profile: qemu-x86-server, address: 10.77.0.12/24}
  - {name: ha-3, profile: qemu-x86-server, address: 10.77.0.13/24}
  - {name: arm-1, profile: qemu-arm64-worker, address: 10.77.0.21/24}
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("rack-ha")
    k3s = k3s_program.chosen(folder)
    text = INVENTORY
    if k3s.real:
        text = "".join(line for line in text.splitlines(keepends=True) if ARM not in line)
        text = text.replace(", arm64: K3S", "")
    desk = Desk(folder / "desk", text, k3s)
    desk.draw()
    desk.build()
    return desk


@pytest.fixture(scope="module")
def rack(desk: Desk, lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    """All of them, switched on with the founder last, and Ready. The arm64 board has no battery: it starts in 1970."""
    with Rack(desk, lan, tmp_path_factory.mktemp("machines")) as rack:
        for node in reversed(rack.addresses):
            rack.insert(node).switch_on(clock="1970-01-01T00:00:00" if node == ARM else "")
        rack.wait_until_ready(list(rack.addresses), 2 * PATIENCE_S)
        print(rack.kubectl.table())
        yield rack


def holder(rack: Rack) -> str:
    """The server that has the VIP."""
    holders = [
        node
        for node in SERVERS
        if rack.machines[node].is_on and f" {VIP}/" in rack.ssh(node, "ip", "-o", "-4", "address").stdout
    ]
    assert len(holders) == 1, holders
    return holders[0]


def test_one_server_founded_and_the_others_joined(rack: Rack) -> None:
    states = {node: rack.status(node)["state"] for node in rack.addresses}
    assert states == {node: "founded" if node == "ha-1" else "joined" for node in rack.addresses}


def test_a_node_that_started_in_1970_has_the_right_time(rack: Rack) -> None:
    if ARM in rack.addresses:
        kernel = rack.asked(ARM, "journalctl", "-b", "-k", "--no-pager", "-g", "setting system clock to")
        assert "1970-01-01T00:00" in kernel
        assert abs(time.time() - float(rack.asked(ARM, "date", "+%s"))) < 10


def test_the_kubeconfig_goes_to_the_common_address(rack: Rack) -> None:
    assert f'server: "https://{VIP}:6443"' in rack.desk.kubeconfig.read_text()
    assert holder(rack) in SERVERS


def test_kubectl_still_answers_when_the_server_that_held_the_address_is_lost(rack: Rack) -> None:
    lost = holder(rack)
    rack.machines[lost].cut_power()
    alive = {node for node in rack.addresses if node != lost}

    def look() -> str:
        ready = rack.kubectl.ready()
        seen = {node for node, is_ready in ready.items() if is_ready}
        return "" if seen == alive else f"kubectl sees {ready or 'nobody'}"

    rack.wait_until(f"kubectl by {VIP} without {lost}", PATIENCE_S, look)
    assert holder(rack) != lost
    print(rack.kubectl.table())
    rack.machines[lost].switch_on()
    rack.wait_until_back([lost], PATIENCE_S)
    rack.wait_until_ready(list(rack.addresses), PATIENCE_S)


def test_status_finds_nothing_wrong_and_remembers_the_founding(rack: Rack) -> None:
    """Once the clock of the server that was switched on again is in step, which takes a time server a while."""
    table = rack.wait_until_well(PATIENCE_S)
    for node in rack.addresses:
        assert node in table
    assert "founded" in rack.desk.imagesmith("vault", "list")


def test_the_first_server_is_replaced_while_the_others_run(rack: Rack) -> None:
    """A new card with the same identity, which joins: what founded once never founds again."""
    key = "/var/lib/rancher/k3s/server/tls/server-ca.key"
    assert read(rack.desk, "ha-1", key)
    rack.imagesmith("replace", "ha-1", "--yes", "--identity", str(rack.desk.key))
    assert "ha-1" not in rack.kubectl.nodes()
    rack.desk.build("ha-1")
    assert "CLUSTER_DUTY='server'" in read(rack.desk, "ha-1", "/etc/imagesmith/cluster.conf")
    assert not read(rack.desk, "ha-1", key)
    rack.insert("ha-1").switch_on()
    rack.wait_until_back(["ha-1"], PATIENCE_S)
    rack.wait_until_ready(list(rack.addresses), PATIENCE_S)
    assert rack.status("ha-1")["state"] == "joined"
    members = rack.kubectl.run("get", "nodes", "-l", "node-role.kubernetes.io/etcd=true", "-o", "name").stdout
    assert sorted(members.split()) == [f"node/{node}" for node in SERVERS]
