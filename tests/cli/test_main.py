"""The one place where a failure is shown: its exit code, its words, its JSON, and never a traceback unasked."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import pytest

from imagesmith import errors
from imagesmith.cli.main import main, run
from imagesmith.cli.options import json_option
from imagesmith.errors import ImagesmithError

IMAGESMITH = (sys.executable, "-m", "imagesmith")


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test in an empty folder, without an inventory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMAGESMITH_DEBUG", raising=False)
    return tmp_path


def failing(error: BaseException) -> click.Command:
    """A command that fails with `error`."""

    @click.command()
    @json_option
    def command(as_json: bool) -> None:
        raise error

    return command


def every_class() -> list[type[ImagesmithError]]:
    return [ImagesmithError, *_below(ImagesmithError)]


def _below(kind: type[ImagesmithError]) -> list[type[ImagesmithError]]:
    found = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return found + [deeper for child in found for deeper in _below(child)]


# -- exit codes and words -------------------------------------------------------------------------


def test_an_unknown_command_is_a_usage_error_with_a_guess(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flahs"]) == 2
    told = capsys.readouterr()
    assert "there is no command 'flahs'; did you mean 'flash'?" in told.err
    assert told.out == ""


def test_a_missing_argument_names_it_and_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify"]) == 2
    told = capsys.readouterr().err
    assert "Missing argument 'IMAGE'" in told
    assert "imagesmith verify --help" in told


def test_an_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "qemu-x86-worker", "--bsae", "debian"]) == 2
    assert "--bsae" in capsys.readouterr().err


def test_a_broken_profile_tells_every_mistake_with_its_line(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inside / "mine.yaml").write_text("schema: 1\ntitle: mine\nboard: rpi33\nrole: workr\n")
    assert main(["plan", "./mine.yaml"]) == 2
    told = capsys.readouterr().err
    assert "mine.yaml:3: board: there is no board 'rpi33'; did you mean 'rpi3'?" in told
    assert "mine.yaml:4: role: 'workr'" in told


def test_missing_tools_are_named_with_the_line_that_installs_them(inside: Path) -> None:
    done = subprocess.run(
        [*IMAGESMITH, "doctor"],
        env={**os.environ, "PATH": str(inside)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 9
    assert "mmdebstrap" in done.stderr
    # On Debian 12 it is the script that gets some of them from backports.
    assert "what to do: apt-get install" in done.stderr or "install-system.sh" in done.stderr


@pytest.mark.parametrize("kind", every_class(), ids=lambda kind: kind.__name__)
def test_every_class_ends_with_its_code_here_and_in_json(
    kind: type[ImagesmithError], capsys: pytest.CaptureFixture[str]
) -> None:
    problem = errors.Problem("some.yaml", 3, "board", "is wrong", "do this")
    error = kind([problem]) if kind is errors.DocumentInvalid else kind("something is wrong", hint="do this")  # type: ignore[arg-type]
    code = run(failing(error), ["--json"])
    told = capsys.readouterr()
    assert code == kind.exit_code
    last = json.loads(told.out.splitlines()[-1])["error"]
    assert (last["kind"], last["exit_code"]) == (kind.__name__, code)
    assert "is wrong" in last["message"]
    assert "do this" in told.err


def test_the_hint_stands_below_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    run(failing(errors.NoSpace("the disk is full", where="/some/disk", hint="remove something")), [])
    told = capsys.readouterr()
    assert told.err.splitlines() == ["error: /some/disk: the disk is full", "       what to do: remove something"]
    assert told.out == ""


def test_json_problems_are_listed_one_by_one(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inside / "mine.yaml").write_text("schema: 1\ntitle: mine\nboard: rpi33\nrole: worker\n")
    assert main(["plan", "./mine.yaml", "--json"]) == 2
    error = json.loads(capsys.readouterr().out.splitlines()[-1])["error"]
    assert [(one["file"], one["line"], one["path"]) for one in error["problems"]] == [("mine.yaml", 3, "board")]


# -- bugs -----------------------------------------------------------------------------------------


def test_a_bug_is_told_as_one_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(failing(ZeroDivisionError("of course")), []) == 1
    told = capsys.readouterr().err
    assert "this is a bug in imagesmith: ZeroDivisionError: of course" in told
    assert "IMAGESMITH_DEBUG=1" in told
    assert "Traceback" not in told


def test_a_bug_shows_its_traceback_when_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGESMITH_DEBUG", "1")
    assert run(failing(ZeroDivisionError("of course")), []) == 1
    assert "Traceback" in capsys.readouterr().err


# -- stopped --------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_130(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(failing(error), ["--json"]) == 130
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "Interrupted"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_130_and_no_traceback(inside: Path, number: signal.Signals) -> None:
    # A profile that is a pipe keeps the command waiting in the middle of its work.
    pipe = inside / "pipe.yaml"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [*IMAGESMITH, "plan", "./pipe.yaml"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    held: list[int] = []
    # Opening for writing returns once the command has opened it for reading.
    opener = threading.Thread(target=lambda: held.append(os.open(pipe, os.O_WRONLY)), daemon=True)
    opener.start()
    try:
        opener.join(60)
        assert held, "the command never opened its profile"
        time.sleep(0.1)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        for descriptor in held:
            os.close(descriptor)
    assert process.returncode == 130
    assert "error: stopped" in err
    assert "Traceback" not in err
    assert out == ""


# -- stdout that went away ------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("profiles",), ("plan", "qemu-x86-worker"), ("plan", "qemu-x86-worker", "--json")])
def test_a_closed_stdout_ends_quietly(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([*IMAGESMITH, *words], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 6


@pytest.mark.parametrize("words", [("profiles",), ("profiles", "--json"), ("plan", "no-such", "--json")])
def test_a_full_stdout_ends_without_a_traceback(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*IMAGESMITH, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == (2 if "no-such" in words else 8)
    assert done.stderr.startswith("error: ")
    assert "Exception" not in done.stderr
    assert "bug" not in done.stderr


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_stream_does_not_change_the_exit_code_of_a_failure(stream: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*IMAGESMITH, "flahs"], check=False, **{stream: full})  # type: ignore[call-overload]
    assert done.returncode == 2


def test_streams_closed_from_the_start_are_no_bug() -> None:
    done = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *IMAGESMITH, "profiles"], check=False)
    assert done.returncode == 0


# -- what the system refuses ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code"), [(errno.EACCES, 6), (errno.ENAMETOOLONG, 6), (errno.ENOSPC, 8), (errno.EDQUOT, 8)]
)
def test_what_the_system_refuses_names_the_path(number: int, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(failing(OSError(number, os.strerror(number), "some/path")), []) == code
    told = capsys.readouterr().err
    assert told.startswith(f"error: some/path: {os.strerror(number)}")
    assert "what to do:" in told
    assert "bug" not in told


@pytest.mark.parametrize("words", [("boot",), ("verify",), ("inspect",), ("plan",)])
def test_a_name_that_is_too_long_is_no_bug(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "./" + "x" * 300 + ".yaml"]) in (2, 6)
    assert "bug" not in capsys.readouterr().err
