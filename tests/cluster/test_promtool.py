"""Alerts and the dashboard, held up to Prometheus' own promtool: parsed, and fed series of nodes that are well or not.

promtool is that of the machine's Debian: older than the add-on's Prometheus, and built without Kubernetes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from cluster.addon_wishes import WATCHED, all_objects

pytestmark = pytest.mark.archive
LASTS = 41 * 60
"""Minutes that all series last."""
WELL = {
    "up{}": "1",
    'node_cpu_seconds_total{mode="idle",cpu="0"}': "0+30",
    'node_cpu_seconds_total{mode="user",cpu="0"}': "0+30",
    "node_memory_MemAvailable_bytes{}": "300",
    "node_memory_MemTotal_bytes{}": "1000",
    'node_filesystem_avail_bytes{device="/dev/sda2",fstype="ext4",mountpoint="/"}': "40",
    'node_filesystem_size_bytes{device="/dev/sda2",fstype="ext4",mountpoint="/"}': "100",
    'node_thermal_zone_temp{type="cpu-thermal",zone="0"}': "55",
    "node_timex_sync_status{}": "1",
    "node_textfile_scrape_error{}": "0",
    'node_textfile_mtime_seconds{file="/host/metrics/imagesmith.prom"}': "0+60",
    "imagesmith_backup_last_success_timestamp_seconds{}": "1+60",
    "imagesmith_backup_last_run_failed{}": "0",
    "imagesmith_ups_told_timestamp_seconds{}": "0+60",
    "imagesmith_ups_reachable{}": "1",
    "imagesmith_ups_on_battery{}": "0",
    "imagesmith_ups_low_battery{}": "0",
    "imagesmith_ups_replace_battery{}": "0",
    "imagesmith_ups_charge_percent{}": "100",
}
"""What a node tells every minute, as its exporter and firstboot/addons/node-metrics do: a value, and its growth."""
ALL, OWN, UPS, BACKUP = "", "imagesmith_", "imagesmith_ups_", "imagesmith_backup_"
FILE = "node_textfile_mtime_seconds"


@dataclass(frozen=True)
class Case:
    """A node that is not well."""

    at: str
    """When it is looked at, from the beginning."""
    alerts: str
    """Those that fire of this node then."""
    told: Mapping[str, str] = field(default_factory=dict)
    """What it tells otherwise, by the metric's name."""
    silent: tuple[str, ...] = ()
    """How the names of metrics begin that it tells nothing of."""
    since: int = 0
    """The minute in which it is there first. Here time begins with 1970, in which nothing can be 36 hours old."""


NEVER = {"imagesmith_backup_last_success_timestamp_seconds": "0"}
CASES = {
    "silent": Case("10m", "NodeSilent", {"up": "0"}, (ALL,)),
    "disk": Case("15m", "DiskNearlyFull", {"node_filesystem_avail_bytes": "9"}),
    "memory": Case("20m", "MemoryNearlyFull", {"node_memory_MemAvailable_bytes": "70"}),
    "heat": Case("15m", "TooHot", {"node_thermal_zone_temp": "81"}),
    "clock": Case("40m", "ClockNotInStep", {"node_timex_sync_status": "0"}),
    "file broken": Case("20m", "MetricsFileBroken", {"node_textfile_scrape_error": "1"}),
    "file old": Case("25m", "MetricsFileOld", {FILE: "60"}),
    "file gone": Case("20m", "MetricsFileMissing UpsUnknown", silent=(FILE, OWN)),
    "on battery": Case("1m", "UpsOnBattery", {"imagesmith_ups_on_battery": "1"}),
    "UPS silent": Case("10m", "UpsSilent", {"imagesmith_ups_reachable": "0"}),
    "battery to replace": Case("1m", "UpsBatteryToReplace", {"imagesmith_ups_replace_battery": "1"}),
    "UPS not told of": Case("12m", "UpsNotTold", {"imagesmith_ups_told_timestamp_seconds": "60"}),
    "UPS unknown": Case("20m", "UpsUnknown", silent=(UPS,)),
    "backup a day and a half old": Case("36h", "", {"imagesmith_backup_last_success_timestamp_seconds": "60"}),
    "backup older": Case("36h20m", "BackupOld", {"imagesmith_backup_last_success_timestamp_seconds": "60"}),
    "backup failed": Case("20m", "BackupFailed", {"imagesmith_backup_last_run_failed": "1"}),
    "backup unknown": Case("36h", "BackupUnknown", silent=(BACKUP,)),
    "first backup still runs": Case("40h", "", NEVER, since=38 * 60),
    "no backup yet": Case("36h", "BackupUnknown", NEVER),
}


