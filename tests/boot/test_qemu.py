"""A guest is always ended and reaped, its console is kept, its power button is pressed. The emulator is a stand-in."""

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.boot import qemu
from imagesmith.errors import IOFailed, NoSpace, ToolMissing

SPEAKS_QMP = """
import json, os, socket, sys, time
control = socket.socket(fileno=int(sys.argv[1]))
lines = control.makefile("rw")
def say(**message):
    lines.write(json.dumps(message) + "\\n"); lines.flush()
print("Linux version 6.12", flush=True)
say(QMP={})
presses = 0
for line in lines:
    command = json.loads(line)["execute"]
    say(event="NOISE")
    say(**{"return": {}})
    presses += command == "system_powerdown"
    if command == "quit" or presses == int(sys.argv[2]):
        print("bye", flush=True)
        sys.exit(0)
"""
DEAF = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""
BROKEN = "import sys; print('cannot open disk', file=sys.stderr); sys.exit(1)"
CHATTY = "import signal, sys\nwhile True: sys.stdout.write('x' * 4096)"


def guest(program: str, *more: str, log: io.BytesIO | None = None, grace_s: float = 1.0) -> qemu.Guest:
    return qemu.Guest(lambda fd: (sys.executable, "-c", program, str(fd), *more), log or io.BytesIO(), grace_s=grace_s)


def everything(running: qemu.Guest) -> bytes:
    heard = b""
    while (data := running.read(5.0)) is not None:
        heard += data
    return heard


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_guest_is_told_to_quit_and_reaped() -> None:
    with guest(SPEAKS_QMP, "99") as running:
        assert running.read(5.0)
    assert not alive(running.pid)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_guest_is_reaped_whatever_happens(error: type[BaseException]) -> None:
    running = guest(SPEAKS_QMP, "99")
    with pytest.raises(error), running:
        raise error
    assert not alive(running.pid)


@pytest.mark.parametrize("program", [DEAF, CHATTY])
def test_a_guest_that_does_not_listen_is_killed(program: str) -> None:
    with guest(program, grace_s=0.3) as running:
        assert running.read(5.0)
    assert not alive(running.pid)


def test_no_guest_outlives_us_even_when_we_are_killed(tmp_path: Path) -> None:
    ours = textwrap.dedent(f"""
        import io, sys, time
        from imagesmith.boot import qemu
        with qemu.Guest(lambda fd: (sys.executable, "-c", {DEAF!r}), io.BytesIO()) as running:
            running.read(10)
            print(running.pid, flush=True)
            time.sleep(60)
    """)
    parent = subprocess.Popen([sys.executable, "-c", ours], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 5
    while alive(child) and time.monotonic() < until and "Z" not in _state(child):
        time.sleep(0.02)
    assert not alive(child) or "Z" in _state(child)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_the_transcript_holds_every_byte_of_the_console() -> None:
    log = io.BytesIO()
    with guest(SPEAKS_QMP, "1", log=log) as running:
        assert running.power_off(10.0)
    assert log.getvalue() == b"Linux version 6.12\nbye\n"


def test_a_transcript_on_a_full_disk_is_named_and_the_guest_still_reaped() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        running = qemu.Guest(lambda fd: (sys.executable, "-c", SPEAKS_QMP, str(fd), "99"), full)
        with pytest.raises(NoSpace, match="/dev/full"), running:
            running.read(5.0)
    assert not alive(running.pid)


def test_a_press_that_was_not_heard_is_repeated() -> None:
    with guest(SPEAKS_QMP, "2") as running:
        assert running.power_off(20.0, press_every_s=0.1)


def test_a_guest_that_stays_up_is_told_apart() -> None:
    with guest(SPEAKS_QMP, "99") as running:
        assert not running.power_off(0.5)


def test_the_end_of_a_guest_is_told_apart_from_silence() -> None:
    with guest("import time; time.sleep(0.5)") as running:
        assert running.read(0.0) == b""
        assert everything(running) == b""
        assert running.read(5.0) is None


def test_an_emulator_that_gives_up_says_why() -> None:
    with guest(BROKEN) as running:
        assert everything(running) == b""
        assert running.last_words() == "cannot open disk"
        assert running.failed_to_start()


@pytest.fixture
def path_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    yield tmp_path


def pretend(folder: Path, version: str) -> None:
    program = folder / "qemu-system-x86_64"
    program.write_text(f"#!/bin/sh\necho 'QEMU emulator version {version} (Debian 1:{version}+dfsg-7)'\n")
    program.chmod(0o755)


@pytest.mark.parametrize("version", ["7.2.22", "9.2.4"])
def test_an_old_qemu_is_refused_with_its_version(path_with: Path, version: str) -> None:
    pretend(path_with, version)
    with pytest.raises(ToolMissing, match=f"is version {version}"):
        qemu.require("qemu-system-x86_64")


@pytest.mark.parametrize("version", ["10.0.2", "11.1.0", "10.1"])
def test_a_new_qemu_is_taken(path_with: Path, version: str) -> None:
    pretend(path_with, version)
    assert qemu.require("qemu-system-x86_64") == version


def test_the_image_takes_no_write_of_its_overlay(tmp_path: Path) -> None:
    image, overlay = tmp_path / "a.img", tmp_path / "o.qcow2"
    image.write_bytes(os.urandom(1 << 20))
    before = image.read_bytes()
    qemu.make_overlay(image, overlay, 1 << 30)
    written = ["qemu-io", "-f", "qcow2", "-c", "write -P 0xaa 0 512k", str(overlay)]
    subprocess.run(written, check=True, stdout=subprocess.DEVNULL)
    assert image.read_bytes() == before
    assert (
        b"1073741824"
        in subprocess.run(["qemu-img", "info", "--output=json", str(overlay)], check=True, capture_output=True).stdout
    )


def test_nothing_of_a_guest_remains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with qemu.scratch() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "disk.qcow2").write_bytes(b"x")
        assert list(tmp_path.iterdir()) == [folder]
    assert not list(tmp_path.iterdir())


def test_a_guests_disk_does_not_lie_in_tmp_which_may_be_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    with qemu.scratch() as folder:
        assert folder.parent == Path("/var/tmp")


def test_a_tmpdir_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    with pytest.raises(IOFailed, match="making a folder for the guest's disk failed") as caught, qemu.scratch():
        pass
    assert caught.value.where == str(tmp_path / "gone")
