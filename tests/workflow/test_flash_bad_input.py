"""What is no image, or not what it says, is refused by `flash` in its own class before the first write to the card."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.disks import call

from imagesmith.errors import ContentMalformed, DeviceRefused, IOFailed, UsageError
from imagesmith.events import unheard
from imagesmith.formats import bmap
from imagesmith.model import BlockMap, MappedRange
from imagesmith.units import MiB
from imagesmith.workflow.flash import Outcome, Request, flash
from imagesmith.workflow.jobs import Job

BLOCK = 4096
SIZE = 2 * MiB
CARD = b"\xff" * (4 * MiB)
IMAGE = b"\xeb\x63\x90" + random.Random(3).randbytes(SIZE - 3)


def run(source: Path, card: Path) -> Outcome:
    (outcome,) = flash(
        Request((Job(str(source), (str(card),)),), card.parent, to_file=True),
        ask=lambda _: "yes", current_plan_id=lambda _: "", listener=unheard,
    )  # fmt: skip
    return outcome


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A full card; a file, so that this needs no root."""
    (tmp_path / "card").write_bytes(CARD)
    return tmp_path / "card"


def zipped(*, encrypted: bool) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("disk.img", IMAGE)
    data = bytearray(out.getvalue())
    data[6] |= encrypted
    data[data.rindex(b"PK\x01\x02") + 8] |= encrypted
    return bytes(data)


def table(size: int) -> str:
    """A map of an image of that size, which begins as IMAGE does."""
    return bmap.encode(BlockMap(size, BLOCK, (MappedRange(0, 0, hashlib.sha256(IMAGE[:BLOCK]).hexdigest()),)))


BAD = {
    "an HTML page": (b"<!doctype html><html><body>gone</body></html>", "an HTML page"),
    "an empty file": (b"", "an empty file"),
    "an ISO": (os.urandom(0x8001) + b"CD001" + os.urandom(9000), "an ISO"),
    "an encrypted zip": (zipped(encrypted=True), "is encrypted"),
    "a page that was packed": (gzip.compress(b"<html><body>gone</body></html>"), "an HTML page"),
    "a truncated xz": (lzma.compress(IMAGE, preset=0)[:-100], "i.img"),
    "a truncated zip": (zipped(encrypted=False)[:-100], "i.img"),
    "an xz with something behind it": (lzma.compress(IMAGE, preset=0) + b"more", "i.img"),
    "an xz that is made to fill disks": (lzma.compress(bytes(64 * MiB), preset=6) * 160, "made to fill disks"),
    "an xz in an xz": (lzma.compress(lzma.compress(IMAGE)), "inside is another xz"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_sound_image_is_refused_before_the_first_write(name: str, card: Path) -> None:
    content, said = BAD[name]
    source = card.with_name("i.img")
    source.write_bytes(content)
    with pytest.raises(ContentMalformed, match=said) as caught:
        run(source, card)
    assert caught.value.exit_code == 4
    assert card.read_bytes() == CARD


PACK = {"raw": bytes, "gz": gzip.compress, "xz": lzma.compress}
MAPS = {
    "altered": (table(SIZE).replace("> 0 </Range>", "> 1 </Range>"), ContentMalformed),
    "truncated": (table(SIZE)[:-30], ContentMalformed),
    "of another image": (table(SIZE + BLOCK), ContentMalformed),
    "beyond the device": (table(64 * MiB), (ContentMalformed, DeviceRefused)),
}


@pytest.mark.parametrize(
    ("name", "pack"),
    # A gz tells its size only at its end: see the next test.
    [(name, pack) for name in MAPS for pack in PACK if (name, pack) != ("of another image", "gz")],
)
def test_a_map_that_can_not_be_true_is_refused_before_the_first_write(name: str, pack: str, card: Path) -> None:
    text, error = MAPS[name]
    source = mapped(card, PACK[pack], text)
    with pytest.raises(error):
        run(source, card)
    assert card.read_bytes() == CARD


def test_a_map_of_another_image_whose_size_is_known_at_its_end_leaves_no_head(card: Path) -> None:
    outcome = run(mapped(card, gzip.compress, MAPS["of another image"][0]), card)
    assert isinstance(outcome.error, ContentMalformed)
    assert card.read_bytes()[:MiB] == bytes(MiB)


def mapped(card: Path, pack: Callable[[bytes], bytes], text: str) -> Path:
    """IMAGE, packed, with a map beside it."""
    card.with_name("i.img.bmap").write_text(text)
    source = card.with_name("i.img")
    source.write_bytes(pack(IMAGE))
    return source


@pytest.mark.parametrize("kind", ["a pipe", "/dev/null", "a folder/", "nothing"])
def test_a_source_that_is_no_file_is_refused_without_waiting(kind: str, card: Path) -> None:
    os.mkfifo(card.with_name("a pipe"))
    card.with_name("a folder").mkdir()
    with pytest.raises((UsageError, IOFailed)):
        run(card.parent / kind, card)
    assert card.read_bytes() == CARD


@pytest.mark.parametrize("kind", ["a pipe", "/dev/null", "a folder", "a link to nothing", "nothing"])
def test_a_device_that_is_none_is_refused_and_nothing_is_made(kind: str, card: Path) -> None:
    folder = card.parent
    (folder / "i.img").write_bytes(IMAGE)
    os.mkfifo(folder / "a pipe")
    (folder / "a folder").mkdir()
    (folder / "a link to nothing").symlink_to(folder / "gone")
    before = sorted(folder.iterdir())
    with pytest.raises(DeviceRefused) as caught:
        run(folder / "i.img", folder / kind)
    assert caught.value.exit_code == 5
    assert sorted(folder.iterdir()) == before


def test_a_qcow2_is_written_as_what_it_holds_whatever_its_name(card: Path) -> None:
    raw, source = card.with_name("raw"), card.with_name("i.img")
    raw.write_bytes(IMAGE)
    call("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, source)
    assert run(source, card).receipt
    assert card.read_bytes()[:SIZE] == IMAGE
