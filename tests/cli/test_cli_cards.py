"""`imagesmith probe` and `wipe` as a person and as a script meet them: the real program, real loop devices."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults.badcard import bad_card
from faults.disks import dirty_disk, loop_device, make_image, needs_root

from imagesmith.flash.devices import list_devices
from imagesmith.units import MiB

pytestmark = needs_root
fuse = pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="needs FUSE for the bad card")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "imagesmith", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=120)


def typed(answer: str, *words: str) -> tuple[int, str]:
    """Exit code and all that is shown, with `answer` typed at a terminal."""
    theirs, ours = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "imagesmith", *words], stdin=ours, stdout=ours, stderr=ours, close_fds=True
    )
    os.close(ours)
    os.write(theirs, answer.encode() + b"\n")
    shown = b""
    while True:
        try:
            shown += os.read(theirs, 65536)
        except OSError:
            break
    os.close(theirs)
    return process.wait(60), shown.decode()


def test_a_sound_card_is_told_in_one_line_that_does_not_claim_more(tmp_path: Path) -> None:
    with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
        told = run("probe", "--yes", device)
    assert told.returncode == 0, told.stderr
    assert len(told.stdout.splitlines()) == 1
    assert told.stdout.startswith(f"{device}: kept the ")
    assert "only --full tests all" in told.stdout
    assert "MiB/s" in told.stdout


def test_a_full_test_tells_that_it_was_one(tmp_path: Path) -> None:
    with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
        told = run("probe", "--full", "--yes", device)
    assert told.stdout.startswith(f"{device}: kept every byte of its 40 MiB;")


def test_probe_answers_in_json(tmp_path: Path) -> None:
    with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
        told = run("probe", "--yes", "--json", device)
    result = json.loads(told.stdout.splitlines()[-1])["result"]
    assert result["device"]["path"] == device
    assert not result["full"]
    assert 16 * MiB < result["tested"] < 40 * MiB
    assert result["write_rate"] > 0 < result["read_rate"]


@fuse
def test_a_fake_card_has_exit_code_7_and_says_what_it_has(tmp_path: Path) -> None:
    with bad_card(tmp_path, dirty_disk(tmp_path / "card", 40 * MiB)) as card:
        card.arm("wrap", 0, 24 * MiB)
        plain, told = run("probe", "--yes", card.device), run("probe", "--yes", "--json", card.device)
    assert plain.returncode == told.returncode == 7
    assert "has 24 MiB" in plain.stderr
    assert plain.stdout == ""
    error = json.loads(told.stdout.splitlines()[-1])["error"]
    assert error["kind"] == "ReadbackDiffers"
    assert f"{24 * MiB} bytes" in error["message"]


@fuse
def test_a_failing_card_has_exit_code_6(tmp_path: Path) -> None:
    with bad_card(tmp_path, dirty_disk(tmp_path / "card", 40 * MiB)) as card:
        card.arm("read_eio", 8 * MiB, 8 * MiB + 4096)
        told = run("probe", "--yes", card.device)
    assert told.returncode == 6
    assert "byte " in told.stderr


@pytest.mark.parametrize("command", ["probe", "wipe"])
def test_nobody_to_ask_means_nothing_is_written(tmp_path: Path, command: str) -> None:
    disk = make_image(tmp_path / "disk", "dos")
    before = disk.read_bytes()
    with loop_device(disk) as device:
        told = run(command, device)
    assert told.returncode == 2
    assert "--yes" in told.stderr
    assert disk.read_bytes() == before


@pytest.mark.parametrize("command", ["probe", "wipe"])
def test_the_system_disk_is_refused_whatever_the_flags(command: str) -> None:
    system = next((one for one in list_devices() if one.holds_system and one.kind == "disk"), None)
    if system is None:
        pytest.skip("no disk here holds the system")
    told = run(command, "--yes", "--allow-fixed-disk", system.path)
    assert told.returncode == 5
    assert "holds the running system" in told.stderr


@pytest.mark.parametrize("command", ["probe", "wipe"])
def test_only_the_expected_answer_at_a_terminal_means_go(tmp_path: Path, command: str) -> None:
    disk = make_image(tmp_path / "disk", "dos")
    before = disk.read_bytes()
    with loop_device(disk) as device:
        code, shown = typed("y", command, device)
        assert code == 130
        assert "nothing was written" in shown
        assert disk.read_bytes() == before
        code, shown = typed("yes", command, device)
    assert code == 0, shown
    assert f"Type yes to {'test' if command == 'probe' else 'wipe'} it" in shown
    assert disk.read_bytes()[:MiB] == bytes(MiB)


def test_wipe_says_that_data_stays_and_what_overwrites_it(tmp_path: Path) -> None:
    with loop_device(make_image(tmp_path / "disk", "gpt")) as device:
        told = run("wipe", "--yes", device)
        assert "start and end of 2 partitions" in told.stdout
        assert "only --full overwrites it" in told.stdout
        full = run("wipe", "--full", "--yes", device)
    assert "all 32 MiB are zeros" in full.stdout
    assert "beyond the reach of any program" in full.stdout


def test_wipe_answers_in_json(tmp_path: Path) -> None:
    with loop_device(make_image(tmp_path / "disk", "gpt")) as device:
        told = run("wipe", "--yes", "--json", device)
    result = json.loads(told.stdout.splitlines()[-1])["result"]
    assert (result["full"], result["partitions"]) == (False, 2)
    assert result["zeros"] < 5 * MiB


@fuse
@pytest.mark.parametrize("words", [["probe", "--full"], ["wipe", "--full"]])
def test_ctrl_c_on_a_card_that_hangs_ends_within_two_seconds(tmp_path: Path, words: list[str]) -> None:
    with bad_card(tmp_path, dirty_disk(tmp_path / "card", 40 * MiB)) as card:
        servers = [int(pid.name) for pid in Path("/proc").iterdir() if pid.name.isdigit() and _serves(pid, tmp_path)]
        argv = [sys.executable, "-m", "imagesmith", *words, "--yes", card.device]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stderr
        try:
            for line in process.stderr:
                if line.startswith("write"):
                    break
            for server in servers:
                os.kill(server, signal.SIGSTOP)
            time.sleep(0.3)
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            process.wait(20)
            assert time.monotonic() - begun < 2.5
        finally:
            for server in servers:
                os.kill(server, signal.SIGCONT)
        assert servers
        assert process.returncode == 130


def _serves(process: Path, folder: Path) -> bool:
    """Whether the process is the bad card's server for a card in `folder`."""
    try:
        words = (process / "cmdline").read_bytes().decode().split("\0")
    except OSError:
        return False
    return str(folder / "badcard") in words


def test_a_killed_probe_leaves_a_blank_start(tmp_path: Path) -> None:
    disk = dirty_disk(tmp_path / "card", 200 * MiB)
    with loop_device(disk) as device:
        argv = [sys.executable, "-m", "imagesmith", "probe", "--full", "--yes", device]
        process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        assert process.stderr
        # The pattern lies on the card's start from here on.
        assert any(line.startswith("read everything") for line in process.stderr)
        begun = disk.read_bytes()[:MiB]
        process.kill()
        process.wait(10)
        _wait_for_lock(device)
        assert begun != bytes(MiB)
        assert disk.read_bytes()[:MiB] == bytes(MiB)


def _wait_for_lock(device: str) -> None:
    """Until the card's writer, which outlives its conductor for a moment, let go of the card."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.close(os.open(device, os.O_RDWR | os.O_EXCL))
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the card's writer did not end")
