"""All scripts: clean by shellcheck, plain POSIX sh, careful by themselves; units that systemd takes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from imagesmith import resources
from imagesmith.families import payload_files, promises

FIRSTBOOT = Path(__file__).parents[2] / "firstboot"
CLUSTER = FIRSTBOOT / "cluster"
BACKUP = FIRSTBOOT / "backup"
VPN = FIRSTBOOT / "vpn"
POWER = FIRSTBOOT / "power"
ADDONS = FIRSTBOOT / "addons"
IN_CONTAINERS = sorted((FIRSTBOOT.parent / "profiles" / "addons" / "files").rglob("*.sh"))
PROGRAMS = [
    *(FIRSTBOOT / "run", FIRSTBOOT / "report"),
    *sorted((FIRSTBOOT / "steps").iterdir()),
    # node-status is sent to nodes by whoever asks, and tells what it can.
    *(path for path in sorted(CLUSTER.iterdir()) if not path.suffix and path.name != "node-status"),
    *(path for path in sorted(BACKUP.iterdir()) if not path.suffix),
    *(path for path in sorted(VPN.iterdir()) if not path.suffix),
    *(path for path in sorted(POWER.iterdir()) if not path.suffix),
    *(path for path in sorted(ADDONS.iterdir()) if not path.suffix),
]
SOURCED = [FIRSTBOOT / "lib.sh", CLUSTER / "cluster-lib.sh", CLUSTER / "node-status", BACKUP / "backup-lib.sh",
           BACKUP / "backup-reading.sh"]  # fmt: skip
UNITS = [path for folder in (FIRSTBOOT, CLUSTER, BACKUP, VPN, POWER, ADDONS) for path in folder.glob("*.service")]


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize("script", [*PROGRAMS, *SOURCED, *IN_CONTAINERS], ids=lambda path: path.name)
def test_shellcheck_is_content(script: Path) -> None:
    done = subprocess.run(
        ["shellcheck", "-s", "sh", "-x", "-P", FIRSTBOOT.parent, script], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""


@pytest.mark.parametrize("script", PROGRAMS, ids=lambda path: path.name)
def test_a_script_stops_at_its_first_failure(script: Path) -> None:
    assert script.read_text().startswith("#!/bin/sh\n#")
    assert "\nset -eu\n" in script.read_text()


@pytest.mark.parametrize("script", PROGRAMS, ids=lambda path: path.name)
def test_a_script_can_be_run_as_it_lies_here(script: Path) -> None:
    assert script.stat().st_mode & 0o111 == 0o111


def test_every_step_is_promised_to_be_done() -> None:
    assert payload_files.step_names(resources.materials()) == promises.STEPS


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_understands_the_units(unit: Path, tmp_path: Path) -> None:
    # The programs are not where the unit says, so only complaints about the unit's own lines count.
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"(?m)^(Exec\w+=-?)/\S+", r"\1/usr/bin/true", unit.read_text()))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert complaints == []
