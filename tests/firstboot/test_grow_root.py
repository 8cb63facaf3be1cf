"""Growing a mounted root on real partition tables: loop devices, sfdisk, partx, resize2fs.

Where the kernel denies root the growing of mounted file systems (some containers), resize2fs is stood in for and the
tests that need it skip; the boot tests' guests show it then.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from node_folder import NodeFolder

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loop devices and mounts")]

# CAP_SYS_RESOURCE, bit 24 of the effective capabilities.
MAY_RESIZE = bool(int(Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0], 16) & 1 << 24)
needs_resize = pytest.mark.skipif(not MAY_RESIZE, reason="growing mounted file systems is denied here")

MIB = 1024 * 1024
TIB = MIB * MIB
TABLES = {
    "gpt": "label: gpt\nsize=8MiB,type=uefi\nsize=40MiB,type=linux\n",
    "mbr": "label: dos\nsize=8MiB,type=c\nsize=40MiB,type=83\n",
    "followed": "label: gpt\nsize=8MiB,type=uefi\nsize=40MiB,type=linux\nsize=8MiB,type=linux\n",
    # As Ubuntu's and Debian's cloud images: the root is p1, and last on the disk.
    "first": "label: gpt\n14: size=4MiB,type=21686148-6449-6E6F-744E-656564454649\n15: size=4MiB,type=uefi\n"
    "16: size=4MiB,type=linux\n1: size=40MiB,type=linux\n",
    # The same number, and another behind it.
    "first, followed": "label: gpt\n1: size=40MiB,type=linux\n14: size=4MiB,type=linux\n",
}
ROOTS = {"first": 1, "first, followed": 1}
"""Which partition the root is, where it is not p2."""


def command(*argv: object) -> str:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{argv}: {done.stderr}")
    return done.stdout.strip()


@dataclass
class Disk:
    """A disk with a root of 40 MiB, mounted on the node's folder; then the disk grew by 60 MiB."""

    device: str
    node: NodeFolder
    number: int
    image: Path

    @property
    def partition(self) -> Path:
        return Path("/sys/class/block") / f"{Path(self.device).name}p{self.number}"

    @property
    def partition_size(self) -> int:
        return int((self.partition / "size").read_text()) * 512

    @property
    def filesystem_size(self) -> int:
        found = command("findmnt", "-n", "-b", "-o", "SIZE", self.node.root)
        return int(found)

    def grow(self) -> subprocess.CompletedProcess[str]:
        return self.node.run("steps/20-grow-root")


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path, node: NodeFolder) -> Iterator[Disk]:
    image = tmp_path / "disk.img"
    with ExitStack() as undo:
        with image.open("wb") as file:
            file.truncate(64 * MIB)
        subprocess.run(["sfdisk", "-q", image], input=TABLES[request.param], text=True, check=True)
        device = command("losetup", "--find", "--show", image)
        undo.callback(command, "losetup", "-d", device)
        command("partx", "--add", device)
        undo.callback(command, "partx", "--delete", device)
        number = ROOTS.get(request.param, 2)
        command("mke2fs", "-q", "-t", "ext4", f"{device}p{number}")
        command("mount", f"{device}p{number}", node.root)
        undo.callback(command, "umount", node.root)
        with image.open("rb+") as file:
            file.truncate(124 * MIB)
        command("losetup", "--set-capacity", device)
        node.configure()
        for program in ("findmnt", "mount"):
            (node.bin / program).unlink()
        if not MAY_RESIZE:
            node.stand_in("resize2fs", "exit 0")
        yield Disk(device, node, number, image)


@pytest.mark.parametrize("disk", ["gpt", "mbr", "first"], indirect=True)
def test_the_partition_reaches_the_end_of_the_disk(disk: Disk) -> None:
    result = disk.grow()
    assert result.returncode == 0, result.stderr
    assert disk.partition_size > 110 * MIB


@needs_resize
@pytest.mark.parametrize("disk", ["gpt", "mbr"], indirect=True)
def test_the_file_system_fills_the_partition_and_keeps_its_files(disk: Disk) -> None:
    (disk.node.root / "kept").write_text("kept")
    result = disk.grow()
    assert result.returncode == 0, result.stderr
    assert disk.filesystem_size > 90 * MIB
    assert disk.node.read("kept") == "kept"


@pytest.mark.parametrize("disk", ["gpt", "mbr"], indirect=True)
def test_a_second_run_finds_nothing_to_do(disk: Disk) -> None:
    disk.grow()
    before = (disk.partition_size, disk.filesystem_size)
    result = disk.grow()
    assert result.returncode == 0
    assert "already reaches the end" in result.stdout
    assert (disk.partition_size, disk.filesystem_size) == before


@pytest.mark.parametrize("disk", ["gpt", "mbr", "first"], indirect=True)
def test_the_table_on_the_disk_is_sound_and_keeps_its_ids(disk: Disk) -> None:
    number = disk.number
    before = command("sfdisk", "--disk-id", disk.device), command("sfdisk", "--part-type", disk.device, number)
    disk.grow()
    after = command("sfdisk", "--disk-id", disk.device), command("sfdisk", "--part-type", disk.device, number)
    assert after == before
    checked = subprocess.run(["sfdisk", "--verify", disk.device], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@needs_resize
@pytest.mark.parametrize("disk", ["gpt"], indirect=True)
def test_a_run_cut_short_after_the_partition_is_completed_by_the_next(disk: Disk) -> None:
    disk.node.stand_in("resize2fs", "exit 1")
    assert disk.grow().returncode != 0
    (disk.node.bin / "resize2fs").unlink()
    assert disk.grow().returncode == 0
    assert disk.filesystem_size > 90 * MIB


@pytest.mark.parametrize("disk", ["mbr"], indirect=True)
def test_on_a_disk_that_is_too_large_for_its_mbr_the_root_ends_where_the_table_does(disk: Disk) -> None:
    """As a 4 TB disk on a Pi's USB port. sfdisk counts from zero again there, and so makes partitions smaller."""
    disk.node.stand_in("resize2fs", "exit 0")
    os.truncate(disk.image, 3 * TIB)
    command("losetup", "--set-capacity", disk.device)
    result = disk.grow()
    assert result.returncode == 0, result.stderr
    assert 2 * TIB - 64 * MIB < disk.partition_size < 2 * TIB
    assert "2 TiB" in result.stdout
    before = disk.partition_size
    result = disk.grow()
    assert result.returncode == 0, result.stderr
    assert "already reaches the end" in result.stdout
    assert disk.partition_size == before


@pytest.mark.parametrize("disk", ["gpt"], indirect=True)
def test_a_gpt_reaches_the_end_of_a_disk_of_3_tib(disk: Disk) -> None:
    disk.node.stand_in("resize2fs", "exit 0")
    os.truncate(disk.image, 3 * TIB)
    command("losetup", "--set-capacity", disk.device)
    result = disk.grow()
    assert result.returncode == 0, result.stderr
    assert disk.partition_size > 3 * TIB - 64 * MIB


@pytest.mark.parametrize("disk", ["followed", "first, followed"], indirect=True)
def test_a_root_before_another_partition_stays_as_it_is(disk: Disk) -> None:
    before = disk.partition_size
    result = disk.grow()
    assert result.returncode == 0
    assert "is not the last one" in result.stdout
    assert disk.partition_size == before
