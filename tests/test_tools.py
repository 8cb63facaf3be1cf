"""The one door to other programs: found or named with their package, run with a fixed locale, failures told."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from imagesmith import tools
from imagesmith.errors import ToolMissing
from imagesmith.tools import ToolFailed


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shell script `example`, first in the PATH; write its body."""
    path = tmp_path / "bin/example"
    path.parent.mkdir()
    path.touch(0o755)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    return path


def script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")


# -- finding --------------------------------------------------------------------------------------


def test_a_program_in_the_path_is_found(program: Path) -> None:
    assert tools.find("example") == str(program)


def test_system_folders_are_looked_into_although_users_paths_lack_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert tools.find("debugfs") in ("/usr/sbin/debugfs", "/sbin/debugfs")


def test_a_missing_program_is_named_with_its_purpose_and_package(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = tools.Tool("imagesmith-no-such-tool", "no-such-package", "does nothing")
    monkeypatch.setitem(tools.TOOLS, missing.name, missing)  # type: ignore[arg-type]
    with pytest.raises(ToolMissing) as caught:
        tools.run([missing.name])
    assert str(caught.value) == "imagesmith-no-such-tool, which does nothing, is not installed"
    assert caught.value.hint == "apt-get install no-such-package"


def test_a_missing_program_that_nobody_listed_is_named_too() -> None:
    with pytest.raises(ToolMissing, match="imagesmith-unlisted is not installed"):
        tools.find("imagesmith-unlisted")


def test_the_working_folder_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "imagesmith-planted", "echo planted")
    (tmp_path / "imagesmith-planted").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ToolMissing):
        tools.find("imagesmith-planted")


def test_every_listed_tool_says_what_it_is_for() -> None:
    assert [tool.name for tool in tools.TOOLS.values() if not (tool.package and tool.purpose)] == []
    assert all(name == tool.name for name, tool in tools.TOOLS.items())


def test_the_programs_that_take_part_are_gathered_while_they_are_looked_up() -> None:
    tools.find("mcopy")
    with tools.taking_part() as whole, tools.taking_part() as inner:
        tools.run(["debugfs", "-V"])
        tools.run(["true"])
    with tools.taking_part() as later:
        tools.find("xz")
    assert (whole, inner, later) == ({"debugfs"}, {"debugfs"}, {"xz"})


# -- running --------------------------------------------------------------------------------------


def test_output_and_exit_code_come_back(program: Path) -> None:
    script(program, 'printf "%s," "$@"; echo told >&2; exit 3')
    done = tools.run(["example", "a b", "$HOME", "`id`"], expect=(3,))
    assert (done.text, done.stderr, done.returncode) == ("a b,$HOME,`id`,", b"told\n", 3)


def test_an_unexpected_exit_code_is_a_failure_with_the_last_words(program: Path) -> None:
    script(program, "for n in 1 2 3 4 5 6 7; do echo line $n >&2; done; exit 4")
    with pytest.raises(ToolFailed) as caught:
        tools.run(["example"])
    assert str(caught.value).startswith("example ended with exit code 4: line 3\n")
    assert str(caught.value).endswith("line 7")


def test_a_silent_failure_says_that_it_was_silent(program: Path) -> None:
    script(program, "exit 1")
    with pytest.raises(ToolFailed, match="no message"):
        tools.run(["example"])


def test_none_takes_every_exit_code(program: Path) -> None:
    script(program, "exit 77")
    assert tools.run(["example"], expect=None).returncode == 77


def test_a_program_killed_by_a_signal_failed(program: Path) -> None:
    script(program, "kill -9 $$")
    with pytest.raises(ToolFailed, match="-9"):
        tools.run(["example"])


def test_the_locale_is_fixed_and_the_rest_of_the_environment_stays(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("KEPT", "yes")
    script(program, 'echo "$LC_ALL $KEPT $GIVEN"')
    assert tools.run(["example"], env={"GIVEN": "too"}).text == "C.UTF-8 yes too\n"


def test_bytes_are_given_as_stdin(program: Path) -> None:
    script(program, "cat")
    assert tools.run(["example"], stdin=b"\x00\xff").stdout == b"\x00\xff"


def test_without_stdin_a_program_that_reads_does_not_wait(program: Path) -> None:
    script(program, "cat; echo done")
    assert tools.run(["example"], timeout_s=10).text == "done\n"


def test_output_can_go_to_a_file(program: Path, tmp_path: Path) -> None:
    script(program, "echo told")
    with (tmp_path / "out").open("wb") as file:
        assert tools.run(["example"], stdout=file).stdout == b""
    assert (tmp_path / "out").read_text() == "told\n"


def test_a_program_that_takes_too_long_is_ended(program: Path) -> None:
    script(program, "exec sleep 60")
    with pytest.raises(tools.TimeoutExpired):
        tools.run(["example"], timeout_s=0.2)


def test_a_program_runs_in_the_folder_it_is_given(program: Path, tmp_path: Path) -> None:
    script(program, "pwd")
    assert tools.run(["example"], cwd=tmp_path).text == f"{tmp_path}\n"


def test_a_started_program_is_the_callers_to_end(program: Path) -> None:
    script(program, "echo $LC_ALL; exec cat")
    process = tools.spawn(["example"], stdin=tools.PIPE)
    try:
        out, _ = process.communicate(b"more", timeout=10)
    finally:
        process.kill()
        process.wait()
    assert out == b"C.UTF-8\nmore"


# -- versions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "version"),
    [
        ("echo example 1.47.2", "1.47.2"),
        ("echo 'mke2fs 1.47.1 (20-May-2024)' >&2", "1.47.1"),
        ("echo 'QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds)'", "10.0.2"),
        ("echo of today; exit 1", "unknown"),
    ],
)
def test_a_version_is_what_a_program_tells_wherever_it_tells_it(program: Path, body: str, version: str) -> None:
    script(program, body)
    assert tools.version("example") == version


def test_the_real_tools_tell_theirs() -> None:
    assert [name for name in ("debugfs", "mcopy", "resize2fs", "xz") if tools.version(name) == "unknown"] == []
