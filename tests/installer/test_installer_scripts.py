"""The installer's scripts: clean by shellcheck, plain POSIX sh, careful by themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from imagesmith import resources
from imagesmith.families.ubuntu_live import UNCHOSEN

SCRIPTS = sorted((Path(__file__).parents[2] / "installer").iterdir())


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script: Path) -> None:
    done = subprocess.run(["shellcheck", "-s", "sh", script], capture_output=True, text=True, check=False)
    assert done.stdout == ""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_of_the_installer_stops_at_its_first_failure(script: Path) -> None:
    text = script.read_text()
    assert text.startswith("#!/bin/sh\n#")
    assert "\nset -eu\n" in text
    assert script.stat().st_mode & 0o111 == 0o111


def test_the_disk_that_is_none_is_called_the_same_everywhere() -> None:
    assert f"unchosen={UNCHOSEN}\n".encode() in resources.materials().files["installer/choose-disk"]
