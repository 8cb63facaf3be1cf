"""Who founds, who joins, by which names servers are reached, and what is to be minded on which board."""

from __future__ import annotations

from dataclasses import replace

import pytest
from inventories import ONE, PROFILES, RACK, changed, load

from imagesmith.cluster.parts import cautions, part_of, reached_at, tls_names
from imagesmith.model import Cluster, Network, Node, Part, SealedCluster
from imagesmith.secret import SecretRef

_REF = SecretRef("vault:x")
SEALED = SealedCluster("0" * 64, {}, {}, _REF, _REF, {})
FOUNDED = replace(SEALED, founded="2026-11-23T11:44:00Z")


def part(text: str, name: str, sealed: SealedCluster | None = SEALED) -> Part:
    cluster: Cluster = load(text)
    node = cluster.node(name)
    assert node
    roles = {one.name: one.role or PROFILES[one.profile].role for one in cluster.nodes}
    return part_of(cluster, node, roles, sealed)


@pytest.mark.parametrize(("name", "duty"), [("a", "founder"), ("b", "server"), ("c", "server"), ("d", "agent")])
def test_the_first_server_founds_and_the_others_join(name: str, duty: str) -> None:
    found = part(RACK, name)
    assert found.duty == duty
    assert [server.name for server in found.servers] == ["a", "b", "c"]


@pytest.mark.parametrize(("founder", "duties"), [("a", "fss"), ("b", "sfs"), ("", "fss"), ("d", "fss"), ("x", "fss")])
def test_who_was_built_to_found_does_while_it_is_a_server(founder: str, duties: str) -> None:
    known = replace(SEALED, founder=founder)
    assert [part(RACK, name, known).duty[0] for name in "abc"] == list(duties)
    assert part(RACK, "d", known).duty == "agent"


def test_once_founded_nobody_founds_again_in_whatever_order() -> None:
    known = replace(FOUNDED, founder="b")
    assert [part(RACK, name, known).duty for name in "abc"] == ["server"] * 3


def test_once_founded_a_first_server_that_is_built_anew_joins() -> None:
    assert part(RACK, "a", replace(SEALED, founded="2026-10-06T12:00:00Z")).duty == "server"


def test_a_lone_server_has_nobody_to_join() -> None:
    assert part(ONE, "a", replace(SEALED, founded="2026-10-06T12:00:00Z")).duty == "founder"


@pytest.mark.parametrize(
    ("network", "domain", "reached"),
    [
        (Network("192.168.1.10/24"), "home.arpa", "192.168.1.10"),
        (Network(mac="dc:a6:32:01:02:03", reserved="192.168.1.11"), "home.arpa", "192.168.1.11"),
        (Network("192.168.1.10/24", resolvable=True), "home.arpa", "192.168.1.10"),
        (Network(resolvable=True), "home.arpa", "n.home.arpa"),
        (Network(resolvable=True), "", "n"),
    ],
)
def test_a_node_is_reached_by_what_is_surest(network: Network, domain: str, reached: str) -> None:
    assert reached_at(Node("n", "p", network=network), domain) == reached


def test_every_server_has_all_names_in_the_same_order() -> None:
    text = changed(RACK, ("vip: 192.168.1.9", "vip: 192.168.1.9\n  names: [rack.example.org, a, 203.0.113.5]"))
    names = (
        *("a", "a.home.arpa", "192.168.1.10"),
        *("b", "b.home.arpa", "192.168.1.11"),
        *("c", "c.home.arpa"),
        *("192.168.1.9", "rack.example.org", "203.0.113.5"),
    )
    assert [tls_names(part(text, name)) for name in "abcd"] == [names] * 4


def test_without_domain_and_vip_a_server_has_its_name_and_address() -> None:
    assert tls_names(part(ONE, "a")) == ("a", "192.168.1.10")


def boards_cautions(found: Part) -> tuple[str, ...]:
    return cautions(found, PROFILES[found.node.profile].board)


@pytest.mark.parametrize(("name", "warned"), [("a", False), ("b", False), ("c", True), ("d", False)])
def test_etcd_on_a_card_is_to_be_minded(name: str, warned: bool) -> None:
    told = boards_cautions(part(RACK, name))
    assert any("etcd on an SD card" in one and "A Pi" in one for one in told) == warned
    assert len(told) == warned


def test_sqlite_on_a_card_is_not() -> None:
    lone = changed(ONE, ("profile: pc-server", "profile: pi-worker\n    role: server"))
    assert boards_cautions(part(lone, "a")) == ()
    etcd = changed(lone, ("channel: stable", "datastore: etcd"))
    assert len(boards_cautions(part(etcd, "a"))) == 1


def test_a_plan_without_secrets_says_that_it_has_no_k3s() -> None:
    (told,) = boards_cautions(part(ONE, "d", None))
    assert "nothing of k3s is in this plan" in told


def test_an_image_that_founds_a_founded_cluster_anew_says_so() -> None:
    (told,) = boards_cautions(part(ONE, "a", FOUNDED))
    assert "anew, with nothing in it" in told and "2026-11-23T11:44:00Z" in told
    assert boards_cautions(part(ONE, "a", SEALED)) == ()
    assert boards_cautions(part(RACK, "a", FOUNDED)) == ()


@pytest.mark.parametrize(
    ("said", "minded"),
    [("airgap: true", True), ("airgap: true\n  registries: {ghcr.io: {endpoints: ['https://nas:5000']}}", False)],
)
def test_a_vip_whose_image_nobody_brings_is_to_be_minded(said: str, minded: bool) -> None:
    text = changed(RACK, ("version: v1.36.3+k3s1", f"version: v1.36.3+k3s1\n  {said}"))
    assert any("kube-vip" in one for one in boards_cautions(part(text, "a"))) == minded
    assert boards_cautions(part(text, "d")) == ()
