"""kube-vip's manifest: whole, valid by Kubernetes' own schemas, on servers only and where an address is wanted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from cluster.node_parts import BOARD, MATERIALS, RACK
from cluster.sealed_parts import HA, edits, files, part, written

from imagesmith.cluster import vip
from imagesmith.cluster.parts import cautions
from imagesmith.errors import DocumentInvalid
from imagesmith.model import ClusterNetwork, Materials

NETWORK = ClusterNetwork(vip="192.168.7.9", interface="eth1")


def manifest(network: ClusterNetwork = NETWORK) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(written(files(edits(part("head-2", HA, network=network)))[vip.MANIFEST])))


def pod(network: ClusterNetwork = NETWORK) -> dict[str, Any]:
    found: dict[str, Any] = manifest(network)[3]["spec"]["template"]["spec"]
    return found


def environment(network: ClusterNetwork = NETWORK) -> dict[str, Any]:
    return {one["name"]: one.get("value") for one in pod(network)["containers"][0]["env"]}


@pytest.mark.parametrize(("name", "there"), [("head-1", True), ("head-3", True), ("arm-1", False)])
def test_every_server_has_it_and_no_agent(name: str, there: bool) -> None:
    assert (vip.MANIFEST in files(edits(part(name, HA, network=NETWORK)))) is there


def test_without_an_address_there_is_none() -> None:
    assert vip.MANIFEST not in files(edits(part("head-1", HA)))


def test_k3s_takes_the_name_of_the_file() -> None:
    name = vip.MANIFEST.rpartition("/")[2].removesuffix(".yaml")
    assert vip.MANIFEST.startswith("/var/lib/rancher/k3s/server/manifests/")
    assert name.replace("-", "").isalnum() and name == name.lower()


def test_kubernetes_own_schemas_find_nothing_wrong() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    for document in manifest():
        validate.validate(document, "1.36", strict=True)


def test_it_holds_the_control_planes_address_and_does_nothing_else() -> None:
    told = environment()
    assert (told["address"], told["vip_interface"], told["vip_subnet"]) == ("192.168.7.9", "eth1", "32")
    assert (told["cp_enable"], told["vip_arp"], told["vip_leaderelection"]) == ("true", "true", "true")
    assert told["svc_enable"] == "false"


@pytest.mark.parametrize(
    ("own", "told"),
    [
        (("", "", ""), "eth1"),
        (("eth1", "", "eth1"), "eth1"),
        (("end0", "end0", "end0"), "end0"),
        (("end0", "", ""), ""),
        (("end0", "enp1s0", "end0"), ""),
    ],
)
def test_all_servers_tell_it_the_same_interface_or_it_finds_its_own(own: tuple[str, ...], told: str) -> None:
    heads = tuple(replace(one, interface=name) for one, name in zip(HA.nodes[:3], own, strict=True))
    parts = [part(one.name, HA, nodes=(*heads, *HA.nodes[3:]), network=NETWORK) for one in heads]
    (made,) = {vip.manifest(one, MATERIALS) for one in parts}
    assert f'value: "{told}"' in made.decode().partition("vip_interface")[2].splitlines()[1]
    minded = [any("different interfaces" in line for line in cautions(one, BOARD)) for one in parts]
    assert minded == [told == ""] * 3


def test_it_runs_on_servers_alone_in_their_own_network() -> None:
    terms = pod()["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"][0]["key"] == "node-role.kubernetes.io/control-plane"
    assert pod()["hostNetwork"] is True


def test_its_account_reads_no_secret() -> None:
    assert not [rule for rule in manifest()[1]["rules"] if {"secrets", "*"} & set(rule["resources"])]


def test_an_address_of_version_6_is_one_address_too() -> None:
    assert environment(ClusterNetwork(vip="fd00::9"))["vip_subnet"] == "128"


def test_nothing_is_left_to_be_filled_in() -> None:
    assert "@" not in written(files(edits(part("head-1", HA, network=NETWORK)))[vip.MANIFEST])


def test_image_and_version_are_those_of_the_shipped_file() -> None:
    told = yaml.safe_load(MATERIALS.files[vip.RELEASE])
    assert pod()["containers"][0]["image"] == f"{told['image']}:{told['version']}"


@pytest.mark.parametrize("line", ['image: "x y/z"', "version: 'v1\"'", "other: 1"])
def test_a_file_that_names_no_image_is_refused_with_its_line(line: str) -> None:
    kept = "schema: 1\nimage: a.example/b/c\nversion: v1\n"
    key = line.partition(":")[0]
    text = "".join(one + "\n" for one in kept.splitlines() if not one.startswith(f"{key}:")) + line + "\n"
    broken = Materials({**MATERIALS.files, vip.RELEASE: text.encode()})
    with pytest.raises(DocumentInvalid) as caught:
        vip.manifest(part("head-1", replace(RACK, nodes=HA.nodes), network=NETWORK), broken)
    assert [problem.file for problem in caught.value.problems] == [vip.RELEASE]
