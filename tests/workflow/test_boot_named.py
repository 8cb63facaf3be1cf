"""Which image `boot` takes, and what it says when there is none that it may take. No guest is started here."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from imagesmith.boot.report import BootReport, Broken, PromisesBroken
from imagesmith.errors import BootFailed, IOFailed, ToolMissing, UsageError
from imagesmith.formats import manifest
from imagesmith.formats.canonical import plan_id, to_plain
from imagesmith.model import (
    Base,
    BuildPlan,
    Digest,
    FileSource,
    Image,
    Node,
    Promise,
    QemuMachine,
)
from imagesmith.units import GiB, MiB
from imagesmith.workflow.boot import Request, boot, boot_named, missing_step, require
from imagesmith.workflow.built import Built, record_build

PI3 = QemuMachine("raspi3b", "cortex-a53", 4, GiB, "kernel", "sd", "usb", "ttyAMA0")


def plan(machine: QemuMachine | None) -> BuildPlan:
    return BuildPlan(
        name="node-1",
        node=Node("node-1", "p"),
        role="worker",
        profile="p",
        board="b",
        architecture="arm64",
        base=Base("base", "debian", FileSource("/base.img")),
        edits=(),
        promises=(),
        machine=machine,
    )


def image(folder: Path, machine: QemuMachine | None = PI3, *, told: bool = True) -> Path:
    """An image that has a partition table and nothing to start, with its manifest beside it."""
    path = folder / "node-1.img"
    path.touch()
    os.truncate(path, 16 * MiB)
    table = "label: dos\nstart=2048, size=2048, type=83\n"
    subprocess.run(["/usr/sbin/sfdisk", "-q", str(path)], input=table.encode(), check=True)
    with path.open("r+b") as out:
        out.seek(MiB)
        out.write(os.urandom(MiB))
    if told:
        data, made = path.read_bytes(), plan(machine)
        plain = to_plain(made)
        assert isinstance(plain, dict)
        record = manifest.Manifest(
            imagesmith="0",
            name="node-1",
            plan_id=plan_id(made),
            plan=plain,
            architecture="arm64",
            hostname="node-1",
            epoch=1,
            base=manifest.BaseRecord(Digest.of(b""), None, "made for a test", 1),
            image=manifest.ImageRecord(len(data), Digest.of(data)),
            block_map="node-1.bmap",
            files=(),
            packages=(),
            tools={},
            machine=machine,
            promises=(),
        )
        path.with_name("node-1.manifest.json").write_bytes(manifest.encode(record))
    return path


def current(built: Built) -> str:
    return plan_id(plan(PI3))


def test_a_path_is_booted_by_the_manifest_beside_it(tmp_path: Path) -> None:
    with pytest.raises(BootFailed, match="no FAT partition"):
        boot_named(Request(str(image(tmp_path)), tmp_path), current_plan_id=current)


def test_an_image_that_nothing_describes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no manifest lies beside it"):
        boot_named(Request(str(image(tmp_path, told=False)), tmp_path), current_plan_id=current)


def test_a_board_that_qemu_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no machine that resembles"):
        boot_named(Request(str(image(tmp_path, None)), tmp_path), current_plan_id=current)


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(IOFailed, match=r"nowhere\.img"):
        boot_named(Request(str(tmp_path / "nowhere.img"), tmp_path), current_plan_id=current)


def test_a_target_that_was_never_built_is_not_built_silently(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none was built for it"):
        boot_named(Request("rpi3-worker", tmp_path), current_plan_id=current)


def built(folder: Path, made_of: str) -> None:
    path = image(folder)
    side = path.with_name("node-1.manifest.json")
    digest = Digest.of(path.read_bytes())
    record_build(folder, [Image("node-1", path, None, 16 * MiB, digest, made_of, path, side)])


def test_a_target_means_the_image_built_for_it(tmp_path: Path) -> None:
    built(tmp_path, plan_id(plan(PI3)))
    with pytest.raises(BootFailed, match="no FAT partition"):
        boot_named(Request("node-1", tmp_path), current_plan_id=current)


def test_a_stale_image_is_refused(tmp_path: Path) -> None:
    built(tmp_path, plan_id(plan(PI3)))
    with pytest.raises(UsageError, match="built from an older plan"):
        boot_named(Request("node-1", tmp_path), current_plan_id=lambda _: plan_id(plan(None)))


def test_a_transcript_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    request = Request(str(image(tmp_path)), tmp_path, tmp_path / "missing" / "console.log")
    with pytest.raises(IOFailed, match=r"missing/console\.log"):
        boot_named(request, current_plan_id=current)


@pytest.mark.parametrize("name", ["node-1.img", "node-1.manifest.json", "link.log"])
def test_a_transcript_replaces_neither_the_image_nor_another_file(tmp_path: Path, name: str) -> None:
    path = image(tmp_path)
    (tmp_path / "link.log").symlink_to(path)
    before = (tmp_path / name).read_bytes()
    with pytest.raises(UsageError, match=r"the image itself|there already"):
        boot_named(Request(str(path), tmp_path, tmp_path / name), current_plan_id=current)
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize(
    ("reached", "missing"),
    [
        ((), "kernel"),
        (("kernel",), "userspace"),
        (("userspace",), "report"),
        (("kernel", "userspace"), "report"),
    ],
)
def test_the_first_step_that_is_missing(reached: tuple[str, ...], missing: str) -> None:
    assert missing_step(reached) == missing


def test_broken_promises_are_all_in_the_error_and_in_its_data() -> None:
    broken = (Broken(Promise("a", "present"), None), Broken(Promise("b", "equals", "1"), "2"))
    report = BootReport(False, "q35", {"b": "2"}, (), broken, {}, (), (), True, Path("x.log"), ("last line",))
    with pytest.raises(PromisesBroken) as caught:
        require(report)
    text = str(caught.value)
    assert "2 promises broken on q35" in text
    assert "promised: a is there" in text
    assert "promised: b is 1; the guest says '2'" in text
    assert "| last line" in text
    assert caught.value.exit_code == 10
    data = json.loads(json.dumps(caught.value.facts()))
    assert data["report"]["facts"] == {"b": "2"}
    assert require(replace(report, passed=True)).machine == "q35"


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for QEMU on PATH: tells a version, then prints a file on its console and does as it says."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "qemu-system-x86_64"


def acts(emulator: Path, body: str) -> None:
    emulator.write_text(
        f"#!{sys.executable}\nimport hashlib, sys, time\n"
        "if '--version' in sys.argv: sys.exit(print('QEMU emulator version 10.0.2'))\n"
        "nonce = next(w for w in sys.argv if 'imagesmith.nonce=' in w).split('=')[-1]\n"
        "def say(*lines):\n    for line in lines: print(line, end='\\r\\n', flush=True)\n"
        "def report(*facts, nonce=nonce):\n"
        "    end = hashlib.sha256((''.join(f + '\\n' for f in facts) + nonce).encode()).hexdigest()\n"
        "    say(*(f'IMAGESMITH {nonce} {w}' for w in ('BEGIN', *facts, f'END {len(facts)} {end}')))\n" + body
    )
    emulator.chmod(0o755)


Q35 = QemuMachine("q35", "max", 2, GiB, "uefi", "virtio", "virtio", "ttyS0", unproven=("real disks",), deadline_s=30)


def run(folder: Path, deadline_s: float = 0) -> BootReport:
    path = image(folder, told=False)
    promises = [Promise("hostname", "equals", "node-1")]
    log = folder / "console.log"
    return boot(path, Q35, promises, architecture="amd64", transcript=log, deadline_s=deadline_s)


uefi = pytest.mark.skipif(not Path("/usr/share/OVMF").is_dir(), reason="ovmf is not installed")


@uefi
def test_a_guest_that_reports_and_goes_down_passes(emulator: Path, tmp_path: Path) -> None:
    acts(emulator, "say('Linux version 6.12', 'Welcome to Debian'); report('hostname=node-1'); sys.exit()")
    report = run(tmp_path)
    assert report.passed
    assert report.powered_off
    assert list(report.seconds) == ["kernel", "userspace", "report"]
    assert report.unproven == ("real disks",)
    assert b"Welcome to Debian" in report.transcript.read_bytes()


@uefi
def test_a_guest_that_keeps_no_promise_does_not_pass(emulator: Path, tmp_path: Path) -> None:
    acts(emulator, "report('hostname=other'); sys.exit()")
    report = run(tmp_path)
    assert not report.passed
    assert report.broken[0].found == "other"


@uefi
def test_a_guest_that_only_prints_what_it_was_given_fails(emulator: Path, tmp_path: Path) -> None:
    acts(emulator, "say('IMAGESMITH ' + nonce, nonce, 'IMAGESMITH ' + nonce + ' hostname=node-1'); time.sleep(60)")
    with pytest.raises(BootFailed, match="the kernel's first line did not come within 0 s"):
        run(tmp_path, deadline_s=1.5)


@uefi
def test_a_report_for_another_nonce_fails_and_the_console_is_quoted(emulator: Path, tmp_path: Path) -> None:
    acts(emulator, "say('vm login: '); report('hostname=node-1', nonce='0' * 32); time.sleep(60)")
    with pytest.raises(BootFailed, match="the report of the finished first boot did not come within 2 s") as caught:
        run(tmp_path, deadline_s=2)
    assert "  | vm login:" in str(caught.value)
    assert f"the whole console is in {tmp_path / 'console.log'}" in caught.value.hint


@uefi
def test_a_panic_fails_at_once(emulator: Path, tmp_path: Path) -> None:
    acts(emulator, "say('Linux version 6.12', 'Kernel panic - not syncing: no init'); time.sleep(60)")
    with pytest.raises(BootFailed, match="the kernel panicked, 0 s after the start"):
        run(tmp_path)


@uefi
def test_a_guest_that_restarts_before_its_report_fails(emulator: Path, tmp_path: Path) -> None:
    acts(emulator, "say('Linux version 6.12'); sys.exit(0)")
    with pytest.raises(BootFailed, match="switched itself off or restarted before a word from systemd"):
        run(tmp_path)


@uefi
def test_an_emulator_that_does_not_start_says_why(emulator: Path, tmp_path: Path) -> None:
    acts(emulator, "sys.exit('could not open disk image')")
    with pytest.raises(BootFailed, match="QEMU gave up before the kernel's first line: could not open disk image"):
        run(tmp_path)


@uefi
def test_the_image_is_as_it_was(emulator: Path, tmp_path: Path) -> None:
    acts(emulator, "report('hostname=node-1'); sys.exit()")
    path = image(tmp_path, told=False)
    before = path.read_bytes(), path.stat().st_mtime_ns
    boot(path, Q35, [], architecture="amd64", transcript=tmp_path / "log")
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_qemu_that_is_too_old_is_not_used(emulator: Path, tmp_path: Path) -> None:
    emulator.write_text("#!/bin/sh\necho QEMU emulator version 7.2.22\n")
    emulator.chmod(0o755)
    with pytest.raises(ToolMissing, match=r"7\.2\.22"):
        run(tmp_path)
