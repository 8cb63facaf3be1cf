"""What a member of a ZeroTier network has in its image, and k3s where it goes over that network."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from cluster.node_parts import MATERIALS, PROFILE, RACK
from cluster.sealed_parts import PASSWORDS, edits, files, written
from cluster.vpn_parts import CLUSTER, IDENTITY, MEMBERS, NETWORK, SECRETS, member
from identity.published_zerotier import GOOD

from imagesmith.cluster import contents, firewall, zerotier
from imagesmith.cluster.parts import tls_names
from imagesmith.model import Part

HOME = "/var/lib/zerotier-one"
INTERFACE = "ztmjfmfyq5"


def text(part: Part, path: str) -> str:
    return written(files(edits(part))[path], {**PASSWORDS, **SECRETS})


def test_its_identity_is_there_and_nobody_else_reads_its_secret_half() -> None:
    found = files(edits(member()))
    assert text(member(), f"{HOME}/identity.secret") == GOOD
    assert found[f"{HOME}/identity.secret"].mode == 0o600
    assert text(member(), f"{HOME}/identity.public") == IDENTITY


def test_it_joins_by_an_empty_file() -> None:
    assert text(member(), f"{HOME}/networks.d/{NETWORK}.conf") == ""


@pytest.mark.parametrize(
    ("routes", "allowed"),
    [(("managed",), {"allowManaged"}), (("managed", "default", "dns"), {"allowManaged", "allowDefault", "allowDNS"})],
)
def test_it_takes_of_its_network_what_the_inventory_allows(routes: tuple[str, ...], allowed: set[str]) -> None:
    lines = text(member(routes=routes), f"{HOME}/networks.d/{NETWORK}.local.conf").split()
    assert {line.removesuffix("=1") for line in lines if line.endswith("=1")} == allowed
    assert len(lines) == 4


def test_a_default_route_by_it_is_not_held_for_a_forgery() -> None:
    assert "rp_filter = 2" in text(member(routes=("managed", "default")), zerotier.SYSCTL)
    assert zerotier.SYSCTL not in files(edits(member()))


def test_it_is_kept_off_the_interfaces_and_networks_of_k3s() -> None:
    local = json.loads(text(member(), f"{HOME}/local.conf"))
    assert {"flannel", "cni", "veth", "zt"} <= set(local["settings"]["interfacePrefixBlacklist"])
    assert local["physical"] == {"10.42.0.0/16": {"blacklist": True}, "10.43.0.0/16": {"blacklist": True}}


def test_the_step_that_starts_it_is_promised() -> None:
    assert f"/usr/lib/imagesmith/steps/{zerotier.STEP}" in files(edits(member()))
    assert "step.74-zerotier" in {promise.fact for promise in contents.promises(member())}


def test_its_package_is_asked_for_by_members_alone() -> None:
    assert "zerotier-one" in contents.packages(member())
    assert "zerotier-one" not in contents.packages(member("arm-2"))


def test_a_node_that_stays_out_has_nothing_of_it() -> None:
    without = replace(member("arm-2"), cluster=RACK)
    assert contents.edits(member("arm-2"), PROFILE, MATERIALS) == contents.edits(without, PROFILE, MATERIALS)


def test_without_a_vault_no_identity_is_made_up() -> None:
    alone = replace(member(), sealed=None)
    assert not [path for path in files(edits(alone)) if "zerotier" in path]


def test_the_vault_is_to_have_every_member_s_identity() -> None:
    assert contents.secrets(CLUSTER) == tuple(f"nodes/{name}/zerotier-identity" for name in MEMBERS)


# -- who may come in ------------------------------------------------------------------------------


def opened(part: Part) -> set[tuple[str, str]]:
    return {(one.protocol, one.ports) for one in firewall.openings(part)}


def test_zerotiers_port_is_open_on_members_alone() -> None:
    assert ("udp", "9993") in opened(member())
    assert ("udp", "9993") not in opened(member("arm-2"))


def test_ssh_and_the_api_are_reached_over_it_and_what_is_between_nodes_is_not() -> None:
    rules = firewall.ruleset(member())
    assert 'tcp dport 22 accept comment "SSH"' in rules and "tcp dport 6443 accept" in rules
    assert INTERFACE not in rules


def test_nodes_that_speak_over_it_are_known_by_their_addresses_there() -> None:
    rules = firewall.ruleset(member(k3s=True))
    assert f'iifname "{INTERFACE}" ip saddr {{ 10.147.17.10, 10.147.17.11 }} jump nodes' in rules.replace("/32", "")


# -- k3s ------------------------------------------------------------------------------------------


def test_the_servers_certificates_are_for_their_addresses_there_in_any_case() -> None:
    assert "10.147.17.10" in tls_names(member("arm-1"))


def test_k3s_stays_on_the_nodes_own_network_unless_it_is_to_go_over_it() -> None:
    config = text(member("arm-1"), "/etc/rancher/k3s/config.yaml")
    assert 'node-ip: "192.168.7.21"' in config and "flannel-iface" not in config


def test_k3s_over_it_has_its_address_its_interface_and_its_server_there() -> None:
    agent = member("arm-1", k3s=True)
    config = text(agent, "/etc/rancher/k3s/config.yaml")
    assert 'node-ip: "10.147.17.11"' in config and f'flannel-iface: "{INTERFACE}"' in config
    conf = text(agent, "/etc/imagesmith/cluster.conf")
    assert "CLUSTER_SERVERS='https://10.147.17.10:6443'" in conf
    assert "CLUSTER_ADDRESS='10.147.17.11'" in conf and f"CLUSTER_INTERFACE='{INTERFACE}'" in conf


def test_a_server_over_it_tells_the_others_its_address_there() -> None:
    config = text(member(k3s=True), "/etc/rancher/k3s/config.yaml")
    assert 'advertise-address: "10.147.17.10"' in config and '"10.147.17.10"' in config.partition("tls-san")[2]


@pytest.mark.parametrize(("node", "unit"), [("head", "k3s"), ("arm-1", "k3s-agent")])
def test_k3s_over_it_starts_after_it(node: str, unit: str) -> None:
    path = f"/etc/systemd/system/{unit}.service.d/20-zerotier.conf"
    assert "After=zerotier-one.service" in text(member(node, k3s=True), path)
    assert path not in files(edits(member(node)))
