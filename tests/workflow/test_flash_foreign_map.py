"""bmaptool's own map files, of every version, on a card that was full of other data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from faults.disks import FAT, ROOT, call, cut, dirty_disk, loop_device, make_image, map_of, needs_root

from imagesmith.events import unheard
from imagesmith.units import MiB
from imagesmith.workflow.flash import Request, flash
from imagesmith.workflow.jobs import Job

pytestmark = needs_root


def sparse_image(folder: Path, label: str) -> Path:
    """Holes where the file systems have nothing, since bmaptool maps what is no hole."""
    image = make_image(folder / "i.img", label)
    whole, ranges = image.read_bytes(), map_of(image).ranges
    with image.open("r+b") as file:
        file.truncate(0)
        file.truncate(len(whole))
        for part in ranges:
            file.seek(part.first * 4096)
            file.write(whole[part.first * 4096 : (part.last + 1) * 4096])
    return image


def as_version(text: str, version: str) -> str:
    """The same map as older tools wrote it."""
    if version == "2.0":
        return text
    text = re.sub(r"(?s)<!--.*?-->", "", text)
    text = re.sub(r"<ChecksumType>.*?</ChecksumType>|<BmapFileChecksum>.*?</BmapFileChecksum>", "", text)
    return re.sub(r' chksum="[^"]*"', "", text.replace('version="2.0"', f'version="{version}"'))


@pytest.mark.parametrize("label", ["dos", "gpt"])
@pytest.mark.parametrize("version", ["1.2", "2.0"])
def test_a_map_of_bmaptool_is_taken(tmp_path: Path, version: str, label: str) -> None:
    image = sparse_image(tmp_path, label)
    call("bmaptool", "create", "--output", tmp_path / "i.bmap", image)
    (tmp_path / "i.bmap").write_text(as_version((tmp_path / "i.bmap").read_text(), version))
    disk = dirty_disk(tmp_path / "card", 40 * MiB)
    with loop_device(disk) as device:
        request = Request((Job(str(image), (device,)),), tmp_path, yes=True)
        (outcome,) = flash(request, ask=lambda _: "", current_plan_id=lambda _: "", listener=unheard)
    assert outcome.receipt
    assert outcome.receipt.written < 32 * MiB
    call("e2fsck", "-fn", cut(disk, ROOT, tmp_path / "root"))
    call("fsck.fat", "-n", cut(disk, FAT, tmp_path / "fat"))
