"""A card that another tool wrote is compared where the image says something, and nowhere else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from faults.disks import IMAGE_SIZE, call, dirty_disk, loop_device, make_image, needs_root
from image.made_disks import flip

from imagesmith.errors import ReadbackDiffers
from imagesmith.events import unheard
from imagesmith.formats import bmap
from imagesmith.model import BlockMap, MappedRange
from imagesmith.units import KiB, MiB
from imagesmith.workflow.verify import verify_device

pytestmark = needs_root


@pytest.mark.parametrize("label", ["dos", "gpt"])
@pytest.mark.parametrize("more", [512, 4096, 16 * KiB])
def test_what_lies_behind_the_image_s_end_is_not_compared(tmp_path: Path, label: str, more: int) -> None:
    """The end of the image lies where the partition table's second copy would be on this card."""
    image = make_image(tmp_path / "i.img", label)
    with loop_device(dirty_disk(tmp_path / "card", IMAGE_SIZE + more)) as device:
        call("dd", f"if={image}", f"of={device}", "bs=1M", "conv=fsync", "status=none")
        assert verify_device(image, device, unheard)


def test_a_change_just_before_the_image_s_end_is_found(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "gpt")
    with loop_device(dirty_disk(tmp_path / "card", IMAGE_SIZE + 4096)) as device:
        call("dd", f"if={image}", f"of={device}", "bs=1M", "conv=fsync", "status=none")
        flip(Path(device), IMAGE_SIZE - 200)
        with pytest.raises(ReadbackDiffers, match=f"-{IMAGE_SIZE - 1}$"):
            verify_device(image, device, unheard)


@pytest.mark.parametrize("name", ["i.img", "i.img.gz"])
@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_what_a_map_leaves_out_before_the_partitions_is_not_compared(tmp_path: Path, label: str, name: str) -> None:
    """bmaptool writes nothing there, so that a used card keeps what it had."""
    image = make_image(tmp_path / "i.img", label)
    call("fallocate", "--dig-holes", image)
    table = tmp_path / "i.img.bmap"
    call("bmaptool", "create", "-o", table, image)
    with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
        call("bmaptool", "copy", "--bmap", table, image, device)
        with Path(device).open("rb") as card:
            card.seek(800 * KiB)
            assert card.read(4) == b"\xff" * 4
        if name.endswith(".gz"):
            call("gzip", "-1", image)
        assert verify_device(tmp_path / name, device, unheard)
        flip(Path(device), 70_000)
        with pytest.raises(ReadbackDiffers, match="69632-"):
            verify_device(tmp_path / name, device, unheard)


def test_a_map_of_many_small_pieces_is_compared_in_all_of_them(tmp_path: Path) -> None:
    """More pieces of the head and of the table's second copy than one message to the card's writer holds."""
    image, block = make_image(tmp_path / "i.img", "gpt"), 512
    data = image.read_bytes()
    alternating = [at for at in range(0, len(data), 2 * block) if at < MiB or at >= len(data) - MiB]
    mapped = [
        MappedRange(at // block, at // block, hashlib.sha256(data[at : at + block]).hexdigest()) for at in alternating
    ]
    (tmp_path / "i.img.bmap").write_text(bmap.encode(BlockMap(len(data), block, tuple(mapped))))
    with loop_device(dirty_disk(tmp_path / "card", IMAGE_SIZE)) as device:
        call("dd", f"if={image}", f"of={device}", "bs=1M", "conv=fsync", "status=none")
        for at in (512, MiB - 512, IMAGE_SIZE - 512):
            flip(Path(device), at)
        assert verify_device(image, device, unheard)
        for at in (MiB - 1024, IMAGE_SIZE - 1024):
            flip(Path(device), at)
        with pytest.raises(ReadbackDiffers, match=f"at byte {MiB - 1024}-{MiB - 513}, {IMAGE_SIZE - 1024}-"):
            verify_device(image, device, unheard)
