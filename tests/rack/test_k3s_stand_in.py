"""The stand-in for k3s with one server: it has to refuse what k3s refuses, or tests that pass with it prove nothing.

Hashes, authorities and the operator's certificate come from the openssl program, kubectl is the real one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from standins.k3s import VERSION, make
from standins.k3s.authorities import make_authorities, make_kubeconfig, root_hash
from standins.k3s.machines import Machine, Machines, kubectl, statuses, until

SERVER_WORD, AGENT_WORD = "word-of-servers", "word-of-agents"


class Cluster:
    """A server with given authorities, its tokens, and the operator's kubeconfig."""

    def __init__(self, machines: Machines, name: str = "one") -> None:
        self.machines = machines
        self.authorities = make_authorities(machines.folder / f"{name}-tls")
        head = f"K10{root_hash(self.authorities)}::"
        self.server_token, self.agent_token = f"{head}server:{SERVER_WORD}", f"{head}node:{AGENT_WORD}"
        self.server = machines.server(name, token=self.server_token, agent_token=self.agent_token)
        shutil.copytree(self.authorities, self.server.data / "server/tls")
        self.kubeconfig = make_kubeconfig(self.authorities, self.server.url, machines.folder / f"{name}.kubeconfig")

    def agent(self, name: str, **settings: object) -> Machine:
        return self.machines.agent(name, self.server.url, self.agent_token, **settings)

    def is_ready(self, *names: str, within: float = 15) -> None:
        def all_ready() -> bool:
            return statuses(self.kubeconfig) == dict.fromkeys(names, "Ready")

        until(all_ready, within, lambda: str(statuses(self.kubeconfig)))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running server named `one`; tests add agents of their own names."""
    with Machines(tmp_path_factory.mktemp("rack")) as machines:
        made = Cluster(machines)
        made.server.start().serves()
        yield made


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    with Machines(tmp_path) as made:
        yield made


def version_of(program: Path) -> str:
    return subprocess.run([sys.executable, program, "--version"], capture_output=True, text=True, check=True).stdout


def test_it_says_that_it_is_a_stand_in(tmp_path: Path) -> None:
    said = version_of(make(tmp_path / "k3s"))
    assert said == f"k3s version {VERSION} (stand-in)\n"


def test_with_the_version_of_a_release_it_still_says_so(tmp_path: Path) -> None:
    said = version_of(make(tmp_path / "k3s", "v1.36.3+k3s1"))
    assert said == "k3s version v1.36.3+k3s1 (stand-in)\n"


def test_the_program_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    assert make(tmp_path / "one").read_bytes() == make(tmp_path / "two").read_bytes()


def test_an_agent_joins_by_its_full_token(cluster: Cluster) -> None:
    cluster.agent("joins").start().serves()
    assert statuses(cluster.kubeconfig)["joins"] == "Ready"


def test_the_tables_of_the_real_kubectl_tell_roles_and_version(cluster: Cluster) -> None:
    row = kubectl(cluster.kubeconfig, "get", "nodes", "one", "--no-headers").stdout.split()
    assert row[:3] == ["one", "Ready", "control-plane"] and row[-1] == VERSION


def test_the_operator_without_a_certificate_is_nobody(cluster: Cluster, tmp_path: Path) -> None:
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "x"}
    (tmp_path / "config").write_text(json.dumps(config))
    done = kubectl(tmp_path / "config", "get", "--raw", "/api/v1/nodes")
    assert done.returncode == 1 and "Unauthorized" in done.stderr


def test_a_certificate_of_other_authorities_opens_nothing(cluster: Cluster, tmp_path: Path) -> None:
    other = make_kubeconfig(make_authorities(tmp_path / "tls"), cluster.server.url, tmp_path / "config")
    config, right = (yaml.safe_load(path.read_text()) for path in (other, cluster.kubeconfig))
    config["clusters"] = right["clusters"]
    other.write_text(json.dumps(config))
    assert kubectl(other, "get", "nodes").returncode == 1


def test_an_agent_refuses_a_man_in_the_middle(cluster: Cluster, machines: Machines) -> None:
    middle = Cluster(machines, "middle")
    middle.server.start().says("serves on")
    agent = machines.agent("cautious", middle.server.url, cluster.agent_token).start()
    hashes = f"{root_hash(cluster.authorities)} != {root_hash(middle.authorities)}"
    agent.says(f"token CA hash does not match the Cluster CA certificate hash: {hashes}")
    assert agent.process and agent.process.poll() is None
    assert "cautious" not in statuses(middle.kubeconfig)


def test_a_single_certificate_is_hashed_as_the_bytes_of_its_file(machines: Machines) -> None:
    server = machines.server("own", token="short").start().serves()
    digest = hashlib.sha256((server.data / "server/tls/server-ca.crt").read_bytes()).hexdigest()
    assert (server.data / "server/node-token").read_text() == f"K10{digest}::server:short\n"
    machines.agent("same", server.url, f"K10{digest}::node:short").start().serves()


def test_a_leaf_is_good_from_the_day_on_that_its_authority_is(machines: Machines) -> None:
    """As k3s signs them: a node whose clock is behind its server's trusts it all the same."""
    made = Cluster(machines)
    time.sleep(1.1)
    made.server.start().serves()
    url = urlsplit(made.server.url)
    leaf = ssl.get_server_certificate((url.hostname or "", url.port or 443))
    assert began(leaf) == began((made.authorities / "server-ca.crt").read_text())


