"""What a node tells its exporter of its backup and its UPS: Prometheus' text format, nothing that it does not have."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "firstboot/addons/node-metrics"
ALERTS = [ROOT / f"profiles/addons/files/monitoring/{name}.yml" for name in ("alerts", "ups", "backup")]
GOOD = "state=good\nreason=\nsince=2026-11-20T02:10:00Z\nlast_good=2026-11-20T02:10:00Z\n"
ON_BATTERY = "battery.charge: 73\nups.status: OB DISCHRG RB\n"


@pytest.fixture
def node(tmp_path: Path) -> Path:
    for folder in ("var/lib/imagesmith/backup", "etc/imagesmith", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def told(node: Path, ups: str = "") -> dict[str, str]:
    upsc = node / "bin/upsc"
    upsc.write_text(f"#!/bin/sh\n[ \"$1\" = riello@192.168.1.10 ] || exit 1\nprintf '%s' '{ups}'\n")
    upsc.chmod(0o755)
    environment = {"PATH": f"{node}/bin:{os.environ['PATH']}", "IMAGESMITH_ROOT": str(node)}
    subprocess.run(["sh", SCRIPT], env=environment, check=True)
    file = node / "var/lib/imagesmith/metrics/imagesmith.prom"
    assert file.stat().st_mode & 0o777 == 0o644 and [*file.parent.iterdir()] == [file]
    lines = file.read_text().splitlines()
    assert all(re.fullmatch(r"[a-z_]+ [0-9]+", line) for line in lines)
    return dict(line.split() for line in lines)


def with_ups(node: Path) -> None:
    (node / "etc/imagesmith/power.conf").write_text("STAGE='1'\nUPS='riello@192.168.1.10'\n")


def test_a_node_with_neither_tells_nothing(node: Path) -> None:
    assert told(node) == {}


def test_when_the_last_backup_succeeded(node: Path) -> None:
    (node / "var/lib/imagesmith/backup/status").write_text(GOOD)
    assert told(node) == {
        "imagesmith_backup_last_success_timestamp_seconds": "1795140600",
        "imagesmith_backup_last_run_failed": "0",
    }


def test_a_failed_backup_keeps_the_age_of_the_good_one(node: Path) -> None:
    (node / "var/lib/imagesmith/backup/status").write_text(GOOD.replace("state=good", "state=failed"))
    assert told(node)["imagesmith_backup_last_run_failed"] == "1"
    assert told(node)["imagesmith_backup_last_success_timestamp_seconds"] != "0"


def test_a_backup_that_never_succeeded_is_as_old_as_can_be(node: Path) -> None:
    (node / "var/lib/imagesmith/backup/status").write_text("state=failed\nreason=no route\n")
    assert told(node)["imagesmith_backup_last_success_timestamp_seconds"] == "0"


def test_what_the_ups_says(node: Path) -> None:
    with_ups(node)
    found = told(node, ON_BATTERY)
    assert {key.removeprefix("imagesmith_ups_"): value for key, value in found.items() if "told" not in key} == {
        "reachable": "1", "on_battery": "1", "low_battery": "0", "replace_battery": "1", "charge_percent": "73",
    }  # fmt: skip


def test_a_ups_that_nobody_hears_of_is_told(node: Path) -> None:
    with_ups(node)
    found = told(node, "")
    assert found.pop("imagesmith_ups_told_timestamp_seconds").isdecimal()
    assert found == {"imagesmith_ups_reachable": "0"}


def test_whatever_an_alert_watches_a_node_tells(node: Path) -> None:
    with_ups(node)
    (node / "var/lib/imagesmith/backup/status").write_text(GOOD)
    groups = [group for file in ALERTS for group in yaml.safe_load(file.read_text())["groups"]]
    rules = [rule["expr"] for group in groups for rule in group["rules"]]
    watched = {name for rule in rules for name in re.findall(r"imagesmith_\w+", rule)}
    assert len(watched) > 5 and watched <= set(told(node, ON_BATTERY))
