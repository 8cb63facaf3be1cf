"""Cards and images for tests: loop devices that are always detached, dirty disks, small real images with their maps."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.flash.devices import find_device, list_devices
from imagesmith.model import BlockMap, Device, MappedRange
from imagesmith.planning.flash import HEAD_SIZE, SourceImage
from imagesmith.units import MiB

needs_root = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root for loop devices")]
BLOCK = 4096
LOADER = (64 * 1024, 96 * 1024)
"""(offset, size): bytes in front of the partitions, as boards keep their loaders there."""
FAT = (1 * MiB, 8 * MiB)
ROOT = (9 * MiB, 22 * MiB)
IMAGE_SIZE = 32 * MiB


def call(*argv: str | Path, stdin: str = "") -> str:
    """A tool's output; its failure is the test's."""
    done = subprocess.run([str(word) for word in argv], input=stdin, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def random_bytes(size: int, seed: int) -> bytes:
    """The same bytes for the same seed, and no zeros to hide a lost write."""
    return random.Random(seed).randbytes(size)


def dirty_disk(path: Path, size: int) -> Path:
    """A used card: every byte 0xFF."""
    with path.open("wb") as file:
        for _ in range(size // MiB):
            file.write(b"\xff" * MiB)
        file.write(b"\xff" * (size % MiB))
    return path


@contextlib.contextmanager
def loop_device(
    file: Path, *, read_only: bool = False, sector: int = 512, direct: bool = False, partitions: bool = False
) -> Iterator[str]:
    """The path of a loop device over `file`; detached afterwards, its partitions first."""
    options = ["--read-only"] if read_only else []
    options += [f"--direct-io={'on' if direct else 'off'}", f"--sector-size={sector}"]
    device = call("losetup", "--find", "--show", *options, file).strip()
    try:
        if partitions:
            call("partx", "--add", device)
        yield device
    finally:
        subprocess.run(["partx", "--delete", device], check=False, capture_output=True)
        subprocess.run(["losetup", "--detach", device], check=False)


@contextlib.contextmanager
def mounted(device: str, folder: Path) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    call("mount", device, folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=False)


@contextlib.contextmanager
def mounted_elsewhere(device: str, folder: Path) -> Iterator[None]:
    """Mounted in a mount namespace of its own, as in a container: our tables do not show it."""
    folder.mkdir(exist_ok=True)
    script = 'mount "$1" "$2" && echo mounted && exec cat'
    process = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", device, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin and process.stdout
    try:
        assert process.stdout.readline() == b"mounted\n"
        yield
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def listed(path: str) -> Device:
    """The device as imagesmith lists it now."""
    return find_device(path, list_devices())


def make_image(path: Path, label: str, seed: int = 1) -> Path:
    """A disk image with a table (`dos` or `gpt`), a FAT and an ext4 holding random files."""
    path.write_bytes(bytes(IMAGE_SIZE))
    kinds = {"dos": ("c", "83"), "gpt": ("U", "L")}[label]
    places = [
        f"start={at // 512}, size={size // 512}, type={kind}"
        for (at, size), kind in zip((FAT, ROOT), kinds, strict=True)
    ]
    call("sfdisk", "--quiet", path, stdin="\n".join([f"label: {label}", *places]) + "\n")
    with path.open("r+b") as file:
        file.seek(LOADER[0])
        file.write(random_bytes(LOADER[1], seed))
    tree = path.with_suffix(".tree")
    tree.mkdir()
    for number in range(4):
        (tree / f"file{number}").write_bytes(random_bytes(MiB + 4711 * number, seed * 100 + number))
    _fat(path, tree)
    call("mke2fs", "-q", "-t", "ext4", "-d", tree, "-E", f"offset={ROOT[0]}", path, f"{ROOT[1] // 1024}k")
    return path


def _fat(path: Path, tree: Path) -> None:
    part = path.with_suffix(".fat")
    part.write_bytes(bytes(FAT[1]))
    call("mkfs.fat", part)
    call("mcopy", "-i", part, tree / "file0", "::file0")
    with path.open("r+b") as file:
        file.seek(FAT[0])
        file.write(part.read_bytes())


def map_of(path: Path) -> BlockMap:
    """Every block but those that the ext4 itself calls free."""
    return _mapped(path, _free_blocks(path))


def _free_blocks(path: Path) -> set[int]:
    # dumpe2fs takes the `=` in IMAGE?offset=N for a label, so it gets the file system alone.
    part = cut(path, ROOT, path.with_suffix(".root"))
    text = call("dumpe2fs", part)
    size = int(re.search(r"Block size:\s+(\d+)", text)[1])  # type: ignore[index]
    found: set[int] = set()
    for ranges in re.findall(r"^  Free blocks: (.+)$", text, re.MULTILINE):
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", ranges):
            start = -(-(ROOT[0] + int(first) * size) // BLOCK)
            end = (ROOT[0] + (int(last or first) + 1) * size) // BLOCK
            found.update(range(start, end))
    assert found
    return found


def cut(disk: Path, place: tuple[int, int], part: Path) -> Path:
    """One file system of a disk as a file of its own."""
    with disk.open("rb") as file:
        file.seek(place[0])
        part.write_bytes(file.read(place[1]))
    return part


def _mapped(path: Path, free: set[int]) -> BlockMap:
    size = path.stat().st_size
    ranges: list[MappedRange] = []
    with path.open("rb") as file:
        first = None
        for block in range(-(-size // BLOCK) + 1):
            used = block * BLOCK < size and block not in free
            if used and first is None:
                first = block
            elif not used and first is not None:
                file.seek(first * BLOCK)
                digest = hashlib.sha256(file.read((block - first) * BLOCK)).hexdigest()
                ranges.append(MappedRange(first, block - 1, digest))
                first = None
    return BlockMap(size, BLOCK, tuple(ranges))


def image_of(path: Path, block_map: BlockMap | None = None) -> SourceImage:
    with path.open("rb") as file:
        return SourceImage(path, path.stat().st_size, file.read(HEAD_SIZE), block_map)
