"""The stand-in for k3s with several servers: joining, a majority, the shared address, snapshots."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from standins.k3s.authorities import make_authorities, make_kubeconfig, root_hash
from standins.k3s.machines import Machine, Machines, kubectl, statuses, until

pytestmark = pytest.mark.slow

WORD = "word-of-servers"


class Rack:
    """Servers of one cluster; `a` founds it."""

    def __init__(self, machines: Machines) -> None:
        self.machines = machines
        self.authorities = make_authorities(machines.folder / "tls")
        self.token = f"K10{root_hash(self.authorities)}::server:{WORD}"
        self.servers = {"a": self.make("a", cluster_init=True)}
        shutil.copytree(self.authorities, self.servers["a"].data / "server/tls")
        self.servers["a"].start().serves()

    def make(self, name: str, **settings: object) -> Machine:
        return self.machines.server(name, **{"token": self.token, "agent_token": "agents", **settings})

    def joiner(self, name: str, **settings: object) -> Machine:
        return self.make(name, **{"server": self.servers["a"].url, **settings})

    def three(self) -> Rack:
        """What one of them knows reaches the others a moment later."""
        for name in ("b", "c"):
            self.servers[name] = self.joiner(name).start().serves()
        for name in "abc":
            self.shows(name, dict.fromkeys("abc", "Ready"))
        return self

    def kubeconfig(self, name: str) -> Path:
        path = self.machines.folder / f"{name}.kubeconfig"
        return path if path.exists() else make_kubeconfig(self.authorities, self.servers[name].url, path)

    def shows(self, name: str, expected: dict[str, str], within: float = 30) -> None:
        """By the server of that name."""
        path = self.kubeconfig(name)
        until(lambda: statuses(path) == expected, within, lambda: f"{statuses(path)}\n{self.servers[name].said}")


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    """One founder, which tests try to join in vain."""
    with Machines(tmp_path_factory.mktemp("rack")) as machines:
        yield Rack(machines)


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    with Machines(tmp_path) as machines:
        yield Rack(machines)


def test_one_of_three_servers_may_die(rack: Rack) -> None:
    agent = rack.three().machines.agent("w", rack.servers["a"].url, "agents").start().serves()
    rack.shows("c", dict.fromkeys("abcw", "Ready"))
    rack.servers["a"].stop(signal.SIGKILL)
    agent.says("serves now")
    rack.shows("b", {"a": "NotReady", "b": "Ready", "c": "Ready", "w": "Ready"})


def test_without_a_majority_nothing_is_answered_and_with_it_again_everything(rack: Rack) -> None:
    rack.three()
    for name in ("a", "b"):
        rack.servers[name].stop(signal.SIGKILL)
    path = rack.kubeconfig("c")
    until(lambda: "etcdserver: no leader" in kubectl(path, "get", "nodes").stderr, 30, lambda: rack.servers["c"].said)
    rack.servers["b"].start()
    until(lambda: statuses(path).get("b") == "Ready", 30, lambda: rack.servers["b"].said)


def test_servers_that_all_lost_their_power_come_back_in_any_order(rack: Rack) -> None:
    rack.three()
    for server in rack.servers.values():
        server.stop(signal.SIGKILL)
    rack.servers["c"].start().says("comes back")
    assert "serves on" not in rack.servers["c"].said
    rack.servers["b"].start().serves()
    rack.shows("c", {"a": "NotReady", "b": "Ready", "c": "Ready"})


def test_a_joiner_gets_the_authorities_of_the_cluster(rack: Rack) -> None:
    joiner = rack.joiner("b").start().serves()
    for name in ("server-ca.key", "etcd/peer-ca.crt", "service.key"):
        assert (joiner.data / "server/tls" / name).read_bytes() == (rack.authorities / name).read_bytes()


def test_a_joiner_with_other_authorities_is_stopped(founded: Rack) -> None:
    joiner = founded.joiner("other")
    shutil.copytree(make_authorities(founded.machines.folder / "other-tls"), joiner.data / "server/tls")
    assert joiner.start().exit_code() == 1
    assert "server-ca.crt" in joiner.said and "newer than datastore and could cause a cluster outage" in joiner.said


def test_a_joiner_of_another_network_is_stopped(founded: Rack) -> None:
    joiner = founded.joiner("abroad", cluster_cidr="10.99.0.0/16").start()
    assert joiner.exit_code() == 1
    assert "critical configuration value mismatch between servers: cluster-cidr" in joiner.said


def test_a_joiner_with_another_agents_token_is_stopped(founded: Rack) -> None:
    joiner = founded.joiner("odd", agent_token="others").start()
    assert joiner.exit_code() == 1
    assert "critical configuration value mismatch between servers: agent-token" in joiner.said


def test_a_joiner_refuses_a_man_in_the_middle(founded: Rack) -> None:
    joiner = founded.joiner("cautious", token=f"K10{'0' * 64}::server:{WORD}").start()
    assert joiner.exit_code() == 1
    assert "token CA hash does not match the Cluster CA certificate hash" in joiner.said


def test_the_agents_token_makes_no_server(founded: Rack) -> None:
    joiner = founded.joiner("climber", token=f"K10{root_hash(founded.authorities)}::node:agents").start()
    assert joiner.exit_code() == 1
    assert "403 Forbidden" in joiner.said and not (joiner.data / "server/tls/server-ca.key").exists()


def test_no_server_joins_one_with_sqlite(tmp_path: Path) -> None:
    with Machines(tmp_path) as machines:
        alone = machines.server("alone", token="x").start().serves()
        joiner = machines.server("joiner", token="x", server=alone.url).start()
        assert joiner.exit_code() == 1 and "etcd disabled" in joiner.said


def test_a_server_is_replaced_under_its_name_once_its_member_is_gone(rack: Rack) -> None:
    rack.three()
    rack.servers["c"].stop(signal.SIGKILL)
    again = rack.joiner("c2", node_name="c").start()
    assert again.exit_code() == 1
    assert "etcd cluster join failed: duplicate node name found, please use a unique name for this node" in again.said
    assert rack.servers["b"].run("kubectl", "delete", "node", "c").returncode == 0
    again = rack.joiner("c3", node_name="c", server=rack.servers["b"].url).start().serves()
    rack.shows("a", dict.fromkeys("abc", "Ready"))


def test_a_server_whose_member_was_removed_does_not_come_back(rack: Rack) -> None:
    rack.three()
    words = ("annotate", "--overwrite", "node", "c", "etcd.k3s.cattle.io/remove=true")
    assert rack.servers["a"].run("kubectl", *words).returncode == 0
    template = r"jsonpath={.metadata.annotations.etcd\.k3s\.cattle\.io/removed-node-name}"
    assert rack.servers["a"].run("kubectl", "get", "node", "c", "-o", template).stdout == "c"
    assert rack.servers["c"].exit_code() == 1
    assert rack.servers["c"].start().exit_code() == 1
    assert "this server is not a member of the etcd cluster" in rack.servers["c"].said


def test_the_shared_address_moves_to_a_living_server(rack: Rack) -> None:
    """By a program named ip that only writes down what it is asked for."""
    manifest = (Path(__file__).parents[2] / "firstboot/cluster/kube-vip.yaml").read_text()
    for name, value in (("@ADDRESS@", "192.0.2.9"), ("@INTERFACE@", "none0"), ("@PREFIX@", "32")):
        manifest = manifest.replace(name, value)
    rack.servers["a"].stop()
    joiner = rack.servers["b"] = rack.joiner("b")
    for server in rack.servers.values():
        folder = server.data / "server/manifests"
        folder.mkdir(parents=True)
        (folder / "kube-vip.yaml").write_text(manifest)
        (server.root / "bin").mkdir()
        (server.root / "bin/ip").write_text(f'#!/bin/sh\necho "$@" >>{server.root}/asked\n')
        (server.root / "bin/ip").chmod(0o755)
    rack.servers["a"].start().says("kube-vip: 192.0.2.9 is held here, on none0")
    joiner.start().serves()
    third = rack.joiner("c").start().serves()
    assert third.said and "held here" not in joiner.said
    rack.servers["a"].stop()
    assert (rack.servers["a"].root / "asked").read_text().splitlines()[-2:] == [
        "address add 192.0.2.9/32 dev none0",
        "address del 192.0.2.9/32 dev none0",
    ]
    joiner.says("kube-vip: 192.0.2.9 is held here, on none0", within=11)


def test_a_lost_cluster_starts_again_from_a_snapshot(rack: Rack) -> None:
    founder = rack.three().servers["a"]
    assert founder.run("etcd-snapshot", "save", "--name", "kept").returncode == 0
    snapshot = next((founder.data / "server/db/snapshots").glob("kept-a-*")).relative_to(founder.root)
    for server in rack.servers.values():
        server.stop()
    assert founder.start("--cluster-reset", f"--cluster-reset-restore-path=/{snapshot}").exit_code() == 0
    founder.start().serves()
    rack.shows("a", {"a": "Ready", "b": "NotReady", "c": "NotReady"})


def test_new_authorities_reach_every_server(rack: Rack) -> None:
    rack.three()
    new = make_authorities(rack.machines.folder / "new")
    without = rack.servers["a"].run("certificate", "rotate-ca", f"--path={new}")
    assert without.returncode == 1 and "not signed by the current root" in without.stderr
    assert rack.servers["a"].run("certificate", "rotate-ca", f"--path={new}", "--force").returncode == 0
    there = rack.servers["c"].data / "server/tls/server-ca.crt"
    until(lambda: there.read_bytes() == (new / "server-ca.crt").read_bytes(), 8, lambda: rack.servers["c"].said)


@pytest.mark.root
def test_whoever_holds_the_shared_address_says_so_to_the_network() -> None:
    """In a network of its own with one cable: a request and an answer by ARP, both for the address itself."""
    cable = "ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up"
    argv = ["unshare", "--net", "sh", "-c", f'{cable} && exec "$@"', "sh", sys.executable, "-c", _LISTENING]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, timeout=30)
    ours = "c0000209"
    assert [(line[40:44], line[56:64], line[76:84]) for line in done.stdout.split()] == [
        ("0001", ours, ours),
        ("0002", ours, ours),
    ]


_LISTENING = """
import socket
from standins.k3s.program import vip
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as far:
    far.bind(("v1", 0))
    far.settimeout(5)
    vip.announce("192.0.2.9", "v0")
    print(far.recv(100).hex(), far.recv(100).hex())
"""
