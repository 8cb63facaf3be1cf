"""Founding and joining: who founds, who joins, that it is decided once, what is written down and goes afterwards."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from clustered import clustered, silent_port, status, told
from node_folder import NodeFolder
from tls_server import authority, serving

from imagesmith.identity.tokens import ca_hash

START = "etc/rancher/k3s/config.yaml.d/10-start.yaml"
TLS = "var/lib/rancher/k3s/server/tls"
DB = "var/lib/rancher/k3s/server/db"


def ours(node: NodeFolder, servers: str = "", **conf: str) -> NodeFolder:
    """A node of the cluster that `authority()` is of; a founder has its files."""
    clustered(node, CLUSTER_CA_HASH=ca_hash(authority().bundle), CLUSTER_SERVERS=servers, **conf)
    node.configure(NODE_NAME="node-1", FOUND_WAIT_S="0")
    if conf.get("CLUSTER_DUTY", "founder") == "founder":
        for name in ("server-ca.key", "server-ca.crt", "service.key", "etcd/peer-ca.key"):
            node.write(f"{TLS}/{name}", "x\n")
    return node


def start(node: NodeFolder) -> subprocess.CompletedProcess[str]:
    done = node.run("k3s-start")
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def decided(node: NodeFolder) -> Any:
    return yaml.safe_load(node.read(START)) if node.exists(START) else None


def test_a_lone_server_starts_with_its_own_datastore(node: NodeFolder) -> None:
    start(ours(node))
    assert decided(node) is None
    assert node.exists(f"{TLS}/server-ca.key")


def test_the_first_of_several_founds_where_nobody_answers(node: NodeFolder) -> None:
    start(ours(node, f"https://127.0.0.1:{silent_port()}", CLUSTER_DATASTORE="etcd"))
    assert decided(node) == {"cluster-init": True}
    assert node.exists(f"{TLS}/server-ca.key")
    assert (node.root / START).stat().st_mode & 0o777 == 0o600


def test_the_other_servers_are_asked_for_a_while_before(node: NodeFolder, tmp_path: Path) -> None:
    port = silent_port()
    ours(node, f"https://127.0.0.1:{port}", CLUSTER_DATASTORE="etcd")
    node.configure(NODE_NAME="node-1", FOUND_WAIT_S="30")
    process = subprocess.Popen([node.library / "k3s-start"], env=node.environment, stdout=subprocess.DEVNULL)
    while "sleep 2" not in node.calls:
        assert process.poll() is None
    with serving(tmp_path / "tls", authority(), port=port) as url:
        assert process.wait(20) == 0
    assert decided(node) == {"server": url}


def test_a_founder_joins_a_cluster_that_is_there_and_forgets_its_authorities(node: NodeFolder, tmp_path: Path) -> None:
    with serving(tmp_path / "tls", authority()) as url:
        start(ours(node, f"https://127.0.0.1:{silent_port()} {url}", CLUSTER_DATASTORE="etcd"))
    assert decided(node) == {"server": url}
    assert not node.exists(TLS)


def test_another_cluster_at_a_servers_address_is_not_joined(node: NodeFolder, tmp_path: Path) -> None:
    with serving(tmp_path / "tls", authority(1)) as url:
        done = start(ours(node, url, CLUSTER_DATASTORE="etcd"))
    assert decided(node) == {"cluster-init": True}
    assert "another cluster's" in done.stdout


def test_a_server_with_its_datastore_stays_what_it_is(node: NodeFolder, tmp_path: Path) -> None:
    with serving(tmp_path / "tls", authority()) as url:
        ours(node, url, CLUSTER_DATASTORE="etcd")
        (node.root / DB).mkdir(parents=True)
        node.write(START, "cluster-init: true\n")
        start(node)
    assert decided(node) == {"cluster-init": True}
    assert node.exists(f"{TLS}/server-ca.key")


def test_a_power_cut_between_the_decision_and_what_follows_is_harmless(node: NodeFolder, tmp_path: Path) -> None:
    with serving(tmp_path / "tls", authority()) as url:
        ours(node, url, CLUSTER_DATASTORE="etcd")
        node.write(START, f'server: "{url}"\n')
        start(node)
    assert decided(node) == {"server": url}
    assert not node.exists(TLS)


def test_a_founder_that_once_joined_does_not_found_without_authorities(node: NodeFolder, tmp_path: Path) -> None:
    port = silent_port()
    ours(node, f"https://127.0.0.1:{port}", CLUSTER_DATASTORE="etcd")
    subprocess.run(["rm", "-r", node.root / TLS], check=True)
    process = subprocess.Popen([node.library / "k3s-start"], env=node.environment, stdout=subprocess.DEVNULL)
    while told(node, "waits_for") != "server":
        assert process.poll() is None
    assert decided(node) is None
    with serving(tmp_path / "tls", authority(), port=port) as url:
        assert process.wait(20) == 0
    assert decided(node) == {"server": url}


def test_who_had_decided_to_join_founds_no_more(node: NodeFolder, tmp_path: Path) -> None:
    # The power went after the decision was on the disk, and came back while nobody answers.
    port = silent_port()
    ours(node, f"https://127.0.0.1:{port}", CLUSTER_DATASTORE="etcd")
    node.write(START, f'server: "https://127.0.0.1:{port}"\n')
    process = subprocess.Popen([node.library / "k3s-start"], env=node.environment, stdout=subprocess.DEVNULL)
    while told(node, "waits_for") != "server":
        assert process.poll() is None
    with serving(tmp_path / "tls", authority(), port=port) as url:
        assert process.wait(20) == 0
    assert decided(node) == {"server": url}


def test_nothing_is_founded_beside_who_shows_our_certificates_without_proof(node: NodeFolder, tmp_path: Path) -> None:
    port = silent_port()
    with serving(tmp_path / "false", authority(1), shown=authority(), port=port) as url:
        ours(node, url, CLUSTER_DATASTORE="etcd")
        # Between the false server's end and the true one's start nobody answers.
        node.configure(NODE_NAME="node-1", FOUND_WAIT_S="60")
        process = subprocess.Popen([node.library / "k3s-start"], env=node.environment, stdout=subprocess.DEVNULL)
        while told(node, "waits_for") != "server":
            assert process.poll() is None
        assert "can't prove" in told(node, "reason")
    with serving(tmp_path / "true", authority(), port=port) as url:
        assert process.wait(20) == 0
    assert decided(node) == {"server": url}


def test_what_is_written_already_needs_no_room(node: NodeFolder) -> None:
    start(ours(node, f"https://127.0.0.1:{silent_port()}", CLUSTER_DATASTORE="etcd"))
    for path in (START, "var/lib/imagesmith/cluster/started"):
        (node.root / f"{path}.new").symlink_to("/dev/full")
    start(node)
    assert decided(node) == {"cluster-init": True}


def test_a_lone_founder_without_authorities_says_so_and_starts_nothing(node: NodeFolder) -> None:
    ours(node)
    subprocess.run(["rm", "-r", node.root / TLS], check=True)
    done = node.run("k3s-start")
    assert done.returncode != 0
    assert "no authorities" in done.stderr
    assert "build the image" in told(node, "reason")


@pytest.mark.parametrize("duty", ["agent", "server"])
def test_who_joins_joins_the_server_that_the_gate_met(node: NodeFolder, duty: str) -> None:
    ours(node, CLUSTER_DUTY=duty)
    node.write("run/imagesmith/server", "https://192.168.7.1:6443\n")
    start(node)
    assert decided(node) == {"server": "https://192.168.7.1:6443"}


def test_an_agent_moves_to_another_server_at_a_later_start(node: NodeFolder) -> None:
    ours(node, CLUSTER_DUTY="agent")
    for url in ("https://192.168.7.1:6443", "https://192.168.7.2:6443"):
        node.write("run/imagesmith/server", f"{url}\n")
        start(node)
        assert decided(node) == {"server": url}


def test_a_server_that_joined_stays_with_what_it_joined_by(node: NodeFolder) -> None:
    ours(node, CLUSTER_DUTY="server")
    (node.root / DB).mkdir(parents=True)
    node.write(START, 'server: "https://192.168.7.1:6443"\n')
    start(node)
    assert decided(node) == {"server": "https://192.168.7.1:6443"}


@pytest.mark.parametrize("duty", ["agent", "server"])
def test_who_joins_without_a_gate_starts_nothing(node: NodeFolder, duty: str) -> None:
    assert ours(node, CLUSTER_DUTY=duty).run("k3s-start").returncode != 0
    assert decided(node) is None


@pytest.mark.parametrize("duty", ["founder", "server", "agent"])
def test_a_second_start_changes_nothing(node: NodeFolder, duty: str) -> None:
    ours(node, CLUSTER_DUTY=duty, CLUSTER_DATASTORE="etcd")
    node.write("run/imagesmith/server", "https://192.168.7.1:6443\n")
    start(node)
    before = node.files()
    start(node)
    assert node.files() == before


# -- afterwards ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "state", "since"), [("", "founded", "founded"), ('server: "https://a:6443"\n', "joined", "joined")]
)
def test_it_is_written_down_when_it_founded_or_joined(node: NodeFolder, text: str, state: str, since: str) -> None:
    ours(node, CLUSTER_DUTY="server" if text else "founder")
    if text:
        node.write(START, text)
    assert node.run("k3s-settled").returncode == 0
    found = status(node)
    assert (found["state"], found["waits_for"]) == (state, "nothing")
    assert found[since].endswith("Z")
    assert found["server"] == ("https://a:6443" if text else "")


def test_when_it_first_joined_is_kept(node: NodeFolder) -> None:
    ours(node, CLUSTER_DUTY="agent")
    node.write("var/lib/imagesmith/cluster/status", "state=starting\nwaits_for=nothing\nreason=\njoined=2026-01-01\n")
    node.write(START, 'server: "https://a:6443"\n')
    node.run("k3s-settled")
    assert told(node, "joined") == "2026-01-01"


def test_what_interrupted_writes_left_goes(node: NodeFolder) -> None:
    ours(node, CLUSTER_DUTY="agent")
    left = [f"{START}.new", "run/imagesmith/cacerts", "run/imagesmith/cacerts.raw", "run/imagesmith/authority"]
    for path in left:
        node.write(path, "x")
    node.run("k3s-settled")
    assert [path for path in left if node.exists(path)] == []


def test_what_k3s_needs_at_its_next_start_stays(node: NodeFolder) -> None:
    ours(node)
    kept = ["etc/rancher/k3s/config.yaml", "etc/rancher/node/password", f"{TLS}/server-ca.key"]
    for path in kept:
        node.write(path, "x\n")
    start(node)
    node.run("k3s-settled")
    assert [path for path in kept if not node.exists(path)] == []


def test_no_script_tells_a_token(node: NodeFolder) -> None:
    ours(node)
    node.write("etc/rancher/k3s/config.yaml", 'token: "K10abc::server:s3cret"\n')
    said = "".join(
        done.stdout + done.stderr for done in (node.run(name) for name in ("k3s-gate", "k3s-start", "k3s-settled"))
    )
    assert "s3cret" not in said + " ".join(node.calls)
    assert "s3cret" not in node.read("var/lib/imagesmith/cluster/status")