def began(certificate: str) -> str:
    argv = ["openssl", "x509", "-noout", "-startdate"]
    return subprocess.run(argv, input=certificate, capture_output=True, text=True, check=True).stdout


def test_a_short_token_pins_nothing_and_the_agent_says_so(cluster: Cluster) -> None:
    agent = cluster.machines.agent("trusting", cluster.server.url, AGENT_WORD).start().serves()
    assert "the token does not include a CA hash" in agent.said


def test_a_wrong_password_is_refused(cluster: Cluster) -> None:
    agent = cluster.machines.agent("liar", cluster.server.url, cluster.agent_token + "x").start()
    agent.says(": 401 Unauthorized").stop()
    assert "liar" not in statuses(cluster.kubeconfig)


def test_a_second_node_of_the_same_name_is_rejected_until_the_first_is_forgotten(cluster: Cluster) -> None:
    cluster.agent("twin").start().serves().stop()
    other = cluster.machines.agent("twin2", cluster.server.url, cluster.agent_token, node_name="twin").start()
    other.says("403 Forbidden: Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password'")
    secret = ("delete", "secret", "-n", "kube-system", "twin.node-password.k3s")
    assert kubectl(cluster.kubeconfig, *secret).returncode == 0
    other.serves()


def test_deleting_a_node_forgets_its_password(cluster: Cluster) -> None:
    cluster.agent("gone").start().serves().stop()
    assert kubectl(cluster.kubeconfig, "delete", "node", "gone").returncode == 0
    cluster.machines.agent("gone2", cluster.server.url, cluster.agent_token, node_name="gone").start().serves()


def test_labels_and_taints_count_at_the_first_registration_only(cluster: Cluster) -> None:
    agent = cluster.agent("marked", node_label=["a=b"], node_taint=["x=y:NoSchedule"]).start().serves()
    agent.stop()
    agent.settings |= {"node-label": ["a=c"], "node-taint": []}
    agent.start().serves()
    node = json.loads(kubectl(cluster.kubeconfig, "get", "node", "marked", "-o", "json").stdout)
    assert node["metadata"]["labels"]["a"] == "b"
    assert node["spec"]["taints"] == [{"key": "x", "value": "y", "effect": "NoSchedule"}]


def test_labels_of_kubernetes_itself_stop_a_node(cluster: Cluster) -> None:
    agent = cluster.agent("king", node_label=["node-role.kubernetes.io/worker=true"]).start()
    assert agent.exit_code() == 1
    assert "unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels" in agent.said


@pytest.mark.slow
def test_a_node_without_heartbeats_is_not_ready(cluster: Cluster) -> None:
    cluster.agent("dies").start().serves().stop(signal.SIGKILL)
    words = ("wait", "--for=condition=Ready=Unknown", "node/dies", "--timeout=28s")
    argv = ["--request-timeout=0", *words]
    assert kubectl(cluster.kubeconfig, *argv).returncode == 0
    assert statuses(cluster.kubeconfig)["dies"] == "NotReady"


def test_the_real_kubectl_looks_after_nodes(cluster: Cluster) -> None:
    cluster.agent("tended").start().serves()
    for words in ("label node tended c=d", "annotate node tended e=f", "cordon tended",
                  "drain tended --ignore-daemonsets --delete-emptydir-data --timeout=9s"):  # fmt: skip
        done = kubectl(cluster.kubeconfig, *words.split())
        assert done.returncode == 0, done.stderr
    assert statuses(cluster.kubeconfig, "-l", "c=d") == {"tended": "Ready,SchedulingDisabled"}
    assert kubectl(cluster.kubeconfig, "uncordon", "tended").returncode == 0
    assert statuses(cluster.kubeconfig)["tended"] == "Ready"


def test_its_own_kubectl_answers_scripts_on_a_server(cluster: Cluster) -> None:
    template = "jsonpath={.status.nodeInfo.kubeletVersion} {.status.conditions[?(@.type=='Ready')].status}"
    done = cluster.server.run("kubectl", "get", "node", "one", "-o", template)
    assert done.stdout == f"{VERSION} True"
    assert cluster.server.run("kubectl", "get", "--raw", "/readyz", "--request-timeout=10s").stdout == "ok"
    missing = cluster.server.run("kubectl", "delete", "node", "nobody")
    assert missing.returncode == 1 and 'Error from server (NotFound): nodes "nobody" not found' in missing.stderr


