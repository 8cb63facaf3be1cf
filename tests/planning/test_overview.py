"""`plan --all`: a line for each node, and what all of them fetch together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagesmith import resources
from imagesmith.model import Base, BuildPlan, FileSource, HttpSource, Network
from imagesmith.planning.build import plan_build
from imagesmith.planning.overview import overview
from imagesmith.workflow.target import resolve


@pytest.fixture
def plan() -> BuildPlan:
    found = resolve("rpi4-worker", cluster=None)
    return plan_build(found.profile, found.node, found.base, resources.materials())


def based(plan: BuildPlan, name: str, source: HttpSource | FileSource) -> BuildPlan:
    return replace(plan, name=name, base=Base("own", "armbian", source))


def test_a_node_has_a_line_with_its_board_base_and_address(plan: BuildPlan) -> None:
    told = overview([plan], {plan.name}).splitlines()
    assert told[1].split()[:5] == ["rpi4-worker", "rpi4", "worker", "raspios", "(raspios-cloudinit)"]
    assert "DHCP" in told[1]


def test_a_duty_takes_the_place_of_the_role_and_a_reservation_is_told(plan: BuildPlan) -> None:
    node = replace(plan.node, network=Network(mac="dc:a6:32:01:02:03", reserved="192.168.1.10"))
    told = overview([replace(plan, duty="agent", node=node)], {plan.name}).splitlines()[1]
    assert told.split()[2] == "agent"
    assert "DHCP, 192.168.1.10" in told


def test_a_base_that_several_nodes_share_is_fetched_once(plan: BuildPlan) -> None:
    shared = HttpSource("https://example.org/a.img", size=1 << 30)
    told = overview([based(plan, "a", shared), based(plan, "b", shared)], ())
    assert "2 nodes; a build fetches 1 base image, 1.0 GiB." in told


def test_an_unknown_size_and_what_is_there_already_are_told(plan: BuildPlan) -> None:
    unknown, cached = HttpSource("https://example.org/u"), HttpSource("https://example.org/c", size=1 << 30)
    told = overview([based(plan, "a", unknown), based(plan, "b", cached), based(plan, "c", FileSource("x"))], {"b"})
    assert "fetches 1 base image (1 of unknown size)." in told


def test_nothing_to_fetch_is_said(plan: BuildPlan) -> None:
    assert "a build fetches nothing" in overview([based(plan, "a", FileSource("x"))], ())
