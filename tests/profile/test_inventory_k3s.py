"""An inventory with k3s: what its tables mean, and every mistake in them told with its place."""

import pytest
from inventories import ONE, RACK, changed, complaints, load

from imagesmith.model import ClusterNetwork, K3s, Registry, RegistryLogin, SshAccess, Upkeep
from imagesmith.secret import SecretRef

FULL = changed(
    ONE,
    (
        "k3s: {channel: stable}",
        """\
k3s:
  channel: v1.36
  file: {amd64: k3s, arm64: ../k3s-arm64}
  datastore: etcd
  delivery: baked
  airgap: true
  secrets_encryption: yes
  disable: [traefik, servicelb, traefik]
  registries:
    "*":
      endpoints: [http://10.0.0.1:5000/]
    nas.home.arpa:5000:
      login: {username: puller, password_file: registry.password}
      ca_file: nas-ca.pem
network:
  pods: 10.52.0.0/16
  services: 10.53.0.0/16
  vip: 192.168.1.9
  interface: enp1s0
  names: [rack.example.org, 203.0.113.5]
  firewall: yes
  open: [9100/tcp, 30000-30010/udp, 9100/tcp]
  open_to_all: [3493/tcp]
ssh: {server: both, port: 2022, dropbear_port: 443}
upkeep:
  updates: security
  packages: online
  mirrors: {debian: "http://ftp.de.debian.org/debian/"}
  proxy: http://proxy.home.arpa:3128
  serve_time: no""",
    ),
    (
        "profile: pi-worker",
        "profile: pi-worker\n    labels: {disk: ssd, example.org/on: true}\n    taints: [a=b:NoExecute, a:NoSchedule]\n"
        "    interface: end0",
    ),
)


def test_all_that_can_be_said_of_k3s():
    assert load(FULL).k3s == K3s(
        channel="v1.36",
        files={"amd64": "k3s", "arm64": "../k3s-arm64"},
        datastore="etcd",
        airgap=True,
        secrets_encryption=True,
        disable=("traefik", "servicelb"),
        registries=(
            Registry("*", ("http://10.0.0.1:5000",)),
            Registry(
                "nas.home.arpa:5000",
                login=RegistryLogin("puller", SecretRef("file:registry.password")),
                ca_file="nas-ca.pem",
            ),
        ),
    )


def test_a_password_of_a_registry_knows_where_it_was_named():
    written = load(FULL).k3s.registries[1].login.password.written
    assert (written.file, written.line) == ("cluster.yaml", 15)
    assert written.path.endswith("login.password_file")


def test_all_that_can_be_said_of_the_rest():
    cluster = load(FULL)
    names = ("rack.example.org", "203.0.113.5")
    assert cluster.network == ClusterNetwork(
        "10.52.0.0/16", "10.53.0.0/16", "192.168.1.9", "enp1s0", names,
        open=("9100/tcp", "30000-30010/udp"), open_to_all=("3493/tcp",),
    )  # fmt: skip
    assert cluster.ssh == SshAccess("both", 2022, 443)
    mirrors = {"debian": "http://ftp.de.debian.org/debian"}
    assert cluster.upkeep == Upkeep("security", "online", mirrors, "http://proxy.home.arpa:3128", False)


def test_all_that_can_be_said_of_a_node():
    node = load(FULL).node("d")
    assert node.labels == {"disk": "ssd", "example.org/on": "true"}
    assert node.taints == ("a=b:NoExecute", "a:NoSchedule")
    assert node.interface == "end0"


def test_what_is_not_said_is_as_the_model_has_it():
    cluster = load(ONE)
    assert cluster.k3s == K3s()
    assert (cluster.network, cluster.ssh, cluster.upkeep) == (ClusterNetwork(), SshAccess(), Upkeep())


@pytest.mark.parametrize(("text", "datastore"), [(ONE, "sqlite"), (RACK, "etcd")])
def test_the_datastore_follows_the_number_of_servers(text, datastore):
    assert load(text).k3s.datastore == datastore


def test_one_server_may_have_etcd():
    assert load(changed(ONE, ("channel: stable", "datastore: etcd"))).k3s.datastore == "etcd"


