"""Power cuts with the real NUT on the files that nodes get: stage by stage, cancelled, unplugged, abandoned."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cluster.nut_lab import LabNode, lab, wait_until
from cluster.power_parts import POWER, put

from imagesmith.model import Power, Threshold, UpsDriver

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("upsdrvctl"), reason="needs root, nut-server, nut-client"),
]
SOON = replace(
    POWER,
    ups=replace(POWER.ups, driver=UpsDriver("dummy-ups"), port="state.dev"),
    thresholds={"workers": Threshold(4, 60), "servers": Threshold(8, 50), "primary": Threshold(14, 30)},
    stop_s={"workers": 3, "servers": 3, "primary": 3},
)
"""Of seconds instead of minutes."""
PATIENT = replace(
    SOON,
    thresholds={"workers": Threshold(900, 60), "servers": Threshold(1200, 50), "primary": Threshold(1800, 30)},
)
ADDRESSES = {"head": "192.168.7.10", "tail": "192.168.7.11", "arm-1": "192.168.7.21"}
NODES = tuple(ADDRESSES)
COMPLAINTS = ("nvalid", "nrecognized", "readable")
Nodes = dict[str, LabNode]


def started(power: Power, *nodes: str) -> Iterator[Nodes]:
    with lab({node: put(node, power) for node in nodes or NODES}, ADDRESSES) as found:
        found["head"].say("OL")
        for one in found.values():
            one.start()
        clients = len(found)
        wait_until(lambda: len(found["head"].asked("upsc", "-c", "ups@localhost").split()) == clients, 15)
        wait_until(lambda: all("says: OL" in one.log("watch") for one in found.values()), 30)
        yield found


@pytest.fixture
def hasty() -> Iterator[Nodes]:
    yield from started(SOON)


@pytest.fixture
def patient() -> Iterator[Nodes]:
    yield from started(PATIENT, "head", "arm-1")


def went(nodes: Nodes) -> list[str]:
    return [name for name, node in nodes.items() if node.went]


def flagged(node: LabNode) -> bool:
    """Whether its UPS is to be switched off at the very end, once everything else of it is gone."""
    node.stop()
    return node.ask("/lib/nut/upsmon", "-K") == 0


def test_nodes_go_stage_by_stage_and_the_ups_is_switched_off(hasty: Nodes) -> None:
    hasty["head"].say("OB DISCHRG", 90)
    for name, before in (("arm-1", []), ("tail", ["arm-1"])):
        wait_until(lambda name=name: hasty[name].went, 20)
        assert set(went(hasty)) == {*before, name}
        hasty[name].stop()
    wait_until(lambda: hasty["head"].went, 40)
    # Past this point mains are back, and the UPS is switched off and on all the same: else nobody would come back.
    hasty["head"].say("OL")
    hasty["head"].stop()
    hasty["head"].ask("sh", "/lib/systemd/system-shutdown/nutshutdown")
    assert hasty["head"].ups_was_switched_off


def test_nut_takes_every_line_of_its_files(patient: Nodes) -> None:
    for node in patient.values():
        told = "".join(path.read_text() for path in node.folder.glob("ups*.log"))
        assert not [
            line for line in told.splitlines() if "nvalid" in line or "nrecognized" in line or "readable" in line
        ]
    assert "192.168.7.21" in patient["head"].asked("upsc", "-c", "ups@localhost")


def test_mains_that_come_back_in_time_cancel_it(hasty: Nodes) -> None:
    hasty["head"].say("OB DISCHRG", 90)
    wait_until(lambda: "mains are away" in hasty["arm-1"].log("watch"), 10)
    hasty["head"].say("OL CHRG", 89)
    wait_until(lambda: "mains are back" in hasty["arm-1"].log("watch"), 10)
    time.sleep(6)
    assert went(hasty) == []


def test_a_battery_that_was_not_full_brings_nodes_down_sooner(patient: Nodes) -> None:
    patient["head"].say("OB DISCHRG", 55)
    wait_until(lambda: patient["arm-1"].went, 15)
    assert went(patient) == ["arm-1"]
    assert "the battery holds 55%, below 60%" in patient["arm-1"].log("watch")


def test_a_ups_that_is_unplugged_brings_nobody_down(patient: Nodes) -> None:
    patient["head"].unplug()
    wait_until(lambda: "says: nothing" in patient["arm-1"].log("watch"), 30)
    time.sleep(8)
    assert went(patient) == []
    assert not flagged(patient["head"])


def test_a_ups_that_falls_silent_on_battery_brings_everybody_down(patient: Nodes) -> None:
    patient["head"].say("OB DISCHRG", 90)
    wait_until(lambda: all("mains are away" in node.log("watch") for node in patient.values()), 10)
    patient["head"].unplug()
    wait_until(lambda: went(patient) == ["head", "arm-1"], 60)


def test_a_node_that_loses_its_primary_on_battery_goes_by_itself(patient: Nodes) -> None:
    patient["head"].say("OB DISCHRG", 90)
    wait_until(lambda: "mains are away" in patient["arm-1"].log("watch"), 10)
    patient["head"].stop()
    wait_until(lambda: patient["arm-1"].went, 60)


def test_an_empty_battery_is_nuts_business_and_the_primary_waits_for_the_others(patient: Nodes) -> None:
    patient["head"].say("OB LB", 90)
    wait_until(lambda: patient["arm-1"].went, 30)
    assert not patient["head"].went
    wait_until(lambda: patient["head"].went, 40)
    assert flagged(patient["head"])


def test_a_node_that_hangs_is_waited_for_once(patient: Nodes) -> None:
    """upsmon waits for its HOSTSYNC until such a one logs off, which it never does."""
    patient["arm-1"].freeze()
    patient["head"].say("OB LB", 90)
    wait_until(lambda: patient["head"].went, 90)
    assert "Host sync timer expired" in patient["head"].log("upsmon")
    assert "waits" not in patient["head"].log("upsmon")


def test_a_restart_for_another_reason_never_switches_the_ups_off(patient: Nodes) -> None:
    patient["head"].stop()
    patient["head"].ask("sh", "/lib/systemd/system-shutdown/nutshutdown")
    assert not patient["head"].ups_was_switched_off


def test_workers_that_went_come_back_by_the_ups_where_that_is_wanted() -> None:
    cycling = replace(SOON, when_back="cycle", thresholds={**PATIENT.thresholds, "workers": Threshold(3, 60)})
    for nodes in started(cycling, "head", "arm-1"):
        nodes["head"].say("OB DISCHRG", 90)
        wait_until(lambda nodes=nodes: nodes["arm-1"].went, 20)
        nodes["arm-1"].stop()
        nodes["head"].say("OL CHRG", 80)
        wait_until(lambda nodes=nodes: nodes["head"].went, 40)
        assert flagged(nodes["head"])
