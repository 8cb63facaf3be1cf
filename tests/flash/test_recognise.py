"""Looking at what lies on cards: known where udev is not, and never held up by a card that hangs."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from faults.badcard import bad_card
from faults.disks import call, dirty_disk, loop_device, needs_root

from imagesmith.flash.devices import find_device, list_devices
from imagesmith.flash.recognise import probed, with_usage
from imagesmith.model import FileSystem
from imagesmith.tools import own_argv
from imagesmith.units import MiB

pytestmark = needs_root


def test_kind_and_label_are_what_blkid_tells(tmp_path: Path) -> None:
    disk = dirty_disk(tmp_path / "card", 16 * MiB)
    call("mkfs.ext4", "-q", "-L", "my data", disk)
    with loop_device(disk) as device, loop_device(dirty_disk(tmp_path / "other", MiB)) as other:
        assert probed([device, other]) == [("ext4", "my data"), ("", "")]


def test_how_full_a_fat_is(tmp_path: Path) -> None:
    disk = dirty_disk(tmp_path / "card", 16 * MiB)
    call("mkfs.fat", disk)
    (tmp_path / "photo").write_bytes(b"x" * 3 * MiB)
    call("mcopy", "-i", disk, tmp_path / "photo", "::")
    with loop_device(disk) as device:
        found = FileSystem(Path(device).name, "vfat", "", 16 * MiB)
        other = FileSystem("sdx1", "ext4", "", MiB)
        seen = with_usage([found, other])
    assert seen[0].used is not None
    assert 3 * MiB <= seen[0].used < 4 * MiB
    assert seen[1] == other


def test_under_sudo_root_opens_the_card_and_the_user_reads_it(tmp_path: Path) -> None:
    disk = dirty_disk(tmp_path / "card", 16 * MiB)
    call("mkfs.fat", disk)
    with loop_device(disk) as device:
        argv = ["strace", "-e", "trace=openat,setresuid,pread64", *own_argv("imagesmith.flash.recognise", device)]
        environment = {**os.environ, "SUDO_UID": "65534"}
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True, env=environment)
    opened = done.stderr.partition(f'"{device}"')[2]
    assert done.stdout.isdigit()
    assert 0 < opened.find("setresuid(65534, 65534, 65534)") < opened.find("pread64(")


def test_a_card_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    with (
        loop_device(dirty_disk(tmp_path / "good", MiB)) as good,
        bad_card(tmp_path, dirty_disk(tmp_path / "card", 8 * MiB)) as bad,
    ):
        bad.stall()
        try:
            start = time.monotonic()
            listed = list_devices()
            assert time.monotonic() - start < 20
        finally:
            bad.wake()
        assert find_device(good, listed).size == MiB
        assert find_device(bad.device, listed).contents == ()
