"""Small disk images, made once and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from made_disks import PI_FILES, Disk, MiB, assemble, make_ext4, make_fat, make_tree, noise


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """File systems to make disks of: `ext4`, `fat` (a Pi's boot partition), `esp`."""
    folder = tmp_path_factory.mktemp("parts")
    tree = make_tree(folder / "tree")
    return {
        "ext4": make_ext4(folder / "root.ext4", 48 * MiB, tree, "-b", "4096"),
        "fat": make_fat(folder / "boot.fat", 36 * MiB, PI_FILES, "-F", "32"),
        "esp": make_fat(folder / "esp.fat", 8 * MiB, {"/EFI/BOOTX64.EFI": noise(50_000, 4)}, label="ESP"),
    }


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory, parts: dict[str, Path]) -> dict[str, Disk]:
    folder = tmp_path_factory.mktemp("bases")
    pi = [("boot", parts["fat"], "c"), ("root", parts["ext4"], "83")]
    uefi = [("esp", parts["esp"], "uefi"), ("root", parts["ext4"], "linux")]
    return {
        "mbr": assemble(folder / "mbr.img", "dos", pi, tail=0),
        "gpt": assemble(folder / "gpt.img", "gpt", uefi),
        "gpt4k": assemble(folder / "gpt4k.img", "gpt", uefi, sector=4096),
    }


@pytest.fixture
def fresh(tmp_path: Path, bases: dict[str, Disk]) -> Callable[..., Disk]:
    """A private copy of a base: `fresh("mbr")`."""

    def copy(name: str, to: str = "node.img") -> Disk:
        base = bases[name]
        shutil.copyfile(base.path, tmp_path / to)
        return Disk(tmp_path / to, dict(base.offsets), dict(base.sizes))

    return copy
