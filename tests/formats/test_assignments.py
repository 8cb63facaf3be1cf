"""Lines of KEY='value': whatever the value, each of their readers reads that value and runs nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from imagesmith import resources
from imagesmith.errors import UsageError
from imagesmith.formats.assignments import assignments

HOSTILE = ["it's", "$(touch pwned)", "`id`", '"; rm -rf /', "a'b'c", "'", "\\", "#no", "two  spaces ", "ü"]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_shell_reads_back_what_was_said(value: str, tmp_path: Path) -> None:
    conf = tmp_path / "node.conf"
    conf.write_bytes(assignments({"KEY": value}))
    done = subprocess.run(["sh", "-c", '. "$0"; printf %s "$KEY"', conf], capture_output=True, cwd=tmp_path, check=True)
    assert done.stdout.decode() == value
    assert list(tmp_path.iterdir()) == [conf]


@pytest.mark.parametrize("value", HOSTILE)
def test_the_first_boots_own_reader_reads_the_same(value: str, tmp_path: Path) -> None:
    conf = tmp_path / "etc/imagesmith/node.conf"
    conf.parent.mkdir(parents=True)
    conf.write_bytes(assignments({"KEY": value}))
    library = resources.folder("firstboot") / "lib.sh"
    done = subprocess.run(
        ["sh", "-c", '. "$0"; setting KEY', library],
        capture_output=True,
        env={"ROOT": str(tmp_path), "PATH": "/usr/bin:/bin"},
        check=True,
    )
    assert done.stdout.decode() == f"{value}\n"


@pytest.mark.parametrize("value", ["two\nlines", "nul\0", "tab\t", "\x7f"])
def test_a_value_that_no_line_can_hold_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="control character"):
        assignments({"KEY": value})
