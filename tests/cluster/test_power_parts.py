"""A UPS on nodes: who gets which of NUT's files, with which modes and secrets; roles for draining; nothing unasked."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from cluster import node_parts
from cluster.power_parts import POWER, RACK, RIELLO, modes, part, put
from cluster.sealed_parts import edits

from imagesmith.cluster import contents, draining, firewall, nut, power
from imagesmith.model import Link, Network, UpsDriver

NODES = ["head", "tail", "arm-1", "arm-2"]
DRAINING = replace(POWER, drain_s=60)


@pytest.mark.parametrize("node", NODES)
def test_without_a_ups_nothing_of_it_is_in_an_image(node: str) -> None:
    told = [path for path in put(node, None) if "nut" in path or "ups" in path or "drain" in path]
    assert (told, power.packages(part(node, None)), power.promises(part(node, None))) == ([], (), ())


def test_without_a_vault_nobody_has_a_password() -> None:
    bare = node_parts.part("head", replace(RACK, nodes=node_parts.RACK.nodes), power=POWER)
    assert power.edits(bare, node_parts.PROFILE, node_parts.MATERIALS) == ()


def test_the_primary_alone_has_the_driver_and_the_server() -> None:
    server = {"/etc/nut/ups.conf", "/etc/nut/upsd.conf", "/etc/nut/upsd.users"}
    assert [node for node in NODES if server & put(node).keys()] == ["head"]
    assert put("head").keys() >= server


@pytest.mark.parametrize(
    ("node", "packages"),
    [("head", ("nut-client", "nut-server")), ("tail", ("nut-client",)), ("arm-1", ("nut-client",))],
)
def test_packages_go_by_the_role(node: str, packages: tuple[str, ...]) -> None:
    assert power.packages(part(node)) == packages


def test_a_driver_of_another_package_brings_it() -> None:
    snmp = replace(POWER, ups=replace(POWER.ups, driver=UpsDriver("snmp-ups", package="nut-snmp")))
    assert power.packages(part("head", snmp)) == ("nut-client", "nut-server", "nut-snmp")


@pytest.mark.parametrize("node", NODES)
def test_files_with_a_password_are_roots_alone_until_the_group_is_there(node: str) -> None:
    assert {mode for path, mode in modes(node).items() if path.startswith("/etc/nut/")} == {0o600}


def test_a_secondary_has_the_secondaries_password_alone() -> None:
    texts = "".join(put("arm-1").values())
    assert "s2s2" in texts and "p1p1" not in texts


def test_everybody_asks_the_primary_and_itself_over_loopback() -> None:
    monitors = {node: put(node)["/etc/nut/upsmon.conf"].split()[1] for node in NODES}
    assert monitors == {"head": "ups@localhost", **dict.fromkeys(NODES[1:], "ups@192.168.7.10")}


def test_an_address_of_ipv6_is_written_in_brackets() -> None:
    nodes = tuple(replace(one, network=Network("fd00::10/64")) if one.name == "head" else one for one in RACK.nodes)
    assert nut.asked(part("arm-1", nodes=nodes), POWER) == "ups@[fd00::10]"


def test_a_primary_known_by_its_name_alone_answers_on_every_address() -> None:
    nodes = tuple(replace(one, network=Network(resolvable=True)) if one.name == "head" else one for one in RACK.nodes)
    assert nut.upsd_conf(part("head", nodes=nodes)) == b"LISTEN 0.0.0.0 3493\n"


def test_the_primary_listens_on_its_own_addresses_only() -> None:
    assert put()["/etc/nut/upsd.conf"] == "LISTEN 127.0.0.1 3493\nLISTEN 192.168.7.10 3493\n"


def test_only_the_primary_switches_the_ups_off() -> None:
    assert [node for node in NODES if "POWERDOWNFLAG" in put(node)["/etc/nut/upsmon.conf"]] == ["head"]


def test_the_primary_waits_as_long_as_the_slowest_of_the_others_needs() -> None:
    slow = replace(POWER, stop_s={**POWER.stop_s, "servers": 150})
    assert "HOSTSYNC 165\n" in put("head", slow)["/etc/nut/upsmon.conf"]


@pytest.mark.parametrize(
    ("node", "stage", "after"), [("head", "primary", 480), ("tail", "servers", 300), ("arm-1", "workers", 120)]
)
def test_every_node_goes_by_its_own_stage(node: str, stage: str, after: int) -> None:
    told = put(node)["/etc/imagesmith/power.conf"]
    assert f"STAGE='{stage}'\nAFTER_S='{after}'\n" in told


def test_a_worker_with_the_cable_is_the_primary_all_the_same() -> None:
    there = replace(POWER, primary="arm-1")
    assert "STAGE='primary'" in put("arm-1", there)["/etc/imagesmith/power.conf"]
    assert "STAGE='servers'" in put("head", there)["/etc/imagesmith/power.conf"]


def test_the_usb_id_of_the_inventory_comes_before_the_drivers() -> None:
    rule = put("head", replace(POWER, ups=replace(POWER.ups, usb="1234:abcd")))
    assert 'ATTR{idVendor}=="1234", ATTR{idProduct}=="abcd"' in rule["/etc/udev/rules.d/62-imagesmith-ups.rules"]


def test_a_driver_without_usb_needs_no_rule() -> None:
    serial = replace(POWER, ups=replace(POWER.ups, driver=UpsDriver("riello_ser")))
    assert "/etc/udev/rules.d/62-imagesmith-ups.rules" not in put("head", serial)


@pytest.mark.parametrize("node", NODES)
def test_units_are_enabled_by_links(node: str) -> None:
    links = {edit.path.rpartition("/")[2] for edit in edits(part(node)) if isinstance(edit, Link)}
    wanted = {"imagesmith-ups.service", "imagesmith-k3s-end.service", "nut-monitor.service"}
    assert links >= wanted
    assert ("nut-driver@ups.service" in links) == (node == "head")


@pytest.mark.parametrize("node", NODES)
def test_the_primarys_firewall_lets_the_nodes_ask(node: str) -> None:
    opened = [one for one in firewall.openings(part(node)) if one.ports == "3493"]
    assert [one.source for one in opened] == (["nodes"] if node == "head" else [])


def test_a_node_on_another_socket_hears_nothing_of_the_ups() -> None:
    apart = replace(POWER, without=("arm-2",), workers=("arm-1",), drain_s=60)
    told = [path for path in put("arm-2", apart) if "nut" in path or "ups" in path or "drain" in path]
    assert (told, power.packages(part("arm-2", apart)), power.promises(part("arm-2", apart))) == ([], (), ())
    assert power.packages(part("arm-1", apart)) == ("nut-client",)


def test_a_server_on_another_socket_still_lets_workers_drain() -> None:
    apart = put("tail", replace(DRAINING, without=("tail",)))
    assert draining.MANIFEST in apart
    assert not [path for path in apart if "nut" in path or "ups" in path]


# -- draining -----------------------------------------------------------------------------------------------


def test_who_does_not_drain_has_no_certificate() -> None:
    assert not any("drain" in path for node in NODES for path in put(node))


def test_a_worker_has_its_own_certificate_and_no_other() -> None:
    files = put("arm-1", DRAINING)
    assert files[draining.KEY] == "KEY of arm-1"
    assert files[draining.CERTIFICATE] == "CERTIFICATE nodes/arm-1/drain-certificate\n"
    assert modes("arm-1", DRAINING)[draining.KEY] == 0o600
    assert "arm-2" not in "".join(files.values())


def test_its_kubeconfig_names_files_and_holds_no_key() -> None:
    told = json.loads(put("arm-1", DRAINING)[draining.KUBECONFIG])
    assert told["users"][0]["user"] == {"client-certificate": draining.CERTIFICATE, "client-key": draining.KEY}
    assert told["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6444"


def test_servers_have_the_roles_and_workers_have_not() -> None:
    assert [node for node in NODES if draining.MANIFEST in put(node, DRAINING)] == ["head", "tail"]


def test_the_vault_keeps_a_certificate_for_each_worker() -> None:
    names = contents.secrets(replace(RACK, power=DRAINING))
    assert [name for name in names if "drain" in name] == [
        "nodes/arm-1/drain-certificate",
        "nodes/arm-2/drain-certificate",
    ]


def manifest() -> list[dict[str, object]]:
    told = draining.manifest(replace(RACK, power=DRAINING)).decode()
    return [json.loads(line) for line in told.splitlines() if line.startswith("{")]


def test_kubernetes_takes_the_roles() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    for one in manifest():
        validate.validate(one, "1.37", strict=True)


def test_a_node_may_change_itself_alone() -> None:
    rules = [(one["metadata"], one["rules"]) for one in manifest() if one["kind"] == "ClusterRole"]
    assert rules[1:] == [
        (
            {"name": f"imagesmith:drain:{node}"},
            [{"apiGroups": [""], "resources": ["nodes"], "resourceNames": [node], "verbs": ["get", "patch"]}],
        )
        for node in ("arm-1", "arm-2")
    ]


def test_beyond_itself_it_may_list_pods_and_ask_for_their_eviction() -> None:
    everybody = next(one for one in manifest() if one["metadata"] == {"name": "imagesmith:drain"})
    assert everybody["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
    ]


def test_a_riello_ups_is_found_by_its_driver() -> None:
    assert put()["/etc/nut/ups.conf"] == f"maxretry = 3\n\n[ups]\n  driver = {RIELLO.name}\n  port = auto\n"
