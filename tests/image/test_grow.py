"""Growing the root offline: nothing is lost, the tables are right for sfdisk, and the tail is not cut off."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from made_disks import EPOCH, SBIN, Disk, MiB, assemble, make_ext4, noise, tool

from imagesmith.errors import EditFailed
from imagesmith.image.grow import grow_root
from imagesmith.image.raw import RawImage

Fresh = Callable[..., Disk]


def grow(disk: Disk, at_least: int) -> bool:
    with RawImage(disk.path, writable=True) as raw:
        done = grow_root(raw, at_least, epoch=EPOCH)
        disk.sizes["root"] = raw.volume("root").partition.size
    return done


def partitions(disk: Disk) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(tool("sfdisk", "--json", disk.path))["partitiontable"]["partitions"]
    return found


@pytest.mark.parametrize("name", ["mbr", "gpt", "gpt4k"])
def test_the_root_grows_and_keeps_its_files(fresh: Fresh, tmp_path: Path, name: str) -> None:
    disk = fresh(name)
    other = "boot" if name == "mbr" else "esp"
    before = disk.extract(other, tmp_path / "before").read_bytes()
    first_sector = disk.path.read_bytes()[:440]
    assert grow(disk, 300 * MiB)
    root = disk.extract("root", tmp_path / "root.ext4")
    assert root.stat().st_size >= 300 * MiB
    assert "clean" in tool("e2fsck", "-n", root)
    tool("e2fsck", "-fn", root)
    assert int(tool("dumpe2fs", "-h", root).split("Block count:")[1].split()[0]) * 4096 >= 300 * MiB
    tool("debugfs", "-R", f"dump /usr/lib/noise {tmp_path}/noise", root)
    assert (tmp_path / "noise").read_bytes() == noise(3 * MiB)
    assert disk.extract(other, tmp_path / "after").read_bytes() == before
    assert disk.path.read_bytes()[:440] == first_sector


def test_sfdisk_sees_the_new_size_and_the_old_start(fresh: Fresh) -> None:
    disk = fresh("mbr")
    before = partitions(disk)
    grow(disk, 100 * MiB)
    after = partitions(disk)
    assert after[0] == before[0]
    assert after[1]["start"] == before[1]["start"] and after[1]["size"] == 100 * MiB // 512


@pytest.mark.parametrize("name", ["gpt", "gpt4k"])
def test_both_copies_of_a_gpt_are_right(fresh: Fresh, name: str) -> None:
    disk = fresh(name)
    grow(disk, 100 * MiB)
    # sgdisk knows only sectors of 512 bytes in a file; fdisk tells of a copy that is missing or wrong.
    if name == "gpt":
        assert "No problems found" in tool("sgdisk", "-v", disk.path)
    argv = ["fdisk", "-b", "512" if name == "gpt" else "4096", "-l", disk.path]
    done = subprocess.run(argv, env=SBIN, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr and "Linux filesystem" in done.stdout
    assert disk.path.read_bytes().count(b"EFI PART") == 2


def test_what_is_large_enough_is_left_alone(fresh: Fresh) -> None:
    disk = fresh("mbr")
    before = disk.path.read_bytes()
    assert not grow(disk, 48 * MiB)
    assert disk.path.read_bytes() == before


def test_a_root_that_is_not_last_is_refused(parts: dict[str, Path], tmp_path: Path) -> None:
    disk = assemble(tmp_path / "x.img", "gpt", [("root", parts["ext4"], "linux"), ("esp", parts["esp"], "uefi")])
    with pytest.raises(EditFailed, match=r"partition 1 .* is behind it|partition 2 .* is behind it"):
        grow(disk, 200 * MiB)


def test_what_is_written_at_the_tail_survives(tmp_path: Path, parts: dict[str, Path]) -> None:
    """resize2fs would cut off as much as lies before the root, with the last groups' inode tables in it."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/etc").mkdir()
    root = make_ext4(tmp_path / "r.ext4", 16 * MiB, tmp_path / "tree", "-O", "^flex_bg", "-b", "1024")
    disk = assemble(tmp_path / "x.img", "dos", [("boot", parts["fat"], "c"), ("root", root, "83")], tail=0)
    grow(disk, 40 * MiB)
    tool("e2fsck", "-fn", disk.extract("root", tmp_path / "after.ext4"))
    assert disk.path.stat().st_size == disk.offsets["root"] + 40 * MiB


def test_growing_twice_a_second_apart_gives_the_same_bytes(fresh: Fresh) -> None:
    digests = []
    for _ in range(2):
        disk = fresh("gpt")
        grow(disk, 100 * MiB)
        digests.append(hashlib.sha256(disk.path.read_bytes()).hexdigest())
        time.sleep(1.1)
    assert digests[0] == digests[1]
