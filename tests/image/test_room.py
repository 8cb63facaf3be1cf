"""Room for large files: the root grows by what is missing, under every table, and only when something is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from made_disks import EPOCH, Disk, MiB, assemble, make_ext4

from imagesmith.errors import EditFailed
from imagesmith.image.raw import RawImage
from imagesmith.image.room import LEFT, make_room

Fresh = Callable[..., Disk]


def free(raw: RawImage) -> int:
    block = raw.volume("root").filesystem.ext4
    assert block
    return block.free_blocks * block.block_size


@pytest.mark.parametrize("name", ["mbr", "gpt", "gpt4k"])
def test_files_and_the_space_to_spare_fit_afterwards(fresh: Fresh, name: str) -> None:
    with RawImage(fresh(name).path, writable=True) as raw:
        assert make_room(raw, [90 * MiB, 70 * MiB + 1], epoch=EPOCH)
        assert 160 * MiB + LEFT < free(raw) < 190 * MiB + LEFT


def test_nothing_changes_where_there_is_room_enough(fresh: Fresh, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/etc").mkdir()
    root = make_ext4(tmp_path / "r.ext4", 160 * MiB, tmp_path / "tree")
    disk = assemble(tmp_path / "x.img", "dos", [("root", root, "83")])
    before = disk.path.read_bytes()
    with RawImage(disk.path, writable=True) as raw:
        assert not make_room(raw, [10 * MiB], epoch=EPOCH)
    assert disk.path.read_bytes() == before


def test_no_files_need_no_room(fresh: Fresh) -> None:
    with RawImage(fresh("mbr").path, writable=True) as raw:
        assert not make_room(raw, [], epoch=EPOCH)


def test_a_root_with_something_behind_it_is_told_with_what_is_missing(parts: dict[str, Path], tmp_path: Path) -> None:
    disk = assemble(tmp_path / "x.img", "dos", [("root", parts["ext4"], "83"), ("boot", parts["fat"], "c")])
    with RawImage(disk.path, writable=True) as raw, pytest.raises(EditFailed, match="is behind it") as failure:
        make_room(raw, [200 * MiB], epoch=EPOCH)
    assert "free for 200 MiB and 64 MiB to spare" in str(failure.value)
    assert "first boot" in failure.value.hint
