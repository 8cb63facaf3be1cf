"""Which file stands for an image that lies there packed and raw: for `verify`, `boot` and `flash` by one rule."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from faults.disks import call

from imagesmith.errors import DigestMismatch, UsageError
from imagesmith.events import Noted, unheard
from imagesmith.units import MiB
from imagesmith.workflow.boot import Request, boot_named
from imagesmith.workflow.source import opened_file
from imagesmith.workflow.unpack import raw_image
from imagesmith.workflow.verify import verify_image

NEW, OLD = os.urandom(MiB), os.urandom(MiB)


def packed(folder: Path) -> Path:
    """NEW, packed, and no raw image beside it."""
    raw = folder / "i.img"
    raw.write_bytes(NEW)
    call("xz", "-0", raw)
    return folder / "i.img.xz"


def listed(folder: Path, **digests: bytes) -> None:
    """SHA256SUMS with i.img (`raw`) and i.img.xz (`xz`), as far as they are given."""
    names = {"raw": "i.img", "xz": "i.img.xz"}
    lines = [f"{hashlib.sha256(data).hexdigest()}  {names[name]}\n" for name, data in digests.items()]
    (folder / "SHA256SUMS").write_text("".join(lines))


def used(path: Path) -> tuple[bytes, list[str]]:
    """The bytes that `verify` and `boot` take for `path`, and what the user is told of it."""
    heard: list[object] = []
    with raw_image(path, heard.append) as raw:
        return raw.path.read_bytes(), [event.message for event in heard if isinstance(event, Noted)]


def flashed(path: Path) -> tuple[str, list[str]]:
    """The name of the file that `flash` takes for `path`, and what the user is told of it."""
    heard: list[object] = []
    with opened_file(path, heard.append) as source:
        assert source.path
        return source.path.name, [event.message for event in heard if isinstance(event, Noted)]


class TestARawImageBesideAPackedOne:
    @pytest.mark.parametrize("named", ["neither", "raw", "xz"])
    def test_is_not_taken_unless_the_list_names_both(self, tmp_path: Path, named: str) -> None:
        path = packed(tmp_path)
        (tmp_path / "i.img").write_bytes(OLD)
        listed(tmp_path, **{"neither": {}, "raw": {"raw": OLD}, "xz": {"xz": path.read_bytes()}}[named])
        content, told = used(path)
        assert content == NEW
        assert told == ["i.img.xz is used, not i.img beside it: no SHA256SUMS names both"]
        assert flashed(path) == ("i.img.xz", told)

    def test_is_taken_where_the_list_names_both(self, tmp_path: Path) -> None:
        path = packed(tmp_path)
        (tmp_path / "i.img").write_bytes(NEW)
        listed(tmp_path, raw=NEW, xz=path.read_bytes())
        content, told = used(path)
        assert content == NEW
        assert told == ["i.img.xz is packed; the raw i.img beside it is used"]
        assert flashed(path) == ("i.img", told)

    def test_is_refused_where_the_list_names_both_but_it_is_an_older_one(self, tmp_path: Path) -> None:
        path = packed(tmp_path)
        (tmp_path / "i.img").write_bytes(OLD)
        listed(tmp_path, raw=NEW, xz=path.read_bytes())
        with pytest.raises(DigestMismatch, match=r"i\.img: its sha256 is") as caught:
            used(path)
        assert "remove it, and i.img.xz itself is used" in caught.value.hint

    def test_is_not_verified_in_its_place(self, tmp_path: Path) -> None:
        path = packed(tmp_path)
        (tmp_path / "i.img").write_bytes(OLD)
        listed(tmp_path, raw=OLD)
        with pytest.raises(DigestMismatch, match="damaged"):
            verify_image(path, unheard)

    def test_is_not_called_verified_when_the_packed_one_was(self, tmp_path: Path) -> None:
        path = packed(tmp_path)
        (tmp_path / "i.img").write_bytes(OLD)
        listed(tmp_path, xz=path.read_bytes())
        verified = verify_image(path, unheard)
        assert verified.image == path
        assert verified.facts == ("i.img.xz agrees with its checksum",)

    def test_is_not_booted_in_its_place(self, tmp_path: Path) -> None:
        path = packed(tmp_path)
        (tmp_path / "i.img").write_bytes(OLD)
        heard: list[object] = []
        with pytest.raises(UsageError, match="no manifest"):
            boot_named(Request(str(path), tmp_path), current_plan_id=lambda _: "", listener=heard.append)
        assert any("i.img.xz is used" in event.message for event in heard if isinstance(event, Noted))


def test_a_packed_image_that_is_not_the_listed_one_is_neither_verified_nor_booted(tmp_path: Path) -> None:
    path = packed(tmp_path)
    listed(tmp_path, xz=b"another")
    with pytest.raises(DigestMismatch, match="promised"):
        verify_image(path, unheard)
    with pytest.raises(DigestMismatch, match="promised"):
        boot_named(Request(str(path), tmp_path), current_plan_id=lambda _: "")


@pytest.mark.parametrize("right", [True, False])
def test_a_packed_image_under_a_plain_name_is_verified_as_it_lies(tmp_path: Path, right: bool) -> None:
    """As Ubuntu publishes its qcow2: SHA256SUMS names the file, not what it holds."""
    raw, image = tmp_path / "made", tmp_path / "i.img"
    raw.write_bytes(NEW)
    call("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image)
    listed(tmp_path, raw=image.read_bytes() if right else b"another")
    if right:
        assert verify_image(image, unheard).facts == ("agrees with SHA256SUMS",)
    else:
        with pytest.raises(DigestMismatch, match="promised"):
            verify_image(image, unheard)
