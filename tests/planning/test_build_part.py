"""A plan of a node with a part in a cluster: what its family does and what the cluster adds go together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cluster.node_parts import RACK
from cluster.node_parts import part as part_in
from families.test_families import MATERIALS, NODE, profile

from imagesmith.families import FAMILIES
from imagesmith.model import BuildPlan, Link, Part, PutFile, SshAccess, Upkeep
from imagesmith.planning.build import plan_build

DROPBEAR = SshAccess("dropbear", 2200)
FULL = {
    "ssh": SshAccess("both", 2200, 2222),
    "upkeep": Upkeep("security", mirrors={"debian": "http://mirror.example/debian"}, proxy="http://proxy.example:3128"),
}


def plan(part: Part | None, family: str = "debian") -> BuildPlan:
    chosen = profile(family)
    node = replace(part.node, disk=NODE.disk) if part else NODE
    return plan_build(chosen, node, chosen.board.bases[0], MATERIALS, part=part)


def promised(made: BuildPlan) -> dict[str, str]:
    return {promise.fact: promise.value for promise in made.promises}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["head", "arm-1"])
def test_no_file_is_written_twice(family: str, name: str) -> None:
    edits = plan(part_in(name, RACK, **FULL), family).edits
    paths = [(edit.partition, edit.path) for edit in edits if isinstance(edit, PutFile | Link)]
    assert sorted(paths) == sorted(set(paths))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_node_that_dropbear_alone_lets_in_promises_no_openssh(family: str) -> None:
    facts = promised(plan(part_in("arm-1", RACK, ssh=DROPBEAR), family))
    assert not {"unit.ssh.service", "unit.ssh.socket"} & facts.keys()
    assert facts["unit.imagesmith-dropbear.service"] == "active"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_node_of_a_cluster_is_reached_by_openssh_where_nothing_else_is_said(family: str) -> None:
    alone, joined = promised(plan(None, family)), promised(plan(part_in("arm-1"), family))
    assert {fact for fact in alone if "ssh" in fact} == {fact for fact in joined if "ssh" in fact}


def test_an_agent_is_told_the_time_by_the_servers_and_promises_it() -> None:
    made = plan(part_in("arm-1"))
    assert made.node.settings.time_servers == ("192.168.7.10",)
    assert promised(made)["time_servers"] == "192.168.7.10"
    (conf,) = (e for e in made.edits if isinstance(e, PutFile) and e.path == "/etc/imagesmith/node.conf")
    assert isinstance(conf.content, bytes)
    assert b"TIME_SERVERS='192.168.7.10'\n" in conf.content


def test_a_server_keeps_its_clock_by_chrony_and_promises_nothing_of_systemds_own() -> None:
    facts = promised(plan(part_in("head")))
    assert facts["unit.chrony.service"] == "active"
    assert "unit.systemd-timesyncd.service" not in facts
    assert promised(plan(part_in("arm-1")))["unit.systemd-timesyncd.service"] == "active"
