"""k3s's texts, read back by a YAML parser: tokens, what all servers share, what a node has alone, registries, proxy."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.node_parts import RACK
from cluster.sealed_parts import HA, edits, files, part, sealed, written
from standins.k3s.program import yamlish
from standins.k3s.program.config import load

from imagesmith.cluster.config import kubelet, registries, registry_ca
from imagesmith.cluster.parts import tls_names
from imagesmith.identity import certificates
from imagesmith.model import ClusterNetwork, K3s, Network, Part, Registry, RegistryLogin, Upkeep
from imagesmith.secret import Secret, SecretRef

CONFIG = "/etc/rancher/k3s/config.yaml"
CRITICAL = ("agent-token", "cluster-cidr", "service-cidr", "cluster-dns", "disable", "secrets-encryption", "tls-san")
SERVER_TOKEN, AGENT_TOKEN = "5e7c" * 16, "a9e4" * 16


def config(part: Part) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(written(files(edits(part))[CONFIG]))
    return found


def conf(part: Part) -> dict[str, str]:
    text = written(files(edits(part))["/etc/imagesmith/cluster.conf"])
    return dict(re.findall(r"(?m)^([A-Z_]+)='(.*)'$", text))


def test_a_server_has_both_tokens_with_the_clusters_hash() -> None:
    found = config(part())
    assert found["token"] == f"K10{sealed().ca_hash}::server:{SERVER_TOKEN}"
    assert found["agent-token"] == f"K10{sealed().ca_hash}::node:{AGENT_TOKEN}"


def test_an_agent_has_the_agents_token_alone() -> None:
    text = written(files(edits(part("arm-1")))[CONFIG])
    assert yaml.safe_load(text)["token"] == f"K10{sealed().ca_hash}::node:{AGENT_TOKEN}"
    assert SERVER_TOKEN not in text
    assert "agent-token" not in text


@pytest.mark.parametrize("name", ["head", "arm-1"])
def test_the_file_is_roots_alone(name: str) -> None:
    assert files(edits(part(name)))[CONFIG].mode == 0o600


def test_the_servers_agree_on_what_k3s_wants_them_to_agree_on() -> None:
    network = ClusterNetwork("10.52.0.0/16", "10.53.0.0/16", vip="192.168.7.9")
    cluster = replace(HA, network=network, k3s=K3s(datastore="etcd", secrets_encryption=True, disable=("servicelb",)))
    first, second, third = (config(part(f"head-{n}", cluster)) for n in (1, 2, 3))
    assert {key: first[key] for key in CRITICAL} == {key: second[key] for key in CRITICAL}
    differing = {"node-name", "node-ip", "advertise-address"}
    shared = [{key: value for key, value in one.items() if key not in differing} for one in (first, second, third)]
    assert shared[0] == shared[1] == shared[2]


def test_networks_are_the_inventorys_with_the_tenth_address_for_names() -> None:
    found = config(part(network=ClusterNetwork("10.52.0.0/16", "10.53.0.0/16")))
    assert (found["cluster-cidr"], found["service-cidr"]) == ("10.52.0.0/16", "10.53.0.0/16")
    assert found["cluster-dns"] == "10.53.0.10"


def test_a_server_with_an_address_says_so() -> None:
    found = config(part())
    assert (found["node-ip"], found["advertise-address"]) == ("192.168.7.10", "192.168.7.10")
    assert found["node-name"] == "head"


def test_a_reserved_address_is_a_nodes_own() -> None:
    node = replace(RACK.nodes[0], network=Network(mac="52:54:00:12:34:56", reserved="192.168.7.77"))
    found = part(cluster=replace(RACK, nodes=(node, *RACK.nodes[1:])))
    assert config(found)["node-ip"] == "192.168.7.77"
    assert conf(found)["CLUSTER_ADDRESS"] == "192.168.7.77"


def test_a_node_by_its_name_alone_names_no_address() -> None:
    node = replace(RACK.nodes[0], network=Network(resolvable=True))
    found = part(cluster=replace(RACK, nodes=(node, *RACK.nodes[1:])))
    assert not {"node-ip", "advertise-address"} & config(found).keys()
    assert conf(part("arm-1", replace(RACK, nodes=(node, *RACK.nodes[1:]))))["CLUSTER_SERVERS"] == (
        "https://head.rack.example:6443"
    )


def test_a_servers_certificate_is_for_all_its_names() -> None:
    assert config(part())["tls-san"] == list(tls_names(part()))


def test_labels_and_taints_are_said_as_k3s_takes_them() -> None:
    node = replace(RACK.nodes[1], labels={"disk": "ssd"}, taints=("gpu=yes:NoSchedule",))
    found = config(part("arm-1", replace(RACK, nodes=(RACK.nodes[0], node, RACK.nodes[2]))))
    assert (found["node-label"], found["node-taint"]) == (["disk=ssd"], ["gpu=yes:NoSchedule"])


def test_only_etcd_has_snapshots() -> None:
    assert "etcd-snapshot-retention" in config(part("head-1", HA))
    assert not [key for key in config(part()) if key.startswith("etcd")]


def test_no_image_says_who_founds_or_whom_to_join() -> None:
    for name in ("head-1", "head-2", "arm-1"):
        assert not {"server", "cluster-init"} & config(part(name, HA)).keys()


def test_the_interface_is_flannels() -> None:
    assert config(part("arm-1", network=ClusterNetwork(interface="eth1")))["flannel-iface"] == "eth1"


@pytest.mark.parametrize(("name", "interface"), [("arm-1", "end0"), ("arm-2", "eth1")])
def test_a_nodes_own_interface_goes_before_the_clusters(name: str, interface: str) -> None:
    nodes = tuple(replace(one, interface="end0" if one.name == "arm-1" else "") for one in RACK.nodes)
    one = part(name, nodes=nodes, network=ClusterNetwork(interface="eth1"))
    assert config(one)["flannel-iface"] == interface
    assert conf(one)["CLUSTER_INTERFACE"] == interface


def test_the_operators_file_on_a_server_is_roots_alone() -> None:
    assert config(part())["write-kubeconfig-mode"] == "0600"


# -- cluster.conf -------------------------------------------------------------------------------------------


def test_a_node_knows_every_server_but_itself() -> None:
    assert conf(part("head-2", HA))["CLUSTER_SERVERS"] == "https://192.168.7.1:6443 https://192.168.7.3:6443"
    agent = "https://192.168.7.1:6443 https://192.168.7.2:6443 https://192.168.7.3:6443"
    assert conf(part("arm-1", HA))["CLUSTER_SERVERS"] == agent


def test_the_vip_is_not_what_nodes_join_by() -> None:
    found = conf(part("arm-1", HA, network=ClusterNetwork(vip="192.168.7.9")))
    assert "192.168.7.9" not in found["CLUSTER_SERVERS"]
    assert found["CLUSTER_VIP"] == "192.168.7.9"


def test_an_address_of_version_6_stands_in_brackets() -> None:
    node = replace(RACK.nodes[0], network=Network("fd00::10/64"))
    assert conf(part("arm-1", replace(RACK, nodes=(node, *RACK.nodes[1:]))))["CLUSTER_SERVERS"] == (
        "https://[fd00::10]:6443"
    )


def test_a_node_knows_when_the_clusters_certificates_begin() -> None:
    chain = certificates.read(sealed().bundles["server-ca.crt"])
    begin = datetime.fromtimestamp(int(conf(part())["CLUSTER_NOT_BEFORE"])).astimezone()
    assert all(certificate.not_valid_before_utc <= begin for certificate in chain)
    assert any(certificate.not_valid_before_utc == begin for certificate in chain)


def test_what_a_shell_reads_of_cluster_conf_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "cluster.conf"
    path.write_text(written(files(edits(part("head-2", HA)))["/etc/imagesmith/cluster.conf"]))
    said = subprocess.run(
        ["sh", "-c", f'. {path}; echo "$CLUSTER_DUTY $CLUSTER_CA_HASH"'], capture_output=True, check=True
    )
    assert said.stdout.decode() == f"server {sealed().ca_hash}\n"


# -- registries ---------------------------------------------------------------------------------------------


def read(*given: Registry, secret: bytes = b"word") -> Any:
    from imagesmith.formats.credentials import revealed

    return yaml.safe_load(revealed(registries(given), lambda ref: Secret(secret)).reveal())


def test_a_mirror_is_asked_before_a_registry() -> None:
    found = read(Registry("docker.io", ("https://nas:5000", "http://old:5000")), Registry("*", ("https://nas:5000",)))
    assert found == {
        "mirrors": {
            "docker.io": {"endpoint": ["https://nas:5000", "http://old:5000"]},
            "*": {"endpoint": ["https://nas:5000"]},
        }
    }


@pytest.mark.parametrize("secret", ["plain", ' a "quoted": #word\\', "é'"])
def test_a_login_is_that_of_the_machine_which_is_asked(secret: str) -> None:
    login = RegistryLogin("ann", SecretRef("file:nas.password"))
    found = read(Registry("docker.io", ("https://nas:5000/v2",), login, "nas.crt"), secret=secret.encode())
    assert found["configs"] == {
        "nas:5000": {
            "auth": {"username": "ann", "password": secret},
            "tls": {"ca_file": "/etc/rancher/k3s/registries/docker.io.crt"},
        }
    }


def test_a_registry_without_a_mirror_is_reached_by_its_own_name() -> None:
    registry = Registry("nas:5000", login=RegistryLogin("ann", SecretRef("file:nas.password")))
    assert read(registry)["configs"].keys() == {"nas:5000"}


def test_two_registries_on_one_machine_are_one_entry() -> None:
    found = read(
        Registry("a.io", ("https://nas:5000",), ca_file="x"), Registry("b.io", ("https://nas:5000",), None, "x")
    )
    assert list(found["configs"]) == ["nas:5000"]


def test_the_certificate_of_all_registries_has_a_name_for_a_file() -> None:
    assert registry_ca(Registry("*")) == "/etc/rancher/k3s/registries/all.crt"
    assert registry_ca(Registry("nas:5000")) == "/etc/rancher/k3s/registries/nas-5000.crt"


def test_registries_are_roots_alone_on_every_node() -> None:
    login = RegistryLogin("ann", SecretRef("file:nas.password"))
    for name in ("head", "arm-1"):
        put = files(edits(part(name, k3s=K3s(registries=(Registry("nas:5000", login=login),)))))
        assert put["/etc/rancher/k3s/registries.yaml"].mode == 0o600
    assert "/etc/rancher/k3s/registries.yaml" not in files(edits(part()))


# -- the rest -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "unit"), [("head", "k3s"), ("arm-1", "k3s-agent")])
def test_a_proxy_is_gone_past_within_the_cluster(name: str, unit: str) -> None:
    put = files(edits(part(name, upkeep=Upkeep(proxy="http://proxy:3128"))))[f"/etc/systemd/system/{unit}.service.env"]
    found = dict(line.split("=", 1) for line in written(put).splitlines())
    assert put.mode == 0o600
    assert found["HTTPS_PROXY"] == '"http://proxy:3128"'
    past = found["NO_PROXY"].strip('"').split(",")
    assert {"10.42.0.0/16", "10.43.0.0/16", "192.168.7.0/24", ".svc", ".rack.example", "head", "127.0.0.0/8"} <= set(
        past
    )


def test_without_a_proxy_there_is_no_environment() -> None:
    assert not [path for path in files(edits(part())) if path.endswith(".env")]


def test_the_kubelet_waits_for_pods_no_longer_than_logind_does() -> None:
    told = yaml.safe_load(kubelet())
    assert told["kind"] == "KubeletConfiguration"
    login = written(files(edits(part()))["/etc/systemd/logind.conf.d/zz-imagesmith-k3s.conf"])
    assert told["shutdownGracePeriod"] == f"{login.split('InhibitDelayMaxSec=')[1].strip()}s"
    assert int(told["shutdownGracePeriodCriticalPods"][:-1]) < int(told["shutdownGracePeriod"][:-1])


# -- by the stand-in for k3s, which refuses what k3s does not know ------------------------------------------


@pytest.mark.parametrize(("name", "command"), [("head-1", "server"), ("head-2", "server"), ("arm-1", "agent")])
def test_the_stand_in_for_k3s_takes_the_whole_of_it(name: str, command: str, tmp_path: Path) -> None:
    network = ClusterNetwork(vip="192.168.7.9", interface="eth1")
    k3s = K3s(datastore="etcd", secrets_encryption=True, disable=("traefik", "servicelb"))
    text = written(files(edits(part(name, HA, network=network, k3s=k3s)))[CONFIG])
    path = tmp_path / "config.yaml"
    path.write_text(text)
    taken = load(command, ["--config", str(path)]).values
    assert taken.keys() == yaml.safe_load(text).keys()
    assert taken["node-name"] == name


def test_a_parser_that_knows_little_of_yaml_reads_the_same() -> None:
    texts = [written(put) for path, put in files(edits(part("head-1", HA))).items() if path == CONFIG]
    assert yamlish.mapping(texts[0], "config", subset=True) == yaml.load(texts[0], Loader=yaml.BaseLoader)
