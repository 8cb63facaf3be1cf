"""A card that was mounted since it was written is called that; one that decayed is not, mounted or not."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.disks import FAT, LOADER, ROOT, call, cut, dirty_disk, loop_device, make_image, map_of, needs_root
from image.made_disks import flip

from imagesmith.errors import ReadbackDiffers
from imagesmith.events import unheard
from imagesmith.formats import bmap
from imagesmith.units import MiB
from imagesmith.workflow.verify import verify_device

pytestmark = needs_root
SIZE = 40 * MiB


@contextlib.contextmanager
def written(folder: Path, label: str = "gpt") -> Iterator[tuple[Path, str]]:
    """An image with its map, and a card that holds it."""
    image = make_image(folder / "i.img", label)
    (folder / "i.bmap").write_text(bmap.encode(map_of(image)))
    disk = dirty_disk(folder / "card", SIZE)
    with loop_device(disk) as device:
        call("bmaptool", "copy", "--bmap", folder / "i.bmap", image, device)
        assert verify_device(image, device, unheard)
        yield image, device


def live(device: str, folder: Path, times: int = 1, place: tuple[int, int] = ROOT) -> None:
    """Mount the card's root, write to it, unmount it."""
    folder.mkdir(exist_ok=True)
    for number in range(times):
        call("mount", "-o", f"loop,offset={place[0]},sizelimit={place[1]}", device, folder)
        try:
            (folder / f"machine-id{number}").write_bytes(os.urandom(8192))
        finally:
            call("umount", folder)


def told(image: Path, device: str) -> ReadbackDiffers:
    with pytest.raises(ReadbackDiffers) as caught:
        verify_device(image, device, unheard)
    return caught.value


@pytest.mark.parametrize("label", ["dos", "gpt"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_card_that_was_mounted_is_called_that(tmp_path: Path, label: str, times: int) -> None:
    with written(tmp_path, label) as (image, device):
        live(device, tmp_path / "root", times)
        error = told(image, device)
    assert "has been booted (or mounted) since it was written" in error.what
    assert f"partition 2 was mounted {times} time{'s' if times > 1 else ''}, last on 20" in error.what
    assert "is its own life, not damage" in error.what
    assert error.facts()["kind"] == "ReadbackDiffers"
    assert error.exit_code == 7


def test_without_a_map_it_is_called_that_too(tmp_path: Path) -> None:
    with written(tmp_path) as (image, device):
        (tmp_path / "i.bmap").unlink()
        call("dd", f"if={image}", f"of={device}", "bs=1M", "status=none", "conv=fsync")
        live(device, tmp_path / "root")
        assert "its own life" in told(image, device).what


def test_a_packed_image_tells_the_same(tmp_path: Path) -> None:
    with written(tmp_path) as (image, device):
        live(device, tmp_path / "root")
        call("xz", "-0", image)
        assert "its own life" in told(tmp_path / "i.img.xz", device).what


def test_a_card_that_is_mounted_now_is_called_that(tmp_path: Path) -> None:
    with written(tmp_path) as (image, device):
        live(device, tmp_path / "root")
        call("mount", "-o", f"loop,offset={ROOT[0]},sizelimit={ROOT[1]}", device, tmp_path / "root")
        try:
            (tmp_path / "root" / "more").write_bytes(os.urandom(8192))
            call("sync", "--file-system", tmp_path / "root")
            assert "is in use or was not shut down properly" in told(image, device).what
        finally:
            call("umount", tmp_path / "root")


@pytest.mark.parametrize("offset", [LOADER[0] + 5000, 200])
def test_damage_outside_of_what_was_mounted_is_told(tmp_path: Path, offset: int) -> None:
    with written(tmp_path) as (image, device):
        live(device, tmp_path / "root")
        flip(Path(device), offset)
        error = told(image, device)
    start = offset // 4096 * 4096
    assert f"differ where nothing was mounted, at byte {start}-{start + 4095}" in error.what
    assert "not damage" not in error.what


@pytest.mark.parametrize("offset", [ROOT[0] + 1024 + 0x34, ROOT[0] + 1024 + 0x2C, ROOT[0] + 2 * MiB, FAT[0] + 2 * MiB])
def test_a_flipped_bit_is_no_life(tmp_path: Path, offset: int) -> None:
    with written(tmp_path) as (image, device):
        flip(Path(device), offset)
        error = told(image, device)
    assert "booted" not in error.what
    assert re.search(rf"at byte {offset // 4096 * 4096}-", error.what)


def test_a_table_that_grew_at_the_first_boot_is_explained(tmp_path: Path) -> None:
    with written(tmp_path) as (image, device):
        live(device, tmp_path / "root")
        script = f"start={ROOT[0] // 512}, size={(SIZE - ROOT[0]) // 512 - 2048}\n"
        call("sfdisk", "--quiet", "--no-reread", "--force", "-N", "2", device, stdin=script)
        assert "its own life" in told(image, device).what


def test_a_boot_partition_that_changed_with_the_root_is_explained(tmp_path: Path) -> None:
    with written(tmp_path) as (image, device):
        live(device, tmp_path / "root")
        part = cut(Path(device), FAT, tmp_path / "fat")
        (tmp_path / "seed").write_bytes(os.urandom(5000))
        call("mcopy", "-i", part, tmp_path / "seed", "::seed")
        call("dd", f"if={part}", f"of={device}", "bs=1M", f"seek={FAT[0] // MiB}", "status=none", "conv=notrunc,fsync")
        assert "its own life" in told(image, device).what


def test_a_boot_partition_left_open_is_told_alone(tmp_path: Path) -> None:
    with written(tmp_path) as (image, device):
        place = (f"of={device}", "bs=1", f"seek={FAT[0] + 0x25}", "count=1", "conv=notrunc")
        subprocess.run(["dd", "status=none", *place], input=b"\x01", check=True)
        assert "partition 1 is in use or was not unmounted properly" in told(image, device).what
