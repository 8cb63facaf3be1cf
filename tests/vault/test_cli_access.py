"""`imagesmith kubeconfig` and `known-hosts` of a k3s cluster that was never switched on, read by kubectl and ssh."""

from __future__ import annotations

import base64
import json
import stat
import sys
from pathlib import Path

import pytest
import yaml
from identity.drawing import said
from vault.conftest import Rack

from imagesmith.vault.index import read_index

K3S = """\
schema: 1
name: home
domain: home.arpa
k3s: {}
nodes:
  - {name: node-1, profile: x86-master, address: 192.168.1.10/24}
  - {name: node-2, profile: rpi4-worker, address: 192.168.1.11/24}
"""
SIX = (
    K3S.replace("192.168.1.10/24", '"fd00:0::1/64"').replace("192.168.1.11/24", '"fd00::2/64"')
    + 'network: {pods: "fd01::/56", services: "fd02::/112"}\n'
)
OPENED = ("--vault-key", "rack.key")


@pytest.fixture
def cluster(rack: Rack) -> Rack:
    """A rack with k3s, whose vault is opened by a key file."""
    rack.inventory(K3S)
    rack.create()
    return rack


def kubectl(path: Path, *words: str) -> str:
    return said(Path(sys.executable).with_name("kubectl"), f"--kubeconfig={path}", *words)


def admin_of(rack: Rack) -> tuple[Path, Path, Path]:
    """The client's certificate, what signed it, and the server's authorities, out of cluster.kubeconfig."""
    told = yaml.safe_load((rack.folder / "cluster.kubeconfig").read_bytes())
    user, server = told["users"][0]["user"], told["clusters"][0]["cluster"]
    paths = rack.folder / "client.pem", rack.folder / "above.pem", rack.folder / "server-ca.pem"
    own, *above = base64.b64decode(user["client-certificate-data"]).split(b"-----BEGIN")[1:]
    paths[0].write_bytes(b"-----BEGIN" + own)
    paths[1].write_bytes(b"".join(b"-----BEGIN" + one for one in above))
    paths[2].write_bytes(base64.b64decode(server["certificate-authority-data"]))
    return paths


def test_kubectl_reads_it_before_any_node_was_switched_on(cluster: Rack) -> None:
    told = cluster.done("kubeconfig", *OPENED)
    path = cluster.folder / "cluster.kubeconfig"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kubectl(path, "config", "current-context") == "home\n"
    assert (
        kubectl(path, "config", "view", "-o", "jsonpath={.clusters[0].cluster.server}") == "https://192.168.1.10:6443"
    )
    assert f"kubectl --kubeconfig {path.name} get nodes" in told.out
    assert "PRIVATE" not in told.out + told.err


def test_its_certificate_is_the_admins_under_the_vaults_authorities(cluster: Rack) -> None:
    cluster.done("kubeconfig", *OPENED)
    client, above, server = admin_of(cluster)
    entries = read_index(cluster.vault).secrets
    assert above.read_text() == entries["cluster/ca/client"].public
    assert server.read_text() == entries["cluster/ca/server"].public
    (cluster.folder / "root.pem").write_text(entries["cluster/ca/root"].public)
    words = ("-purpose", "sslclient", "-CAfile", cluster.folder / "root.pem", "-untrusted", above, client)
    assert "OK" in said("openssl", "verify", "-x509_strict", *words)
    shown = said("openssl", "x509", "-in", client, "-noout", "-subject", "-ext", "extendedKeyUsage")
    assert "O = system:masters, CN = system:admin" in shown
    assert "TLS Web Client Authentication" in shown
    assert "TLS Web Server" not in shown


@pytest.mark.parametrize(("words", "hours"), [((), 7 * 24), (("--hours", "8"), 8), (("--days", "30"), 720)])
def test_it_ends_when_it_was_said_and_is_good_now(cluster: Rack, words: tuple[str, ...], hours: int) -> None:
    until = cluster.done("kubeconfig", *OPENED, *words, "--json").result["until"]
    end = int(said("date", "-u", "-d", until, "+%s"))
    assert end - int(said("date", "+%s")) == pytest.approx(hours * 3600, abs=60)
    client, _, _ = admin_of(cluster)
    shown = said("openssl", "x509", "-in", client, "-noout", "-dates", "-dateopt", "iso_8601")
    assert f"notAfter={until.replace('T', ' ')}" in shown
    entries = read_index(cluster.vault).secrets
    (cluster.folder / "ca.pem").write_text(entries["cluster/ca/client"].public)
    said("openssl", "verify", "-CAfile", cluster.folder / "ca.pem", client)
    late = said("date", "-d", f"{until} 1 minute", "+%s").strip()
    with pytest.raises(AssertionError, match="expired"):
        said("openssl", "verify", "-attime", late, "-CAfile", cluster.folder / "ca.pem", client)


def test_it_does_not_outlive_its_authority(cluster: Rack) -> None:
    done = cluster.run("kubeconfig", *OPENED, "--days", "3650")
    assert done.code == 0
    assert cluster.run("kubeconfig", *OPENED, "--days", "3651").code == 2
    assert "contradict" in cluster.run("kubeconfig", *OPENED, "--days", "3", "--hours", "3").err