@pytest.fixture(scope="module")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Unpacked, since the package that is installed starts a server."""
    here = shutil.which("promtool")
    if here:
        return here
    folder = tmp_path_factory.mktemp("prometheus")
    got = subprocess.run(["apt-get", "download", "prometheus"], cwd=folder, capture_output=True, text=True, check=False)
    assert got.returncode == 0, f"{got.stderr}\nare apt's lists old, apt-get update renews them"
    (package,) = folder.glob("prometheus_*.deb")
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    package.unlink()
    return str(folder / "usr/bin/promtool")


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The files of all alerts, as Prometheus' pod has them."""
    folder = tmp_path_factory.mktemp("rules")
    files = mounted("prometheus-files")
    for name in ("alerts.yml", "backup.yml", "ups.yml"):
        (folder / name).write_text(files[name])
    return [str(path) for path in sorted(folder.iterdir())]


def mounted(name: str, light: str = "false") -> dict[str, str]:
    """What the pods of monitoring see of the catalogue, where there is a UPS, and backups."""
    made = all_objects(f"addons: {{monitoring: {{light: {light}}}}}\n{WATCHED}")
    (found,) = (one for one in made if (one["kind"], one["metadata"]["name"]) == ("ConfigMap", name))
    data: dict[str, str] = found["data"]
    return data


def panels() -> dict[str, str]:
    """The dashboard's expressions by their panels' titles."""
    told = json.loads(mounted("grafana-files")["nodes.json"])["panels"]
    return {panel["title"]: target["expr"] for panel in told for target in panel["targets"]}


def alert_names(rules: list[str]) -> set[str]:
    groups = [group for path in rules for group in yaml.safe_load(Path(path).read_text())["groups"]]
    return {rule["alert"] for group in groups for rule in group["rules"]}


def asked(promtool: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool, *words], capture_output=True, text=True, timeout=120, check=False)


def tried(promtool: str, document: object, folder: Path) -> str:
    """What is wrong by promtool with a document of its own kind of test; nothing, where all is as it says."""
    path = folder / "trial.yml"
    path.write_text(json.dumps(document))
    told = asked(promtool, "test", "rules", str(path))
    return "" if told.returncode == 0 else told.stdout + told.stderr


def series(node: str, case: Case | None = None) -> list[dict[str, str]]:
    found = []
    for metric, well in WELL.items():
        name = metric.partition("{")[0]
        value = case.told.get(name, "" if name.startswith(case.silent or "-") else well) if case else well
        if value:
            since = case.since if case else 0
            begins, _, grows = value.partition("+")
            first = int(begins) + since * int(grows or 0)
            labels = f'{{job="nodes",node="{node}",instance="{node}",{metric.partition("{")[2]}'
            found.append({"series": f"{name}{labels}", "values": f"_x{since} {first}+{grows or 0}x{LASTS}"})
    return found


def trial(rules: list[str], told: list[dict[str, str]], **more: object) -> dict[str, object]:
    tests = [{"interval": "1m", "input_series": told, **more}]
    return {"rule_files": rules, "evaluation_interval": "1m", "tests": tests}


