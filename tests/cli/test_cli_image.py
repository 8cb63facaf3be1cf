"""`inspect` as a person meets it: any image, whole or not."""

from __future__ import annotations

import gzip

import pytest
from building import Workshop
from image.made_disks import noise, tool


def test_an_image_is_told_partition_by_partition(shop: Workshop) -> None:
    done = shop.run("inspect", "base.img")
    assert done.code == 0
    assert "MBR 5e1a02c4" in done.out
    assert "1: at 4.0 MiB, 8.0 MiB, fat 'BOOTFS', the boot partition" in done.out
    assert "2: at 12 MiB, 24 MiB, ext4 'rootfs', the root partition" in done.out
    assert "must be written to a card" in done.out
    assert done.err == ""


def test_looking_changes_nothing(shop: Workshop) -> None:
    before = shop.base.read_bytes()
    shop.base.chmod(0o400)
    shop.run("inspect", "base.img")
    assert shop.base.read_bytes() == before


def test_a_packed_image_is_told_the_same(shop: Workshop) -> None:
    plain = shop.run("inspect", "base.img", "--json").lines[-1]["result"]
    (shop.folder / "other.img.gz").write_bytes(gzip.compress(shop.base.read_bytes(), 1))
    packed = shop.run("inspect", "other.img.gz", "--json").lines[-1]["result"]
    assert {**packed, "path": ""} == {**plain, "path": ""}


def test_json_has_sizes_in_bytes(shop: Workshop) -> None:
    result = shop.run("inspect", "base.img", "--json").lines[-1]["result"]
    assert result["size"] == shop.base.stat().st_size
    assert [volume["start"] for volume in result["volumes"]] == list(shop.disk.offsets.values())
    assert 0 < result["mapped"] < result["size"]


def test_a_dirty_file_system_is_told(shop: Workshop) -> None:
    tool("debugfs", "-w", "-R", "feature needs_recovery", f"{shop.base}?offset={shop.disk.offsets['root']}")
    done = shop.run("inspect", "base.img")
    assert done.code == 0
    assert "can't be edited" in done.out
    assert "journal" in done.out


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(b"", 4, id="empty"),
        pytest.param(b"<html>" * 100, 4, id="html"),
        pytest.param(noise(1 << 20), 4, id="noise"),
        pytest.param(b"\x1f\x8b\x08" + noise(5000), 4, id="broken gzip"),
    ],
)
def test_what_is_no_image_is_malformed(shop: Workshop, content: bytes, code: int) -> None:
    (shop.folder / "x.img").write_bytes(content)
    done = shop.run("inspect", "x.img")
    assert done.code == code, done.err
    assert "x.img" in done.err
    assert "bug" not in done.err


def test_a_missing_image_is_told(shop: Workshop) -> None:
    done = shop.run("inspect", "none.img")
    assert done.code == 6
    assert "none.img" in done.err


def test_a_folder_is_no_image(shop: Workshop) -> None:
    assert shop.run("inspect", ".").code == 2