@pytest.mark.parametrize(
    ("inventory", "url"),
    [
        (K3S + "network: {vip: 192.168.1.9}\n", "https://192.168.1.9:6443"),
        (SIX, "https://[fd00::1]:6443"),
        (K3S.replace("address: 192.168.1.10/24", "resolvable: true"), "https://node-1.home.arpa:6443"),
    ],
)
def test_the_api_is_at_the_vip_else_at_the_first_server(rack: Rack, inventory: str, url: str) -> None:
    rack.inventory(inventory)
    rack.create("--plain")
    assert rack.done("kubeconfig", "--json").result["server"] == url


def test_another_address_is_taken_and_only_over_https(cluster: Rack) -> None:
    told = cluster.done("kubeconfig", *OPENED, "--server", "https://rack.example:443", "--json")
    assert told.result["server"] == "https://rack.example:443"
    refused = cluster.run("kubeconfig", *OPENED, "--server", "http://rack.example")
    assert refused.code == 2
    assert "no address of a cluster's API" in refused.err


@pytest.mark.parametrize("server", ["nonsense", "https://", "https://[", "https://rack:port", "https://a b"])
def test_what_is_no_address_is_refused_before_a_key_is_asked_for(cluster: Rack, server: str) -> None:
    assert "no address of a cluster's API" in cluster.run("kubeconfig", "--server", server).err


def test_its_own_file_gives_way_and_another_does_not(cluster: Rack) -> None:
    path = cluster.folder / "cluster.kubeconfig"
    cluster.done("kubeconfig", *OPENED)
    first = path.read_bytes()
    cluster.done("kubeconfig", *OPENED)
    assert path.read_bytes() != first
    path.write_text("apiVersion: v1\nkind: Config\n")
    refused = cluster.run("kubeconfig", *OPENED)
    assert refused.code == 2
    assert "not from here" in refused.err
    assert path.read_text() == "apiVersion: v1\nkind: Config\n"
    cluster.done("kubeconfig", *OPENED, "--replace")
    kubectl(path, "config", "view")


def test_that_of_another_cluster_does_not_give_way(cluster: Rack) -> None:
    cluster.done("kubeconfig", *OPENED, "--output", "mine")
    cluster.inventory(K3S.replace("name: home\n", "name: homer\n"))
    assert cluster.run("kubeconfig", *OPENED, "--output", "mine").code == 2


def test_a_pipe_gets_the_whole_of_it(cluster: Rack) -> None:
    piped = cluster.program("kubeconfig", *OPENED, "--output", "-").out
    assert yaml.safe_load(piped)["current-context"] == "home"
    assert not (cluster.folder / "cluster.kubeconfig").exists()
    assert cluster.run("kubeconfig", *OPENED, "--output", "-", "--json").code == 2


def test_a_key_of_another_vault_gives_none(cluster: Rack) -> None:
    (cluster.folder / "rack.key").rename(cluster.folder / "gone")
    assert cluster.run("kubeconfig", *OPENED).code == 12
    assert not (cluster.folder / "cluster.kubeconfig").exists()


def test_where_the_cluster_was_not_drawn_yet_it_is_drawn_now(rack: Rack) -> None:
    rack.create()
    assert "no k3s" in rack.run("kubeconfig", *OPENED).err
    rack.inventory(K3S)
    rack.done("kubeconfig", *OPENED)
    client, above, _ = admin_of(rack)
    assert "OK" in said("openssl", "verify", "-CAfile", above, client)


def test_a_changed_hash_in_the_index_is_noticed(cluster: Rack) -> None:
    index = json.loads((cluster.vault / "index.json").read_text())
    index["facts"]["ca_hash"] = "0" * 64
    (cluster.vault / "index.json").write_text(json.dumps(index))
    done = cluster.run("kubeconfig", *OPENED)
    assert done.code == 4
    assert "does not fit together" in done.err


@pytest.mark.parametrize(
    ("ssh", "ports"),
    [
        ("{}", {22}),
        ("{server: openssh, port: 2022}", {2022}),
        ("{server: dropbear, port: 22}", {22}),
        ("{server: both, port: 22, dropbear_port: 2222}", {22, 2222}),
    ],
)
def test_known_hosts_has_every_port_that_answers(rack: Rack, ssh: str, ports: set[int]) -> None:
    rack.inventory(K3S + f"ssh: {ssh}\n")
    rack.create("--plain")
    (rack.folder / "known_hosts").write_text(rack.done("known-hosts").out)
    for port in (22, 2022, 2222):
        name = "192.168.1.10" if port == 22 else f"[192.168.1.10]:{port}"
        asked = ("ssh-keygen", "-F", name, "-f", rack.folder / "known_hosts")
        if port in ports:
            assert said(*asked).count("ssh-ed25519") == 1
        else:
            with pytest.raises(AssertionError):
                said(*asked)


def test_known_hosts_draws_the_clusters_secrets_too(rack: Rack) -> None:
    rack.create()
    assert not any(name.startswith("cluster/") for name in read_index(rack.vault).secrets)
    rack.inventory(K3S)
    rack.done("known-hosts")
    assert len(read_index(rack.vault).secrets) == 2 * 3 + 10