def test_without_k3s_nothing_of_it_is_there():
    cluster = load(changed(ONE, ("k3s: {channel: stable}\n", "")))
    assert cluster.k3s is None


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("channel: v1.36", "version: 1.36.3+k3s1", "yaml:4: k3s.version: '1.36.3+k3s1' is not a version of"),
        ("channel: v1.36", "version: v1.36.3", "write all of it, like v1.36.3+k3s1"),
        ("channel: v1.36", "version: v1.36.3-k3s1", "is not a version of k3s"),
        ("channel: v1.36", "channel: v1.36\n  version: v1.36.3+k3s1", "a channel has nothing to decide"),
        ("channel: v1.36", "channel: v1.36.3+k3s1", "is not a channel of k3s"),
        ("channel: v1.36", "token: secret", "cluster.yaml:4: k3s.token: the key 'token' is unknown"),
        ("{amd64: k3s, arm64", "{x86: k3s, arm64", "'x86' is none of amd64, arm64"),
        ("datastore: etcd", "datastore: etdc", "did you mean 'etcd'?"),
        ("delivery: baked", "delivery: download", "each node fetch the release's own"),
        ("delivery: baked", "delivery: download", "for nodes that reach no internet"),
        ("airgap: true", "airgap: 'true'", "take the quotes away"),
        ("[traefik,", "[trafik,", "cluster.yaml:10: k3s.disable[0]: 'trafik' is none of"),
        ("nas.home.arpa:5000:", "https://nas.home.arpa:", "is not a registry"),
        ("nas.home.arpa:5000:", "nas.home.arpa:70000:", "is not a registry"),
        ("http://10.0.0.1:5000/", "10.0.0.1:5000", "is not a registry's address"),
        ('"*":\n', '"*":\n      ca_file: x.pem\n', "only `endpoints` goes here"),
        ("endpoints: [http://10.0.0.1:5000/]", "endpoints:", "it says nothing of the registry"),
        ("username: puller, ", "", "the key 'username' is required"),
        (", password_file: registry.password", "", "the key 'password_file' is required"),
        ("password_file: registry.password", "password: hunter2", "the key 'password' is unknown"),
        ("password_file: registry.password", "password_file: hunter2", "this is not the name of a file"),
        ("10.52.0.0/16", "10.52.0.1/16", "is an address in a network; the network is 10.52.0.0/16"),
        ("10.52.0.0/16", "10.52.0.0", "lacks the prefix length"),
        ("vip: 192.168.1.9", "vip: 192.168.1.9/24", "is not an address"),
        ("enp1s0", "eth0;reboot", "is not a network interface"),
        ("enp1s0", "flannel.1", "leads to no other node"),
        ("end0", "end0 eth0", "interface: 'end0 eth0' is not a network interface"),
        ("firewall: yes", "firewall: no", "network.open: without a firewall every port is open"),
        ("firewall: yes", "firewall: no", "network.open_to_all: without a firewall every port is open"),
        ("[9100/tcp, 3", "[9100, 3", "network.open[0]: '9100' is not a port with its protocol"),
        ("[3493/tcp]", "[8472/udp]", "network.open_to_all: 8472/udp has 8472/udp in it, the pods' network"),
        ("[3493/tcp]", "[1024-9000/udp]", "which asks nobody for a key"),
        ("[rack.example.org", "[Rack_1", "is not a server"),
        ("port: 2022", "port: 0", "is not between 1 and 65535"),
        ("updates: security", "updates: all", "is none of off, security"),
        ("{debian:", "{debain:", "did you mean 'debian'?"),
        ("http://proxy.home.arpa:3128", "proxy.home.arpa:3128", "is not a proxy"),
        ("taints: [", "taints: [a=c:NoExecute, ", "two taints have the key a and the effect NoExecute"),
        ("disk: ssd", "kubernetes.io/disk: ssd", "a kubelet that is to set"),
        ("disk: ssd", "disk: s s d", "is not a label's value"),
        ("disk: ssd", "disk:", "expected text, found nothing"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(old, new, complaint):
    found = complaints(changed(FULL, (old, new)))
    assert any(complaint in line for line in found), found


@pytest.mark.parametrize("written", ["http://ada:hunter2@proxy.home.arpa:3128", "ada:hunter2@proxy.home.arpa:3128"])
def test_a_password_in_an_address_is_refused_unshown(written):
    (found,) = complaints(changed(FULL, ("http://proxy.home.arpa:3128", written)))
    assert "no place in a proxy" in found
    assert "hunter2" not in found


def test_k3s_with_nothing_behind_it_is_no_cluster_by_mistake():
    (found,) = complaints(changed(ONE, ("k3s: {channel: stable}", "k3s:")))
    assert found.startswith("cluster.yaml:3: k3s: there is nothing behind it (write `k3s: {channel: stable}`")


def test_what_only_k3s_gives_a_meaning_is_refused_without_it():
    found = complaints(
        changed(
            FULL,
            (FULL[FULL.index("k3s:") : FULL.index("network:")], ""),
            ("name: d\n", "name: d\n    role: worker\n"),
        )
    )
    paths = [line.split(": ")[1] for line in found]
    of_node = [f"nodes[1].{key}" for key in ("role", "labels", "taints", "interface")]
    assert paths == ["network", "ssh", "upkeep", *of_node]
    assert all("add `k3s: {channel: stable}`" in line for line in found)


def test_all_mistakes_come_at_once():
    found = complaints(
        changed(
            RACK,
            ("v1.36.3+k3s1", "v1.36"),
            ("vip: 192.168.1.9", "vip: 192.168.1.10"),
            ("server: both", "server: both\n  port: 6443"),
            ("updates: security", "updates: never"),
            ("role: server\n", "role: worker\n"),
            ("reserved: 192.168.1.11", "reserved: 192.168.1.10"),
        )
    )
    paths = [line.split(": ")[1] for line in found]
    assert paths == ["k3s.datastore", "k3s.version", "network.vip", "ssh.port", "upkeep.updates", "nodes[1].reserved"]
