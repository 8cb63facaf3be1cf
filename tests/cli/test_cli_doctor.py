"""`doctor` and `completion` as a person meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from faults.disks import needs_root

from imagesmith import tools
from imagesmith.cli.main import main
from imagesmith.tools import Tool

MISSING = Tool("imagesmith-no-such-tool", "no-such-package", "does nothing")


def test_a_missing_tool_is_9_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(tools.TOOLS, MISSING.name, MISSING)  # type: ignore[arg-type]
    assert main(["doctor"]) == 9
    told = capsys.readouterr()
    assert f"--  {MISSING.name}" in told.out
    assert "does nothing" in told.out
    assert MISSING.name in told.err
    assert "what to do: apt-get install" in told.err
    assert "no-such-package" in told.err


def test_json_has_the_findings_and_then_the_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(tools.TOOLS, MISSING.name, MISSING)  # type: ignore[arg-type]
    assert main(["doctor", "--json"]) == 9
    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    listed = {one["name"]: one for one in first["result"]["findings"]}
    assert listed[MISSING.name]["trouble"] == "missing"
    assert last["error"]["exit_code"] == 9


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_that_asks_us(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_IMAGESMITH_COMPLETE" in script
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_completion_for_an_unknown_shell_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "bash" in capsys.readouterr().err


class TestAsRoot:
    pytestmark = needs_root

    def test_without_e2fsprogs_doctor_says_what_to_install(self, tmp_path: Path) -> None:
        """In a mount namespace of its own, where /usr/sbin and /sbin are empty."""
        hidden = 'mount -t tmpfs none /usr/sbin; [ -L /sbin ] || mount -t tmpfs none /sbin; exec "$@"'
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", hidden, "sh", sys.executable, "-m", "imagesmith", "doctor"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 9, done.stderr
        assert "--  debugfs" in done.stdout
        # On Debian 12 it is the script that gets it from backports.
        assert "e2fsprogs" in done.stderr or "install-system.sh" in done.stderr
