"""What a node tells of itself: by what the first boot really wrote, and where programs are missing."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from clustered import clustered
from node_folder import NodeFolder

from imagesmith.planning.health import Facts, State, read_facts, wrongs

DASH = shutil.which("dash") or ""
BASE = ("awk", "cat", "cut", "date", "df", "sed", "tail", "timeout", "tr", "uname")
"""What every Debian has, whatever else was left away."""

pytestmark = pytest.mark.skipif(not DASH, reason="dash is not installed")


def told(node: NodeFolder, *options: str) -> Facts:
    """As over SSH: the script comes by standard input, and what it says on the side is nobody's."""
    script = (node.library / "node-status").read_bytes()
    done = subprocess.run(
        [DASH, *options, "-s"], input=script, env=node.environment, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return read_facts(done.stdout, "node-1")


def with_programs(node: NodeFolder, folder: Path, *names: str) -> NodeFolder:
    """The node with these programs and no others."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(Path(shutil.which(name) or name).resolve())
    return replace(node, bin=folder, environment={**node.environment, "PATH": str(folder)})


def wrong(facts: Facts) -> tuple[str, ...]:
    """All of it, but for the clock: nobody keeps that of a machine that tests run on."""
    found = wrongs([State("node-1", "server", facts=facts)], datetime.now(UTC), asked_cluster=False)
    return tuple(line for line in found if "clock" not in line and "disk" not in line)


@pytest.mark.parametrize("options", [(), ("-eu",)])
def test_an_empty_machine_tells_to_the_end(node: NodeFolder, tmp_path: Path, options: tuple[str, ...]) -> None:
    facts = told(with_programs(node, tmp_path / "few", *BASE), *options)
    assert facts.get("hostname") == facts.get("k3s_version") == facts.get("clock_synchronized") == ""
    assert facts.get("disk_free_kib").isdecimal()
    assert wrong(facts) == (
        "node-1: it calls itself nothing",
        "node-1: k3s.service is unknown",
        "cluster: no server could be asked for its nodes",
    )


def test_a_machine_that_lacks_more_tells_what_it_can(node: NodeFolder, tmp_path: Path) -> None:
    node.write("proc/sys/kernel/hostname", "node-1\n")
    node.write("var/lib/rancher/k3s/agent/own.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    facts = told(with_programs(node, tmp_path / "few", "cat", "cut", "date", "sed", "tail", "tr"), "-eu")
    assert facts.get("hostname") == "node-1"
    assert facts.get("disk_free_kib") == facts.get("architecture") == ""
    assert facts.certificates == {}


def test_a_certificate_that_a_power_cut_left_empty_is_told(node: NodeFolder) -> None:
    node.write("var/lib/rancher/k3s/agent/empty.crt", "")
    facts = told(node)
    assert facts.unreadable == ("agent/empty.crt",)
    assert [line for line in wrong(facts) if "agent/empty.crt can't be read" in line]


def test_a_first_boot_that_failed_is_told_by_its_own_words(bare: NodeFolder) -> None:
    clustered(bare)
    bare.configure(STEP_WAIT_S="0", STEP_TRIES="1")
    bare.add_step("10-good", "#!/bin/sh\nexit 0\n")
    bare.add_step("80-k3s", "#!/bin/sh\nexit 1\n")
    assert bare.run("run").returncode != 0
    assert "node-1: its first boot is not done: 80-k3s" in wrong(told(bare))
    bare.add_step("80-k3s", "#!/bin/sh\nexit 0\n")
    assert bare.run("run").returncode == 0
    facts = told(bare)
    assert facts.get("firstboot.state") == "done"
    assert not [line for line in wrong(facts) if "first boot" in line]


def test_what_the_gate_waits_for_is_told_by_its_own_words(node: NodeFolder) -> None:
    clustered(node, addresses="")
    gate = subprocess.Popen([node.library / "k3s-gate"], env=node.environment, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            facts = told(node)
            if facts.gate and facts.get("gate.reason"):
                break
    finally:
        gate.terminate()
        gate.wait()
    assert facts.gate == "address"
    assert f"node-1: k3s waits for: address ({facts.get('gate.reason')})" in wrong(facts)


def test_a_gate_that_let_k3s_go_waits_for_nothing(node: NodeFolder) -> None:
    clustered(node, CLUSTER_DUTY="server")
    node.write("var/lib/rancher/k3s/server/db/state.db", "")
    subprocess.run([node.library / "k3s-gate"], env=node.environment, timeout=60, check=True, capture_output=True)
    facts = told(node)
    assert (facts.gate, facts.get("duty"), facts.get("cluster")) == ("", "server", "rack")


def test_a_ups_is_told_as_the_node_hears_it(node: NodeFolder) -> None:
    node.write("etc/imagesmith/power.conf", "UPS='ups@10.0.0.1'\nUPS_NAME='ups'\n")
    node.stand_in("upsc", "printf 'battery.charge: 74\\nbattery.runtime: 720\\nups.status: OB DISCHRG\\n'")
    facts = told(node)
    assert [facts.get(f"ups.{key}") for key in ("name", "status", "charge", "runtime")] == [
        "ups@10.0.0.1",
        "OB DISCHRG",
        "74",
        "720",
    ]


def test_a_ups_that_is_not_heard_is_told_with_the_reason(node: NodeFolder) -> None:
    node.write("etc/imagesmith/power.conf", "UPS='ups@10.0.0.1'\n")
    node.stand_in("upsc", "echo 'Init SSL without certificate database' >&2; echo 'Error: Data stale' >&2; exit 1")
    assert told(node).get("ups.error") == "Data stale"
