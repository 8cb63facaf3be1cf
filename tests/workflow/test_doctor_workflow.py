"""What `doctor` finds: a fake program for every case, in a PATH of the test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagesmith import tools
from imagesmith.tools import Tool
from imagesmith.workflow.doctor import BACKPORTED, Finding, findings, install_line


def fake(folder: Path, name: str, says: str) -> Path:
    """A program that says `says` and nothing else."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def first_in_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def found(name: str) -> Finding:
    (one,) = [one for one in findings() if one.name == name]
    return one


def test_every_tool_of_the_table_is_looked_for_once() -> None:
    names = [one.name for one in findings()]
    assert len(set(names)) == len(names)
    assert set(tools.TOOLS) < set(names)


def test_every_finding_says_what_it_is_for() -> None:
    assert [one.name for one in findings() if not one.purpose] == []


@pytest.mark.parametrize(
    ("says", "version", "trouble"),
    [
        ("xz (XZ Utils) 5.1.9", "5.1.9", "too old, 5.2 is needed"),
        ("xz (XZ Utils) 5.2", "5.2", ""),
        ("xz (XZ Utils) 5.10.0", "5.10.0", ""),
        ("xz (XZ Utils) 4.999.9", "4.999.9", "too old"),
        ("xz, of today", "unknown", ""),
    ],
)
def test_versions_are_compared_as_numbers(first_in_path: Path, says: str, version: str, trouble: str) -> None:
    fake(first_in_path, "xz", says)
    one = found("xz")
    assert one.version == version
    assert one.trouble.startswith(trouble)
    assert bool(one.trouble) == bool(trouble)


def test_what_is_not_in_the_table_does_not_exist_here(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Tool("imagesmith-no-such-tool", "no-such-package", "does nothing")
    monkeypatch.setitem(tools.TOOLS, missing.name, missing)  # type: ignore[arg-type]
    one = found(missing.name)
    assert (one.version, one.trouble) == ("", "missing")
    assert "no-such-package" in install_line(findings())


def test_the_install_line_names_each_package_once_and_only_what_is_wanted() -> None:
    listed = (
        Finding("debugfs", "e2fsprogs", "edits", "", "missing"),
        Finding("mke2fs", "e2fsprogs", "makes", "1.46", "too old"),
        Finding("xz", "xz-utils", "packs", "5.4", ""),
        Finding("binfmt", "", "runs", "", "not registered"),
        Finding("mcopy", "mtools", "copies", "", "missing"),
    )
    assert install_line(listed) == "apt-get install e2fsprogs mtools"


OLD = Finding("mke2fs", "e2fsprogs", "makes", "1.47.0", "too old")
GONE = Finding("mcopy", "mtools", "copies", "", "missing")


def test_on_debian_12_a_checkout_s_script_installs_what_is_too_old() -> None:
    line = install_line((OLD, GONE), release="bookworm", script=Path("tools/install-system.sh"))
    assert line == "sudo sh tools/install-system.sh"


def test_on_debian_12_without_a_checkout_backports_are_named() -> None:
    line = install_line((OLD, GONE), release="bookworm")
    assert line == "apt-get install -t bookworm-backports e2fsprogs && apt-get install mtools"


def test_the_script_takes_the_same_packages_from_backports() -> None:
    script = Path(__file__).parents[2] / "tools/install-system.sh"
    assert f'newer="{" ".join(BACKPORTED)}"' in script.read_text()


def test_what_only_some_need_is_not_in_the_line_and_no_failure() -> None:
    assert install_line([Finding("newuidmap", "uidmap", "makes", "", "missing", optional=True)]) == ""
    assert [one.optional for one in findings() if one.name.startswith("binfmt")] in ([True], [])


def test_only_root_can_do_without_newuidmap() -> None:
    assert found("newuidmap").optional == (os.geteuid() == 0)


def test_where_all_is_well_there_is_nothing_to_install() -> None:
    assert install_line([Finding("xz", "xz-utils", "packs", "5.4", "")]) == ""
