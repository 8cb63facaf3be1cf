"""Which places of a card are blanked: all that tells of a table or a file system."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from imagesmith.model import Device
from imagesmith.planning.tables import partitions_of
from imagesmith.planning.wiping import places_of
from imagesmith.units import KiB, MiB

SIZE = 100 * MiB


def head_of(folder: Path, script: str, size: int = SIZE) -> bytes:
    disk = folder / "disk"
    with disk.open("wb") as file:
        file.truncate(size)
    subprocess.run(["sfdisk", "--quiet", disk], input=script, text=True, check=True)
    return disk.read_bytes()[:MiB]


def places(head: bytes, size: int = SIZE) -> tuple[tuple[int, int], ...]:
    return places_of(head, Device("/dev/x", "x", "disk", size))


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_starts_and_ends_of_partitions_are_blanked(tmp_path: Path, label: str) -> None:
    head = head_of(tmp_path, f"label: {label}\nstart=20480, size=40960\nstart=81920, size=81920\n")
    assert len(partitions_of(head, SIZE)) == 2
    end = 128 * KiB
    assert places(head) == (
        (0, MiB), (10 * MiB, MiB), (30 * MiB - end, end), (40 * MiB, MiB), (80 * MiB - end, end), (99 * MiB, MiB)
    )  # fmt: skip


def test_the_second_table_of_a_smaller_image_is_blanked_too(tmp_path: Path) -> None:
    head = head_of(tmp_path, "label: gpt\nstart=20480, size=40960\n", 50 * MiB)
    assert (50 * MiB - 128 * KiB, 128 * KiB) in places(head)


def test_a_partition_that_touches_the_head_is_not_blanked_twice(tmp_path: Path) -> None:
    head = head_of(tmp_path, "label: dos\nstart=2048\n")
    assert places(head) == ((0, 2 * MiB), (99 * MiB, MiB))


@pytest.mark.parametrize("head", [b"", bytes(MiB), b"\xff" * MiB])
def test_without_a_table_both_ends_are_blanked(head: bytes) -> None:
    assert places(head) == ((0, MiB), (99 * MiB, MiB))


def test_a_table_that_lies_of_its_size_leads_nowhere_outside(tmp_path: Path) -> None:
    head = head_of(tmp_path, "label: dos\nstart=2048, size=100000\n")
    for size in (0, 512, MiB, 20 * MiB):
        assert all(offset + length <= size for offset, length in places(head, size))
