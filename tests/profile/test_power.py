"""`power:` of an inventory: what is read, and every way in which a power cut could not go well, told with its line."""

from __future__ import annotations

import pytest
from inventories import PROFILES

from imagesmith import resources
from imagesmith.errors import DocumentInvalid
from imagesmith.model import Cluster, Power, Threshold
from imagesmith.profile.addons import Around
from imagesmith.profile.cluster import load_cluster
from imagesmith.profile.power import load_drivers

PATH = resources.folder("profiles") / "cluster" / "ups-drivers.yaml"
DRIVERS = load_drivers(PATH.read_text(), str(PATH))
RACK = """\
schema: 1
name: rack
k3s: {channel: stable}
power:
  ups: {driver: riello_usb}
  runtime: 20m
  stages:
    workers: {after: 2m, below: 60%}
    primary: {after: 6m, below: 30%}
nodes:
  - {name: a, profile: pc-server, address: 192.168.1.10/24}
  - {name: d, profile: pi-worker}
"""
HA = RACK.replace("  runtime", "  primary: b\n  runtime").replace("60%}", "60%}\n    servers: {after: 4m, below: 50%}")
HA = HA.replace("  - {name: d", "".join(f"  - {{name: {n}, profile: pc-server, address: 192.168.1.{i}/24}}\n"
                                       for n, i in (("b", 11), ("c", 12))) + "  - {name: d")  # fmt: skip


def load(text: str) -> Cluster:
    return load_cluster(text, "c.yaml", PROFILES, Around(drivers=lambda: DRIVERS))


def power(text: str = RACK) -> Power:
    found = load(text).power
    assert found is not None
    return found


def complaints(text: str) -> list[str]:
    with pytest.raises(DocumentInvalid) as caught:
        load(text)
    return [str(problem) for problem in caught.value.problems]


def test_without_the_key_nobody_asked_for_a_ups() -> None:
    start, end = RACK.index("power:"), RACK.index("nodes:")
    assert load(RACK[:start] + RACK[end:]).power is None


def test_the_only_server_has_the_cable() -> None:
    assert power().primary == "a"


def test_thresholds_are_a_time_and_a_charge() -> None:
    assert power().thresholds == {"workers": Threshold(120, 60), "primary": Threshold(360, 30)}


def test_a_driver_is_known_by_its_usb_id() -> None:
    assert power().ups.driver.usb == ("04b4:5500",)


def test_any_other_driver_is_named_as_ones_own() -> None:
    found = power(RACK.replace("{driver: riello_usb}", "{own_driver: my-ups, port: /dev/ttyS0}")).ups
    assert (found.driver.name, found.port, found.driver.cuts) == ("my-ups", "/dev/ttyS0", True)


def test_stop_times_are_declared_by_stage() -> None:
    found = power(RACK.replace("  runtime", "  stop: {workers: 45s}\n  runtime"))
    assert (found.stop_s["workers"], found.stop_s["primary"]) == (45, 90)


def test_three_stages_of_a_larger_rack_fit() -> None:
    assert list(power(HA).thresholds) == ["workers", "servers", "primary"]


