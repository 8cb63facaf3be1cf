"""What an image is recognised as, and what is refused."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from made_disks import Disk, MiB, assemble, make_ext4, make_fat, noise, tool

from imagesmith.errors import ContentMalformed, EditFailed
from imagesmith.image.raw import RawImage

Fresh = Callable[..., Disk]


def roles(path: Path) -> list[tuple[int, str | None, str]]:
    with RawImage(path, writable=False) as raw:
        return [(each.partition.number, each.role, each.filesystem.label) for each in raw.volumes()]


def test_a_copy_has_the_same_bytes_keeps_holes_and_is_private(bases: dict[str, Disk], tmp_path: Path) -> None:
    base = bases["mbr"].path
    with RawImage.copy_of(base, tmp_path / "copy.img") as raw:
        assert raw.size == base.stat().st_size
    copy = tmp_path / "copy.img"
    assert copy.read_bytes() == base.read_bytes()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert copy.stat().st_blocks <= base.stat().st_blocks + 64


def test_a_copy_never_goes_over_something_or_through_a_link(bases: dict[str, Disk], tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "copy.img").symlink_to(tmp_path / "victim")
    with pytest.raises(Exception, match="copying the base image failed"):
        RawImage.copy_of(bases["mbr"].path, tmp_path / "copy.img")
    assert (tmp_path / "victim").read_bytes() == b"mine"


def test_roles_on_an_mbr_disk(bases: dict[str, Disk]) -> None:
    assert roles(bases["mbr"].path) == [(1, "boot", "BOOTFS"), (2, "root", "rootfs")]


@pytest.mark.parametrize("name", ["gpt", "gpt4k"])
def test_roles_on_a_gpt_disk(bases: dict[str, Disk], name: str) -> None:
    assert roles(bases[name].path) == [(1, "esp", "ESP"), (2, "root", "rootfs")]


def test_a_second_ext4_without_etc_is_no_root(parts: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/vmlinuz").write_bytes(noise(1000))
    other = make_ext4(tmp_path / "boot.ext4", 8 * MiB, tmp_path / "tree", label="BOOT")
    disk = assemble(tmp_path / "x.img", "gpt", [("kernel", other, "linux"), ("root", parts["ext4"], "linux")])
    assert roles(disk.path) == [(1, None, "BOOT"), (2, "root", "rootfs")]


def test_of_two_roots_the_one_with_the_root_type_is_it(parts: dict[str, Path], tmp_path: Path) -> None:
    root_type = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
    two = [("a", parts["ext4"], "linux"), ("b", parts["ext4"], root_type)]
    assert roles(assemble(tmp_path / "x.img", "gpt", two).path)[1][1] == "root"


def test_two_equal_roots_are_refused_by_name(parts: dict[str, Path], tmp_path: Path) -> None:
    two = [("a", parts["ext4"], "linux"), ("b", parts["ext4"], "linux")]
    disk = assemble(tmp_path / "x.img", "gpt", two)
    with RawImage(disk.path, writable=True) as raw, pytest.raises(EditFailed, match=r"partition 1 .* and partition 2"):
        raw.volume("root")


def test_a_fat_of_another_type_is_no_esp(parts: dict[str, Path], tmp_path: Path) -> None:
    disk = assemble(tmp_path / "x.img", "gpt", [("a", parts["esp"], "linux"), ("root", parts["ext4"], "linux")])
    assert roles(disk.path)[0][1] is None


def test_a_boot_partition_is_told_by_its_label_too(parts: dict[str, Path], tmp_path: Path) -> None:
    fat = make_fat(tmp_path / "x.fat", 8 * MiB, {"/x": noise(100)}, label="SYSTEM-BOOT")
    disk = assemble(tmp_path / "x.img", "dos", [("boot", fat, "c"), ("root", parts["ext4"], "83")])
    assert roles(disk.path)[0][1] == "boot"


@pytest.mark.parametrize("kind", ["ext4", "fat"])
def test_a_bare_file_system_is_refused_as_one(parts: dict[str, Path], kind: str) -> None:
    with RawImage(parts[kind], writable=False) as raw, pytest.raises(ContentMalformed, match=f"bare .*{kind}"):
        raw.volumes()


def test_noise_and_an_empty_table_are_no_disk(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(noise(MiB))
    (tmp_path / "short").write_bytes(b"x")
    (tmp_path / "empty").write_bytes(bytes(MiB))
    tool("sfdisk", "-q", tmp_path / "empty", stdin="label: dos\n")
    for name, why in (("noise", "no 55 AA"), ("short", "only 1 bytes"), ("empty", "table is empty")):
        with RawImage(tmp_path / name, writable=False) as raw, pytest.raises(ContentMalformed, match=why):
            raw.table()


def test_overlapping_partitions_are_refused(fresh: Fresh) -> None:
    disk = fresh("mbr")
    # The second entry's first sector, moved into the first partition.
    disk.patch(446 + 16 + 8, (16384).to_bytes(4, "little"))
    with RawImage(disk.path, writable=True) as raw, pytest.raises(ContentMalformed, match="overlap"):
        raw.volume("root")


def test_an_image_cut_short_is_refused(fresh: Fresh) -> None:
    disk = fresh("mbr")
    with disk.path.open("r+b") as stream:
        stream.truncate(disk.path.stat().st_size - 4096)
    with RawImage(disk.path, writable=True) as raw, pytest.raises(ContentMalformed, match=r"truncated|ends at byte"):
        raw.volume("root")


def test_a_gpt_whose_header_is_gone_is_not_taken_for_an_mbr(fresh: Fresh) -> None:
    disk = fresh("gpt")
    disk.patch(512, bytes(512))
    with RawImage(disk.path, writable=True) as raw, pytest.raises(ContentMalformed, match="GPT is missing"):
        raw.volumes()


def test_an_unknown_root_is_told_with_what_there_is(parts: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(noise(8 * MiB))
    disk = assemble(tmp_path / "x.img", "dos", [("boot", parts["fat"], "c"), ("root", tmp_path / "blob", "83")])
    with RawImage(disk.path, writable=True) as raw, pytest.raises(EditFailed) as failure:
        raw.volume("root")
    assert "partition 1 (fat 'BOOTFS') of type 0c" in str(failure.value)
    assert "partition 2 (unknown content) of type 83" in str(failure.value)


def test_a_journal_that_wants_recovery_is_refused(fresh: Fresh) -> None:
    disk = fresh("mbr")
    tool("debugfs", "-w", "-R", "feature needs_recovery", f"{disk.path}?offset={disk.offsets['root']}")
    with (
        RawImage(disk.path, writable=True) as raw,
        pytest.raises(EditFailed, match="journal wants recovery") as failure,
    ):
        raw.volume("root")
    assert "e2fsck" in failure.value.hint


def test_a_root_with_a_feature_from_the_future_is_refused(fresh: Fresh) -> None:
    disk = fresh("mbr")
    disk.patch(disk.offsets["root"] + 1024 + 0x60 + 3, b"\x40")
    with RawImage(disk.path, writable=True) as raw, pytest.raises(EditFailed, match=r"partition 2 .*feature"):
        raw.volume("root")
