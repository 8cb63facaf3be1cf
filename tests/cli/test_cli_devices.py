"""`imagesmith devices` as a person and as a script meet it: the real program, real loop devices."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from faults.disks import call, dirty_disk, loop_device, make_image, mounted, needs_root

from imagesmith.units import MiB

pytestmark = needs_root
COMMAND = [sys.executable, "-m", "imagesmith", "devices"]
PATIENCE_S = 30


def entry(text: str, path: str) -> str:
    """The lines about one device."""
    lines = text.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(f"{path} "))
    end = next((at for at in range(start + 1, len(lines)) if not lines[at].startswith(" ")), len(lines))
    return "\n".join(lines[start:end])


class Watch:
    """A running `devices --watch`, its output read as it comes."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process, self._descriptor, self.text = process, descriptor, ""

    def until(self, right: Callable[[str], bool]) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while not right(self.text):
            assert time.monotonic() < deadline, self.text
            if select.select([self._descriptor], [], [], 0.2)[0]:
                self.text += os.read(self._descriptor, 65536).decode()
        return self.text

    def end(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):
            while data := os.read(self._descriptor, 65536):
                self.text += data.decode()
        return self.process.wait(PATIENCE_S)

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@contextlib.contextmanager
def watching(*options: str, terminal: bool = False) -> Iterator[Watch]:
    ours, theirs = pty.openpty() if terminal else os.pipe()
    with subprocess.Popen([*COMMAND, "--watch", *options], stdout=theirs) as process:
        os.close(theirs)
        try:
            yield Watch(process, ours)
        finally:
            process.kill()
            os.close(ours)


def test_a_card_is_told_with_what_is_on_it(tmp_path: Path) -> None:
    with loop_device(make_image(tmp_path / "i.img", "gpt"), partitions=True) as path:
        told = entry(call(*COMMAND), path)
    assert told.splitlines()[0] == f"{path}  32 MiB"
    assert f"holds {Path(path).name}p1 vfat 8.0 MiB" in told
    assert f"holds {Path(path).name}p2 ext4 22 MiB" in told
    assert "refused" not in told


def test_why_a_device_would_be_refused_and_what_lifts_it(tmp_path: Path) -> None:
    with loop_device(dirty_disk(tmp_path / "disk", 8 * MiB)) as path:
        call("mke2fs", "-q", "-t", "ext4", "-L", "photos", path)
        typed = entry(call(*COMMAND), path)
        with mounted(path, tmp_path / "mnt"):
            used = entry(call(*COMMAND), path)
    name = Path(path).name
    assert f'would be refused: looks like it holds someone\'s data: {name} ext4 "photos", 8.0 MiB' in typed
    assert f"(lifted by typing its name, {name} (with --yes: --allow-fixed-disk))" in typed
    assert f"would be refused: is in use, mounted as {tmp_path / 'mnt'}: unmount it first" in used


def test_what_would_be_unmounted_is_told(tmp_path: Path) -> None:
    with (
        tempfile.TemporaryDirectory(dir="/mnt") as place,
        loop_device(make_image(tmp_path / "i.img", "gpt"), partitions=True) as path,
        mounted(f"{path}p2", Path(place) / "rootfs") as point,
    ):
        told = entry(call(*COMMAND), path)
    assert f"would be unmounted first, after asking: {point}" in told
    assert "refused" not in told


def test_json_has_the_file_systems_and_the_reasons(tmp_path: Path) -> None:
    with loop_device(make_image(tmp_path / "i.img", "dos"), partitions=True) as path:
        devices = json.loads(call(*COMMAND, "--json"))["result"]
    (device,) = [one for one in devices if one["path"] == path]
    assert [one["kind"] for one in device["filesystems"]] == ["vfat", "ext4"]
    assert (device["refusals"], device["unmountable"]) == ([], [])
    assert all(one["kind"] != "part" for one in devices)


def test_a_pipe_gets_the_list_once_and_then_a_line_for_each_change(tmp_path: Path) -> None:
    disk = dirty_disk(tmp_path / "disk", 3 * MiB)
    with watching() as watch:
        watch.until(lambda text: "\n" in text)
        with loop_device(disk) as path:
            watch.until(lambda text: f"appeared: {path}  3.0 MiB; may be flashed\n" in text)
        watch.until(lambda text: f"gone: {path}  3.0 MiB\n" in text)
        assert watch.end() == 0
    assert "\x1b" not in watch.text


def test_a_mount_is_told_as_a_change(tmp_path: Path) -> None:
    with loop_device(dirty_disk(tmp_path / "disk", 5 * MiB)) as path, watching() as watch:
        call("mke2fs", "-q", path)
        watch.until(lambda text: path in text)
        with mounted(path, tmp_path / "mnt"):
            watch.until(lambda text: f"changed: {path}  5.0 MiB; mounted as {tmp_path / 'mnt'}\n" in text)
        assert watch.end() == 0


def test_scripts_get_an_object_a_line_and_at_the_end_the_result(tmp_path: Path) -> None:
    disk = dirty_disk(tmp_path / "disk", 7 * MiB)
    with watching("--json") as watch:
        watch.until(lambda text: "DevicesListed" in text)
        with loop_device(disk) as path:
            watch.until(lambda text: f'"DeviceAppeared", "device": {{"path": "{path}"' in text)
        watch.until(lambda text: f'"DeviceGone", "device": {{"path": "{path}"' in text)
        assert watch.end() == 0
    assert watch.objects[0]["event"] == "DevicesListed"
    appeared = next(one["device"] for one in watch.objects if one.get("event") == "DeviceAppeared")
    assert appeared["refusals"] == []
    assert isinstance(watch.objects[-1]["result"], list)


def test_a_terminal_shows_the_whole_list_anew(tmp_path: Path) -> None:
    disk = dirty_disk(tmp_path / "disk", 9 * MiB)
    with watching(terminal=True) as watch:
        watch.until(lambda text: "Ctrl-C ends it" in text)
        with loop_device(disk) as path:
            watch.until(lambda text: f"appeared: {path}" in text and text.rstrip().endswith("Ctrl-C ends it."))
            last = watch.text.rpartition("\x1b[H\x1b[2J")[2]
            assert last.startswith("/dev/")
            assert "\n" + f"{path}  9.0 MiB" in "\n" + last.replace("\r", "")
        assert watch.end() == 0