def test_options_of_the_driver_are_kept_and_true_is_a_word_alone() -> None:
    written = RACK.replace("riello_usb}", "riello_usb, options: {localcalculation: true, pollinterval: 2}}")
    assert power(written).ups.options == {"localcalculation": "", "pollinterval": "2"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("riello_usb", "riello_ubs", "c.yaml:5: power.ups.driver: 'riello_ubs' is none of the drivers that are known; "
         "did you mean 'riello_usb'?"),
        ("{driver: riello_usb}", "{own_driver: riello_usb}", "c.yaml:5: power.ups.own_driver: the driver riello_usb"),
        ("{driver: riello_usb}", "{name: u}", "c.yaml:5: power.ups.driver: a UPS has one driver of NUT"),
        ("riello_usb}", "riello_usb, options: {port: x}}", "c.yaml:5: power.ups.options: 'port' is not an option"),
        ("riello_usb}", "riello_usb, options: {a: 'x\"y'}}", "c.yaml:5: power.ups.options.a: 'x\"y' can't be written"),
        ("riello_usb}", "riello_usb, name: '[x'}", "c.yaml:5: power.ups.name: '[x' is not a UPS's name"),
        ("60%", "160%", "c.yaml:8: power.stages.workers.below: 160% is not between 1% and 100%"),
        ("60%", "lots", "c.yaml:8: power.stages.workers.below: 'lots' is not a share"),
        ("2m,", "2,", "c.yaml:8: power.stages.workers.after: '2' is not a duration"),
        (", below: 30%", "", "c.yaml:9: power.stages.primary: the key 'below' is required"),
        ("  runtime: 20m\n", "", "c.yaml:5: power: the key 'runtime' is required"),
        ("  runtime", "  primary: [a, d]\n  runtime", "c.yaml:6: power.primary: two primaries (a, d)"),
        ("  runtime", "  primary: x\n  runtime", "c.yaml:6: power.primary: there is no node 'x'"),
        ("  runtime", "  primary: d\n  runtime", "address: d has the UPS's cable, so the others ask it"),
        ("  runtime", "  without: [x]\n  runtime", "c.yaml:6: power.without: there is no node 'x'"),
        ("  runtime", "  without: [a]\n  runtime", "c.yaml:6: power.without: a has the UPS's cable"),
        ("  runtime", "  without: [d]\n  runtime", "no node goes down in the stage 'workers'"),
        ("after: 2m", "after: 8m", "c.yaml:8: power.stages: the workers go at 8m, and the primary not later: 6m"),
        ("60%", "20%", "c.yaml:8: power.stages: the workers go below 20%, and the primary not later: below 30%"),
        ("    workers: {after: 2m, below: 60%}\n", "", "nothing says when d goes down: there is no stage 'workers'"),
        ("    primary", "    servers: {after: 3m, below: 50%}\n    primary", "no node goes down in the stage"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_where_it_stands(old: str, new: str, said: str) -> None:
    assert old in RACK
    assert any(said in line for line in complaints(RACK.replace(old, new, 1))), complaints(RACK.replace(old, new, 1))


def test_a_node_on_another_socket_is_in_no_stage_and_no_sum() -> None:
    written = RACK.replace("    workers: {after: 2m, below: 60%}\n", "").replace("  runtime: 20m", "  runtime: 8m")
    found = power(written.replace("  runtime", "  without: [d]\n  runtime"))
    assert (found.without, found.workers, list(found.thresholds)) == (("d",), (), ["primary"])


def test_two_servers_and_no_word_of_the_cable() -> None:
    (line,) = complaints(HA.replace("  primary: b\n", ""))
    assert line.startswith("c.yaml:5: power: there are 3 servers, and nobody says to which node the UPS's cable leads")


def test_stages_longer_than_the_battery_are_told_with_their_sum() -> None:
    (line,) = complaints(RACK.replace("20m", "9m").replace("30%", "55%"))
    assert line.startswith("c.yaml:6: power.runtime: the battery lasts 9m, and all this takes 9m35s: ")
    assert (
        "6m on battery until the stage 'primary' + 15s to notice it + 1m45s to wait for the others (HOSTSYNC) + 5s"
        in line
    )


def test_a_charge_that_leaves_too_little_is_told_with_what_would_do() -> None:
    (line,) = complaints(RACK.replace("30%", "10%"))
    assert "below 10% a battery of 20m lasts 2m, and what is still to do takes 3m35s: " in line
    assert line.endswith("(primary: below: 18% would do)")


def test_a_drain_is_part_of_what_workers_need() -> None:
    (line,) = complaints(RACK.replace("  runtime", "  drain: 15m\n  runtime"))
    assert "below 60% a battery of 20m lasts 12m" in line and "15m to drain them" in line


def test_a_ups_that_nobody_can_switch_brings_nothing_back() -> None:
    written = RACK.replace("driver: riello_usb", "driver: dummy-ups").replace(
        "  runtime", "  when_back: cycle\n  runtime"
    )
    assert any("c.yaml:6: power.when_back: the driver dummy-ups can't" in line for line in complaints(written))


def test_without_k3s_there_is_nothing_to_bring_down() -> None:
    written = RACK.replace("k3s: {channel: stable}\n", "")
    assert any("power: this is for the nodes of a k3s cluster" in line for line in complaints(written))
