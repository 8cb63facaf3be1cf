"""An image against what lies beside it, and a card against its image, without a write."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from faults.badcard import bad_card
from faults.disks import FAT, call, dirty_disk, image_of, listed, loop_device, make_image, map_of, needs_root
from faults.writing import flash
from image.made_disks import flip

from imagesmith.errors import ContentMalformed, DeviceRefused, DigestMismatch, ReadbackDiffers, UsageError
from imagesmith.events import unheard
from imagesmith.formats import bmap, manifest
from imagesmith.formats.canonical import canonical_json
from imagesmith.formats.manifest import BaseRecord, ImageRecord, Manifest
from imagesmith.model import Digest
from imagesmith.planning.flash import plan_flash
from imagesmith.units import MiB
from imagesmith.workflow.verify import verify_device, verify_image


def sealed(folder: Path, label: str = "gpt") -> Path:
    """An image with its map and its sums."""
    image = make_image(folder / "i.img", label)
    (folder / "i.bmap").write_text(bmap.encode(map_of(image)))
    names = ("i.img", "i.bmap")
    (folder / "SHA256SUMS").write_text("".join(f"{sha(folder / name)}  {name}\n" for name in names))
    return image


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_sound_image_agrees_with_its_sums_and_its_map(tmp_path: Path) -> None:
    verified = verify_image(sealed(tmp_path), unheard)
    assert verified.facts == ("agrees with SHA256SUMS", "agrees with i.bmap")


def test_a_flipped_bit_in_a_mapped_block_is_told_by_map_and_sums(tmp_path: Path) -> None:
    image = sealed(tmp_path)
    flip(image, FAT[0] + 5)
    with pytest.raises(DigestMismatch, match="sha256") as caught:
        verify_image(image, unheard)
    assert "block map promises" in caught.value.what


def test_a_flipped_bit_in_a_free_block_is_told_by_the_sums(tmp_path: Path) -> None:
    image = sealed(tmp_path)
    flip(image, 28 * MiB)
    with pytest.raises(DigestMismatch) as caught:
        verify_image(image, unheard)
    assert "block map" not in caught.value.what


def test_an_altered_map_is_told(tmp_path: Path) -> None:
    image = sealed(tmp_path)
    (tmp_path / "i.bmap").write_text(bmap.encode(map_of(image)).replace("free in its", "free in some"))
    with pytest.raises(DigestMismatch, match="SHA256SUMS lists"):
        verify_image(image, unheard)


def test_a_map_that_was_cut_is_told(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    (tmp_path / "i.img.bmap").write_text(bmap.encode(map_of(image))[:-30])
    with pytest.raises(ContentMalformed, match=r"i\.img\.bmap"):
        verify_image(image, unheard)


def test_a_packed_copy_is_checked_too(tmp_path: Path) -> None:
    image = sealed(tmp_path)
    call("zstd", "-q", image)
    with (tmp_path / "SHA256SUMS").open("a") as sums:
        sums.write(f"{sha(tmp_path / 'i.img.zst')}  i.img.zst\n")
    assert "i.img.zst agrees with its checksum" in verify_image(image, unheard).facts
    flip(tmp_path / "i.img.zst", 1000)
    with pytest.raises(DigestMismatch, match="promised"):
        verify_image(image, unheard)


def with_manifest(image: Path, /, **changed: object) -> None:
    record = ImageRecord(image.stat().st_size, Digest.of(image.read_bytes()))
    plan: dict[str, object] = {"name": "i"}
    made = Manifest(
        imagesmith="1", name="i", plan_id=hashlib.sha256(canonical_json(plan)).hexdigest(), plan=plan,
        architecture="arm64", hostname="i", epoch=1, base=BaseRecord(record.digest, None, "", 1), image=record,
        block_map="other.bmap", files=(), packages=(), tools={}, machine=None, promises=(),
    )  # fmt: skip
    image.with_suffix(".manifest.json").write_bytes(manifest.encode(replace(made, **changed)))  # type: ignore[arg-type]


def test_a_manifest_speaks_for_the_image_and_names_its_map(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    with_manifest(image)
    (tmp_path / "other.bmap").write_text(bmap.encode(map_of(image)))
    assert verify_image(image, unheard).facts == ("agrees with i.manifest.json", "agrees with other.bmap")
    flip(image, 28 * MiB)
    with pytest.raises(DigestMismatch, match="promised"):
        verify_image(image, unheard)


def test_a_manifest_of_another_size_is_told(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    with_manifest(image, image=ImageRecord(7, Digest.of(b"")))
    with pytest.raises(ContentMalformed, match="its manifest says 7"):
        verify_image(image, unheard)


def test_a_manifest_and_sums_of_two_builds_are_told(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    with_manifest(image)
    (tmp_path / "SHA256SUMS").write_text(f"{'1' * 64}  i.img\n")
    with pytest.raises(DigestMismatch, match="promise different bytes"):
        verify_image(image, unheard)


def test_an_image_alone_can_not_be_verified(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    with pytest.raises(UsageError, match="nothing lies beside it"):
        verify_image(image, unheard)


@contextlib.contextmanager
def flashed(folder: Path, label: str = "gpt", *, with_map: bool = True) -> Iterator[tuple[Path, str, Path]]:
    image = sealed(folder, label) if with_map else make_image(folder / "i.img", label)
    disk = dirty_disk(folder / "card", 40 * MiB)
    with loop_device(disk) as device:
        flash(plan_flash(listed(device), image_of(image, map_of(image) if with_map else None)), unheard)
        yield image, device, disk


class TestCard:
    pytestmark = needs_root

    @pytest.mark.parametrize("with_map", [True, False])
    @pytest.mark.parametrize("label", ["dos", "gpt"])
    def test_a_flashed_card_is_true_and_stays_as_it_is(self, tmp_path: Path, label: str, with_map: bool) -> None:
        with flashed(tmp_path, label, with_map=with_map) as (image, device, disk):
            before = sha(disk)
            verified = verify_device(image, device, unheard)
            assert sha(disk) == before
        assert "read back uncached" in verified.facts[0]

    @pytest.mark.parametrize("offset", [100, 70_000, FAT[0], 9 * MiB + 1024])
    def test_a_flipped_bit_is_found_with_its_offset(self, tmp_path: Path, offset: int) -> None:
        with flashed(tmp_path) as (image, device, _):
            flip(Path(device), offset)
            with pytest.raises(ReadbackDiffers) as caught:
                verify_device(image, device, unheard)
            start = offset // 4096 * 4096
            assert f"{start}-{start + 4095}" in caught.value.what
            assert "does not keep its bytes" in caught.value.hint
            assert "booted" not in caught.value.what

    def test_what_bmaptool_copied_is_true_too(self, tmp_path: Path) -> None:
        image = sealed(tmp_path)
        with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
            call("bmaptool", "copy", "--bmap", tmp_path / "i.bmap", image, device)
            assert verify_device(image, device, unheard)

    @pytest.mark.parametrize("name", ["i.img", "i.img.gz"])
    @pytest.mark.parametrize("offset", [70_000, 512 * 1024])
    def test_what_dd_copied_is_true_and_a_change_before_the_partitions_is_found(
        self, tmp_path: Path, name: str, offset: int
    ) -> None:
        made = make_image(tmp_path / "made.img", "gpt")
        (tmp_path / "i.img").write_bytes(made.read_bytes())
        if name.endswith(".gz"):
            call("gzip", "-1", tmp_path / "i.img")
        with loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device:
            call("dd", f"if={made}", f"of={device}", "bs=1M", "conv=fsync", "status=none")
            assert verify_device(tmp_path / name, device, unheard)
            flip(Path(device), offset)
            with pytest.raises(ReadbackDiffers):
                verify_device(tmp_path / name, device, unheard)

    def test_a_lost_backup_table_is_found(self, tmp_path: Path) -> None:
        with flashed(tmp_path) as (image, device, _):
            call("dd", "if=/dev/zero", f"of={device}", "bs=512", "seek=81919", "count=1", "status=none")
            with pytest.raises(ReadbackDiffers):
                verify_device(image, device, unheard)

    def test_a_damaged_image_is_not_blamed_on_the_card(self, tmp_path: Path) -> None:
        with flashed(tmp_path) as (image, device, _):
            flip(image, FAT[0] + 9)
            with pytest.raises(DigestMismatch, match="image file is damaged"):
                verify_device(image, device, unheard)

    def test_a_card_that_rots_below_the_cache_is_found(self, tmp_path: Path) -> None:
        image = sealed(tmp_path, "dos")
        with bad_card(tmp_path, dirty_disk(tmp_path / "card", 40 * MiB)) as card:
            flash(plan_flash(listed(card.device), image_of(image, map_of(image))), unheard)
            with Path(card.device).open("rb") as holder:
                holder.read(8 * MiB)  # the page cache now holds what is right
                card.arm("rot", 4 * MiB, 4 * MiB + 1)
                with pytest.raises(ReadbackDiffers, match=f"{4 * MiB}-"):
                    verify_device(image, card.device, unheard)

    def test_a_card_too_small_is_refused(self, tmp_path: Path) -> None:
        image = sealed(tmp_path)
        with (
            loop_device(dirty_disk(tmp_path / "card", 31 * MiB)) as device,
            pytest.raises(DeviceRefused, match="can't hold it"),
        ):
            verify_device(image, device, unheard)

    def test_a_file_can_be_verified_too(self, tmp_path: Path) -> None:
        image = sealed(tmp_path)
        copy = tmp_path / "copy"
        copy.write_bytes(image.read_bytes())
        assert verify_device(image, str(copy), unheard)
