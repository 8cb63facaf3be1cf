"""The small disk images of tests/image, for sealing."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "image"))

import pytest
from made_disks import PI_FILES, Disk, MiB, assemble, make_ext4, make_fat, make_tree


@pytest.fixture
def pi_disk(tmp_path: Path) -> Disk:
    """An MBR disk like a Pi's, with a file of zeros on each file system that is truly allocated."""
    zeros = bytes(2 * MiB)
    tree = make_tree(tmp_path / "tree")
    (tree / "home/zeros").write_bytes(zeros)
    fat = make_fat(tmp_path / "boot.fat", 36 * MiB, {**PI_FILES, "/zeros.bin": zeros}, "-F", "32")
    root = make_ext4(tmp_path / "root.ext4", 48 * MiB, tree, "-b", "4096")
    return assemble(tmp_path / "node.img", "dos", [("boot", fat, "c"), ("root", root, "83")], tail=0)
