"""Fixtures of the first boot's tests: a node's folder with the scripts and with stand-ins for programs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from node_folder import CHANGERS, NodeFolder

FIRSTBOOT = Path(__file__).parents[2] / "firstboot"


@pytest.fixture
def node(tmp_path: Path) -> NodeFolder:
    root, programs, library = tmp_path / "root", tmp_path / "bin", tmp_path / "library"
    for folder in (root, programs):
        folder.mkdir()
    shutil.copytree(FIRSTBOOT, library)
    # On a node the scripts of a cluster lie beside the others.
    for script in (one for name in ("cluster", "backup", "vpn", "power") for one in (library / name).iterdir()):
        script.rename(library / ("steps" if script.name[0].isdecimal() else "") / script.name)
    environment = {
        "PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin",
        "ROOT": str(root),
        "IMAGESMITH_LIB": str(library),
        "CALLS": str(tmp_path / "calls"),
        "HOME": os.environ.get("HOME", "/"),
    }
    made = NodeFolder(root, programs, library, environment)
    for program in CHANGERS:
        made.stand_in(program, "exit 0")
    # `date` still tells the time; it never sets it.
    made.stand_in("date", 'case "$*" in *-s*) exit 0 ;; esac\nexec /bin/date "$@"')
    made.configure()
    return made


@pytest.fixture
def bare(node: NodeFolder) -> NodeFolder:
    """A node without any steps, for tests of the runner."""
    for step in (node.library / "steps").iterdir():
        step.unlink()
    node.configure(STEP_WAIT_S="0", STEP_TRIES="2")
    return node