def firing(alerts: str, at: str, states: str = "firing") -> dict[str, object]:
    """That these alerts and no others fire, all of the node `ill`."""
    told = [{"labels": f'{{alertname="{name}", node="ill"}}', "value": 1} for name in alerts.split()]
    return {
        "expr": f'count by (alertname, node) (ALERTS{{alertstate=~"{states}"}})', "eval_time": at, "exp_samples": told,
    }  # fmt: skip


def test_promtool_reads_every_alert(promtool: str, rules: list[str]) -> None:
    told = asked(promtool, "check", "rules", *rules)
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("SUCCESS") == 3


def test_it_refuses_what_is_no_promql(promtool: str, rules: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text(Path(rules[0]).read_text().replace("unless on (node)", "unless in (node)"))
    assert "parse error" in asked(promtool, "check", "rules", str(broken)).stderr


@pytest.mark.parametrize("light", ["true", "false"])
def test_promtool_reads_the_configuration(promtool: str, light: str, tmp_path: Path) -> None:
    config = yaml.safe_load(mounted("prometheus-files", light)["prometheus.yml"])
    # How Kubernetes is asked for targets is all that Debian's promtool can't know.
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": ["a:9100"] if job.pop("kubernetes_sd_configs") else []}]
    path = tmp_path / "prometheus.yml"
    path.write_text(json.dumps(config))
    told = asked(promtool, "check", "config", "--syntax-only", str(path))
    assert told.returncode == 0, told.stderr


def test_nodes_that_are_well_fire_nothing_and_are_about_to_fire_nothing(
    promtool: str, rules: list[str], tmp_path: Path
) -> None:
    looks = [firing("", at, "pending|firing") for at in ("1m", "20m", "3h", "40h")]
    told = [*series("a"), *series("b")]
    assert tried(promtool, trial(rules, told, promql_expr_test=looks), tmp_path) == ""


@pytest.mark.parametrize("name", CASES)
def test_a_node_that_is_not_well_fires_what_it_should_and_nothing_else(
    promtool: str, rules: list[str], name: str, tmp_path: Path
) -> None:
    case = CASES[name]
    told = [*series("well"), *series("ill", case)]
    assert tried(promtool, trial(rules, told, promql_expr_test=[firing(case.alerts, case.at)]), tmp_path) == ""


def test_every_alert_has_such_a_node(rules: list[str]) -> None:
    assert alert_names(rules) == {name for case in CASES.values() for name in case.alerts.split()}


@pytest.mark.parametrize(
    ("name", "alert", "summary"),
    [
        ("backup older", "BackupOld", "ill: its last good backup is 1d 12h 19m 0s old"),
        ("heat", "TooHot", "ill is at 81 degrees"),
        ("no backup yet", "BackupUnknown", "ill tells of no good backup"),
        ("on battery", "UpsOnBattery", "The UPS at ill runs on its battery"),
    ],
)
def test_an_alert_says_what_is_the_matter(
    promtool: str, rules: list[str], name: str, alert: str, summary: str, tmp_path: Path
) -> None:
    case = CASES[name]
    labels = {"node": "ill"} if alert == "TooHot" else {"node": "ill", "job": "nodes", "instance": "ill"}
    look = {
        "alertname": alert, "eval_time": case.at,
        "exp_alerts": [{"exp_labels": labels, "exp_annotations": {"summary": summary}}],
    }  # fmt: skip
    told = [*series("well"), *series("ill", case)]
    assert tried(promtool, trial(rules, told, alert_rule_test=[look]), tmp_path) == ""


@pytest.mark.parametrize("title", panels())
def test_every_panel_shows_one_line_a_node(promtool: str, title: str, tmp_path: Path) -> None:
    lines = [{"labels": f'{{node="{node}"}}', "value": 1} for node in ("a", "b")]
    look = {"expr": f"count by (node) ({panels()[title]})", "eval_time": "1h", "exp_samples": lines}
    assert tried(promtool, trial([], [*series("a"), *series("b")], promql_expr_test=[look]), tmp_path) == ""
