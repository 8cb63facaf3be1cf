"""A server and an agent as their images make them, in two folders: gate, decision, the stand-in for k3s, what is noted.

The stand-in runs as the units run k3s; everything it reads is what a plan puts on a node.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cluster.node_parts import RACK
from cluster.sealed_parts import HA, PASSWORDS, edits, part
from clustered import told
from identity import drawing
from node_folder import NodeFolder
from standins.k3s import make

from imagesmith.formats.credentials import revealed
from imagesmith.identity.tokens import ca_hash
from imagesmith.model import Cluster, Link, MakeDir, Network, Part, PutFile, SealedCluster
from imagesmith.secret import Secret, SecretRef

FIRSTBOOT = Path(__file__).parents[2] / "firstboot"
AUTHORITIES = drawing.cluster()
NAMES = ("head", "arm-1", "head-1", "head-2", "head-3")
SECRETS = (
    PASSWORDS
    | {f"vault:nodes/{name}/node-password": name.encode() * 4 for name in NAMES}
    | {f"vault:{name}": value.reveal() for name, value in AUTHORITIES.private().items()}
)


def at_home(cluster: Cluster, *names: str) -> Cluster:
    """These nodes of the cluster, at loopback addresses that nobody else uses: k3s's port is given."""
    net = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}"
    nodes = [node for node in cluster.nodes if node.name in names]
    moved = (replace(node, network=Network(f"{net}.{n + 1}/24")) for n, node in enumerate(nodes))
    return replace(cluster, nodes=tuple(moved))


def sealed_part(cluster: Cluster, name: str, authorities: dict[str, bytes]) -> Part:
    ref = SecretRef
    sealed = SealedCluster(
        ca_hash=ca_hash(authorities["server-ca.crt"]),
        bundles=authorities,
        keys={key: ref(f"vault:{key}") for key in AUTHORITIES.private()},
        server_token=ref("vault:cluster/server-token"),
        agent_token=ref("vault:cluster/agent-token"),
        node_passwords={one: ref(f"vault:nodes/{one}/node-password") for one in NAMES},
    )
    return replace(part(name, cluster), sealed=sealed)


def installed(folder: Path, cluster: Cluster, name: str, authorities: dict[str, bytes] | None = None) -> NodeFolder:
    """The node's root as its image has it, of the cluster's share."""
    root, programs = folder / name, folder / f"{name}-bin"
    programs.mkdir(parents=True)
    own = sealed_part(cluster, name, authorities or AUTHORITIES.public())
    for edit in edits(own):
        path = root / edit.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(edit, PutFile):
            path.write_bytes(_content(edit))
            path.chmod(edit.mode)
        elif isinstance(edit, MakeDir):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(edit.mode)
        elif isinstance(edit, Link) and not path.is_symlink():
            path.symlink_to(edit.target)
    library = root / "usr/lib/imagesmith"
    shutil.copy(FIRSTBOOT / "lib.sh", library)
    make(root / "usr/local/bin/k3s")
    calls = str(folder / f"{name}-calls")
    environment = {"PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin", "ROOT": str(root), "CALLS": calls}
    node = NodeFolder(root, programs, library, environment | {"IMAGESMITH_LIB": str(library)})
    node.configure(NODE_NAME=name, FOUND_WAIT_S="0")
    if own.duty != "agent":
        # All nodes are this one machine.
        address = own.node.network.address.partition("/")[0]
        node.write("etc/rancher/k3s/config.yaml.d/20-test.yaml", f"bind-address: {address}\n")
    node.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    node.write("proc/sys/kernel/hostname", f"{name}\n")
    node.write("sys/fs/cgroup/cgroup.controllers", "memory\n")
    node.stand_in("ip", f"echo 1: lo inet {own.node.network.address} scope global")
    node.stand_in("timedatectl", "echo yes")
    node.stand_in("sleep", "exec /bin/sleep 0.1")
    return node


def _content(edit: PutFile) -> bytes:
    if isinstance(edit.content, bytes):
        return edit.content
    assert not isinstance(edit.content, Path)
    return revealed(edit.content, lambda ref: Secret(SECRETS[ref.name])).reveal()  # type: ignore[arg-type]


