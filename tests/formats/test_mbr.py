"""MBR tables, judged by sfdisk in both directions."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesmith import tools
from imagesmith.errors import ContentMalformed
from imagesmith.formats import mbr
from imagesmith.formats.mbr import Mbr, partition_uuid
from imagesmith.model import Partition
from imagesmith.units import MiB

DISK = 64 * MiB
DISK_ID = 0x5E1A02C4
FAT = Partition(1, 4 * MiB, 16 * MiB, "0c", "", partition_uuid(DISK_ID, 1))
ROOT = Partition(2, 20 * MiB, 40 * MiB, "83", "", partition_uuid(DISK_ID, 2))
TABLE = Mbr(DISK_ID, (FAT, ROOT), (1,))


@st.composite
def tables(draw: st.DrawFn) -> Mbr:
    numbers = sorted(draw(st.sets(st.integers(1, 4), max_size=4)))
    edges = sorted(draw(st.sets(st.integers(1, 2**32 - 1), min_size=2 * len(numbers), max_size=2 * len(numbers))))
    disk_id = draw(st.integers(0, 2**32 - 1))
    kinds = st.sampled_from(["0c", "83", "82", "ee", "ef", "01", "ff"])
    partitions = tuple(
        Partition(number, first * 512, (last - first) * 512, draw(kinds), "", partition_uuid(disk_id, number))
        for number, first, last in zip(numbers, edges[::2], edges[1::2], strict=True)
    )
    return Mbr(disk_id, partitions, tuple(draw(st.sets(st.sampled_from(numbers))) if numbers else ()))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(DISK)
    return path


def sfdisk_writes(disk: Path, script: str) -> bytes:
    tools.run(["sfdisk", "--quiet", str(disk)], stdin=script.encode())
    return disk.read_bytes()[:512]


def sfdisk_reads(disk: Path, sector: bytes) -> dict[str, object]:
    with disk.open("r+b") as file:
        file.write(sector)
    table: dict[str, object] = json.loads(tools.run(["sfdisk", "--json", str(disk)]).stdout)["partitiontable"]
    return table


@given(tables())
def test_what_is_encoded_parses_to_the_same(table: Mbr):
    found = mbr.parse(mbr.encode(table))
    assert (found.disk_id, found.partitions) == (table.disk_id, table.partitions)
    assert set(found.active) == set(table.active)


@settings(max_examples=200)
@given(tables(), st.binary(min_size=440, max_size=440), st.binary(min_size=2, max_size=2))
def test_an_unchanged_table_gives_the_old_sector_back(table: Mbr, code: bytes, copy_mark: bytes):
    sector = bytearray(mbr.encode(table, code))
    sector[444:446] = copy_mark
    assert mbr.encode(mbr.parse(bytes(sector)), bytes(sector)) == sector


def test_sfdisk_reads_what_we_write(disk: Path):
    found = sfdisk_reads(disk, mbr.encode(TABLE))
    assert (found["label"], found["id"]) == ("dos", "0x5e1a02c4")
    assert found["partitions"] == [
        {"node": f"{disk}1", "start": 8192, "size": 32768, "type": "c", "bootable": True},
        {"node": f"{disk}2", "start": 40960, "size": 81920, "type": "83"},
    ]


def test_what_sfdisk_writes_parses(disk: Path):
    sector = sfdisk_writes(disk, "label: dos\nlabel-id: 0x5e1a02c4\n8192,32768,c,*\n40960,81920,83\n")
    assert mbr.parse(sector, DISK) == TABLE


def test_we_write_the_bytes_that_sfdisk_writes(disk: Path):
    assert mbr.encode(TABLE) == sfdisk_writes(
        disk, "label: dos\nlabel-id: 0x5e1a02c4\n8192,32768,c,*\n40960,81920,83\n"
    )


def test_a_gap_in_the_numbers_stays(disk: Path):
    table = Mbr(DISK_ID, (replace(ROOT, number=3, uuid=partition_uuid(DISK_ID, 3)),))
    found = sfdisk_reads(disk, mbr.encode(table))["partitions"]
    assert isinstance(found, list)
    assert [row["node"] for row in found] == [f"{disk}3"]
    assert mbr.parse(mbr.encode(table)) == table


def test_boot_code_survives_a_change_of_the_table():
    code = random.Random(1).randbytes(440)
    grown = mbr.with_partition_size(TABLE, 2, 44 * MiB)
    sector = mbr.encode(grown, mbr.encode(TABLE, code))
    assert sector[:440] == code
    assert mbr.parse(sector) == grown


def test_cylinders_of_another_geometry_survive_on_entries_that_stay():
    sector = bytearray(mbr.encode(TABLE))
    sector[447:450] = b"\x82\x03\x00"
    kept = mbr.encode(mbr.with_partition_size(TABLE, 2, 41 * MiB), bytes(sector))
    assert kept[446:462] == sector[446:462]


def test_a_protective_mbr_is_recognised(disk: Path):
    assert mbr.is_protective(mbr.parse(sfdisk_writes(disk, "label: gpt\n8192,32768\n")))
    assert not mbr.is_protective(TABLE)


def test_our_protective_mbr_is_the_one_of_sfdisk(disk: Path):
    ours, theirs = mbr.encode(mbr.protective(DISK)), sfdisk_writes(disk, "label: gpt\n8192,32768\n")
    # Its last cylinder is allowed to be true or FF FF FF; nobody reads it.
    assert ours[:451] + ours[454:] == theirs[:451] + theirs[454:]


def test_an_extended_partition_is_refused(disk: Path):
    sector = sfdisk_writes(disk, "label: dos\n8192,32768,c\n40960,81920,5\n45056,2048,83\n")
    with pytest.raises(ContentMalformed, match=r"partition 2 is an extended one \(type 05\)") as caught:
        mbr.parse(sector)
    assert "GPT" in caught.value.hint


def test_overlapping_partitions_are_refused_by_name():
    sector = mbr.encode(replace(TABLE, partitions=(replace(FAT, size=17 * MiB), ROOT)))
    with pytest.raises(
        ContentMalformed, match="partitions 1 and 2 overlap: 1 ends at byte 22020096, 2 starts at 20971520"
    ):
        mbr.parse(sector)


def test_partitions_that_only_touch_are_fine():
    assert FAT.start + FAT.size == ROOT.start
    assert mbr.parse(mbr.encode(TABLE)).partitions == (FAT, ROOT)


def test_a_partition_behind_the_disk_is_refused():
    with pytest.raises(ContentMalformed, match="partition 2 ends at byte 62914560"):
        mbr.parse(mbr.encode(TABLE), 62914560 - 512)
    assert mbr.parse(mbr.encode(TABLE), 62914560) == TABLE


def test_a_protective_mbr_may_claim_more_than_the_disk():
    assert mbr.is_protective(mbr.parse(mbr.encode(mbr.protective(2**42)), DISK))


def test_a_partition_over_the_table_is_refused():
    sector = bytearray(mbr.encode(TABLE))
    sector[454:458] = bytes(4)
    with pytest.raises(ContentMalformed, match="partition 1 starts at byte 0, inside the table"):
        mbr.parse(bytes(sector))


def test_a_sector_without_signature_is_refused():
    with pytest.raises(ContentMalformed, match="no 55 AA at byte 510"):
        mbr.parse(mbr.encode(TABLE)[:510] + b"\x55\xab")


def test_a_short_sector_is_refused():
    with pytest.raises(ContentMalformed, match="only 511 bytes"):
        mbr.parse(mbr.encode(TABLE)[:511])


def test_a_file_system_without_table_is_told_from_a_disk(disk: Path):
    tools.run(["mkfs.fat", "-F", "32", str(disk)])
    with pytest.raises(ContentMalformed) as caught:
        mbr.parse(disk.read_bytes()[:512])
    assert "FAT file system" in caught.value.what
    assert "whole-disk image is needed" in caught.value.hint


def test_a_flag_that_does_not_exist_is_refused():
    sector = bytearray(mbr.encode(TABLE))
    sector[462] = 0x81
    with pytest.raises(ContentMalformed, match="entry 2 has the flag 0x81"):
        mbr.parse(bytes(sector))


@pytest.mark.parametrize(
    "table",
    [
        replace(TABLE, partitions=(FAT, replace(ROOT, number=1))),
        replace(TABLE, partitions=(replace(FAT, number=5),), active=()),
        replace(TABLE, partitions=(replace(FAT, start=FAT.start + 1),)),
        replace(TABLE, partitions=(replace(FAT, size=2**41),)),
        replace(TABLE, active=(3,)),
    ],
    ids=["number twice", "fifth", "odd start", "2 TiB", "absent active"],
)
def test_what_an_mbr_can_not_hold_is_a_value_error(table: Mbr):
    with pytest.raises(ValueError, match="partition"):
        mbr.encode(table)


def test_growing_into_the_next_partition_is_a_value_error():
    with pytest.raises(ValueError, match="overlap"):
        mbr.with_partition_size(TABLE, 1, 17 * MiB)


def test_growing_an_absent_partition_is_a_value_error():
    with pytest.raises(ValueError, match="no partition 4"):
        mbr.with_partition_size(TABLE, 4, MiB)
