"""The command `boot` as a person meets it; what a guest does to it is in tests/workflow and the boot lane."""

import json
from pathlib import Path

import pytest

from imagesmith.cli.main import main


def test_a_missing_image_is_an_io_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boot", str(tmp_path / "nowhere.img")]) == 6
    assert "nowhere.img" in capsys.readouterr().err


def test_a_target_that_was_not_built_names_the_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boot", "qemu-x86-worker", "--output", str(tmp_path)]) == 2
    assert "imagesmith build qemu-x86-worker" in capsys.readouterr().err


def test_a_failure_is_an_object_with_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["boot", "qemu-x86-worker", "--output", str(tmp_path), "--json"])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["error"]["exit_code"] == code == 2


def test_help_tells_which_file_a_transcript_replaces(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boot", "--help"]) == 0
    assert "is replaced only if it is a .log" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("seconds", ["0", "-1", "soon"])
def test_a_deadline_that_is_none_is_refused(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boot", "x.img", "--deadline", seconds]) == 2
    assert "--deadline" in capsys.readouterr().err