@contextmanager
def started(node: NodeFolder, command: str) -> Iterator[None]:
    """As the unit does it: the gate, the decision, k3s until it is ready, the note."""
    for script in ("k3s-gate", "k3s-start"):
        done = node.run(script)
        assert done.returncode == 0, done.stdout + done.stderr
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, (node.root / "log").open("wb") as log:
        (node.root / "notify").unlink(missing_ok=True)
        ready.bind(str(node.root / "notify"))
        ready.settimeout(60)
        environment = {"PATH": "/usr/bin:/bin", "K3S_STANDIN_ROOT": str(node.root)}
        k3s = subprocess.Popen(
            [node.root / "usr/local/bin/k3s", command],
            env={**environment, "NOTIFY_SOCKET": str(node.root / "notify")},
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + 60
            while b"READY=1" not in ready.recv(4096):
                assert time.monotonic() < deadline
            assert node.run("k3s-settled").returncode == 0
            yield
        except TimeoutError:
            pytest.fail((node.root / "log").read_text())
        finally:
            k3s.terminate()
            k3s.wait(20)


def nodes(node: NodeFolder) -> dict[str, str]:
    """Nodes and how they are, by kubectl on the server."""
    done = subprocess.run(
        [node.root / "usr/local/bin/k3s", "kubectl", "get", "nodes", "--no-headers"],
        env={"PATH": "/usr/bin:/bin", "K3S_STANDIN_ROOT": str(node.root)},
        capture_output=True,
        text=True,
        check=False,
    )
    return {line.split()[0]: line.split()[1] for line in done.stdout.splitlines() if len(line.split()) > 1}


def wait_for_nodes(node: NodeFolder, expected: dict[str, str]) -> None:
    deadline = time.monotonic() + 30
    while nodes(node) != expected:
        assert time.monotonic() < deadline, nodes(node)
        time.sleep(0.2)


def test_a_server_founds_an_agent_joins_and_both_come_back(tmp_path: Path) -> None:
    cluster = at_home(RACK, "head", "arm-1")
    head, arm = installed(tmp_path, cluster, "head"), installed(tmp_path, cluster, "arm-1")
    for _ in range(2):
        with started(head, "server"):
            assert told(head, "state") == "founded"
            with started(arm, "agent"):
                assert told(arm, "state") == "joined"
                assert told(arm, "server") == f"https://{cluster.nodes[0].network.address[:-3]}:6443"
                wait_for_nodes(head, {"head": "Ready", "arm-1": "Ready"})


def test_an_agent_of_another_cluster_is_kept_out_by_its_own_gate(tmp_path: Path) -> None:
    cluster = at_home(RACK, "head", "arm-1")
    head = installed(tmp_path, cluster, "head")
    arm = installed(tmp_path, cluster, "arm-1", drawing.cluster().public())
    with started(head, "server"):
        gate = subprocess.Popen([arm.library / "k3s-gate"], env=arm.environment, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 30
            while "is refused" not in told(arm, "reason"):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            gate.terminate()
            gate.wait(10)
    assert told(arm, "waits_for") == "server"


def test_servers_join_the_founder_and_are_one_cluster(tmp_path: Path) -> None:
    cluster = at_home(HA, "head-1", "head-2", "head-3")
    first, second, third = (installed(tmp_path, cluster, node.name) for node in cluster.nodes)
    with started(first, "server"), started(second, "server"), started(third, "server"):
        assert [told(node, "state") for node in (first, second, third)] == ["founded", "joined", "joined"]
        wait_for_nodes(third, {"head-1": "Ready", "head-2": "Ready", "head-3": "Ready"})


def test_a_founders_card_that_is_made_anew_joins_the_servers_that_run(tmp_path: Path) -> None:
    cluster = at_home(HA, "head-1", "head-2", "head-3")
    first, second, third = (installed(tmp_path, cluster, node.name) for node in cluster.nodes)
    with started(first, "server"), started(second, "server"), started(third, "server"):
        anew = installed(tmp_path / "anew", cluster, "head-1")
        for script in ("k3s-gate", "k3s-start"):
            assert anew.run(script).returncode == 0
    assert anew.read("etc/rancher/k3s/config.yaml.d/10-start.yaml").startswith('server: "https://127.')
    assert not anew.exists("var/lib/rancher/k3s/server/tls")