def test_a_server_comes_back_with_everything(machines: Machines) -> None:
    cluster = Cluster(machines)
    cluster.server.start().serves()
    agent = cluster.agent("two", node_label=["a=b"]).start().serves()
    assert cluster.server.stop() == 0
    assert (cluster.server.data / "server/db/state.db").exists()
    cluster.server.start().serves()
    cluster.is_ready("one", "two")
    assert list(statuses(cluster.kubeconfig, "-l", "a=b")) == ["two"]
    assert agent.stop() == 0


def test_a_signal_ends_an_agent_that_waits_for_its_server_at_once(machines: Machines) -> None:
    agent = machines.agent("waits", "https://127.0.0.1:9", "x").start().says("Failed to validate connection")
    begun = time.monotonic()
    assert agent.stop() == 0 and time.monotonic() - begun < 2


def test_an_agent_that_has_its_certificate_comes_back_without_a_token(cluster: Cluster) -> None:
    agent = cluster.agent("kept").start().serves()
    agent.stop()
    agent.settings["token"] = ""
    agent.start().serves().stop()
    (agent.data / "agent/client-kubelet.key").unlink()
    (agent.data / "agent/client-kubelet.crt").unlink()
    assert agent.start().exit_code() == 1 and "--token is required" in agent.said


def test_an_agent_tells_systemd_only_once_it_is_registered(cluster: Cluster) -> None:
    agent = cluster.agent("notifies")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        address = f"\0{agent.root}"[:100]
        systemd.bind(address)
        systemd.settimeout(10)
        agent.env["NOTIFY_SOCKET"] = f"@{address[1:]}"
        agent.start()
        assert systemd.recv(100) == b"READY=1"
    assert "registered with" in agent.said


def test_a_founder_refuses_a_full_token_of_other_authorities(machines: Machines) -> None:
    cluster = Cluster(machines)
    cluster.server.settings["token"] = f"K10{'0' * 64}::server:{SERVER_WORD}"
    assert cluster.server.start().exit_code() == 1
    assert f"hash: {'0' * 64} != {root_hash(cluster.authorities)}" in cluster.server.said


def test_a_key_that_is_another_certificates_is_refused(machines: Machines) -> None:
    cluster = Cluster(machines)
    tls = cluster.server.data / "server/tls"
    shutil.copy(tls / "client-ca.key", tls / "etcd/peer-ca.key")
    assert cluster.server.start().exit_code() == 1
    assert "etcd/peer-ca.crt and .key do not belong together" in cluster.server.said


def test_another_token_does_not_open_the_datastore(machines: Machines) -> None:
    server = machines.server("one", token="first").start().serves()
    server.stop()
    server.settings["token"] = "second"
    assert server.start().exit_code() == 1
    assert "bootstrap data already found and encrypted with different token" in server.said


def test_other_authorities_beside_a_datastore_are_refused(machines: Machines) -> None:
    server = machines.server("one", token="x").start().serves()
    server.stop()
    shutil.rmtree(server.data / "server/tls")
    shutil.copytree(make_authorities(machines.folder / "tls"), server.data / "server/tls")
    assert server.start().exit_code() == 1
    assert "newer than datastore and could cause a cluster outage" in server.said


def test_keys_that_k3s_does_not_know_are_refused(machines: Machines) -> None:
    server = machines.server("one", token="x", cluster_cird="10.0.0.0/8").start()
    assert server.exit_code() == 1 and "unknown key: cluster-cird" in server.said


def test_keys_of_servers_are_refused_in_an_agent(machines: Machines) -> None:
    agent = machines.agent("one", "https://127.0.0.1:9", "x", cluster_init=True).start()
    assert agent.exit_code() == 1 and "unknown key: cluster-init" in agent.said


def test_later_files_win_and_add_to_lists_and_flags_win_over_files(machines: Machines) -> None:
    server = machines.server("one", token="x", tls_san=["a.example"], node_label=["from=main"])
    folder = server.root / "etc/rancher/k3s/config.yaml.d"
    folder.mkdir(parents=True)
    (folder / "10-a.yaml").write_text("node-label:\n  - from=ten\ntls-san+: [b.example]\n")
    (folder / "20-b.yaml").write_text("node-label: 'from=twenty'  # a comment\n")
    server.start("--node-name", "other").serves()
    node = json.loads(server.run("kubectl", "get", "node", "other", "-o", "json").stdout)
    assert node["metadata"]["labels"]["from"] == "twenty"
    text = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in",
                           server.data / "server/tls/serving-kube-apiserver.crt"],
                          capture_output=True, text=True, check=True).stdout  # fmt: skip
    names = {name.strip() for name in text.splitlines()[1].split(",")}
    assert names >= {"DNS:a.example", "DNS:b.example", "DNS:kubernetes", "IP Address:10.43.0.1"}


def test_the_servers_token_is_changed_while_it_runs(machines: Machines) -> None:
    server = machines.server("one", token="first").start().serves()
    assert server.run("token", "rotate", "--token", "first", "--new-token", "second").returncode == 0
    server.stop()
    server.settings["token"] = "second"
    server.start().serves()
