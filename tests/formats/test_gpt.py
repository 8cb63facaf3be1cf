"""GUID partition tables, judged by sgdisk and sfdisk in both directions."""

from __future__ import annotations

import itertools
import json
import random
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesmith import tools
from imagesmith.errors import ContentMalformed
from imagesmith.formats import gpt, mbr
from imagesmith.formats.gpt import Gpt
from imagesmith.model import Partition
from imagesmith.units import MiB

DISK = 64 * MiB
HEAD = 34 * 512


def guid(number: int) -> str:
    return f"{number:08X}-1111-4222-8333-44445555ABCD"


ESP = Partition(1, 1 * MiB, 8 * MiB, gpt.ESP, "esp", guid(2))
ROOT = Partition(15, 9 * MiB, 20 * MiB, gpt.ROOT_X86_64, "root ä", guid(3))
TABLE = replace(gpt.blank(guid(1), DISK), partitions=(ESP, ROOT), attributes={1: 1, 15: 1 << 59})


@st.composite
def tables(draw: st.DrawFn, sector_sizes: tuple[int, ...] = (512, 4096)) -> Gpt:
    sector = draw(st.sampled_from(sector_sizes))
    table = gpt.blank(str(draw(st.uuids())), draw(st.integers(2**10, 2**24)) * sector, sector)
    numbers = sorted(draw(st.sets(st.integers(1, 128), max_size=6)))
    lbas = st.integers(table.first_usable, table.last_usable + 1)
    edges = sorted(draw(st.sets(lbas, min_size=2 * len(numbers), max_size=2 * len(numbers))))
    names = st.text("aZ0 -_é€漢𝄞", max_size=18)
    partitions = tuple(
        Partition(
            number, first * sector, (last - first) * sector,
            draw(st.sampled_from([gpt.ESP, gpt.LINUX, gpt.BIOS_BOOT])), draw(names), str(draw(st.uuids())).upper(),
        )
        for number, first, last in zip(numbers, edges[::2], edges[1::2], strict=True)
    )  # fmt: skip
    attributes = {number: bits for number in numbers if (bits := draw(st.integers(0, 2**64 - 1)))}
    return replace(table, partitions=partitions, attributes=attributes)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return tmp_path / "disk"


def write(disk: Path, table: Gpt, boot_code: bytes = b"") -> None:
    """Both copies onto a disk that has random bytes in their places, so that nothing rests on what was there."""
    if not disk.exists():
        litter(disk, table.disk_size)
    with disk.open("r+b") as file:
        file.truncate(table.disk_size)
        file.write(gpt.encode_primary(table, boot_code))
        offset, backup = gpt.encode_backup(table)
        file.seek(offset)
        file.write(backup)


def litter(disk: Path, size: int) -> None:
    with disk.open("wb") as file:
        file.write(random.Random(7).randbytes(HEAD + 4096))
        file.seek(size - HEAD)
        file.write(random.Random(8).randbytes(HEAD))


def sfdisk_reads(disk: Path) -> dict[str, object]:
    table: dict[str, object] = json.loads(tools.run(["sfdisk", "--json", str(disk)]).stdout)["partitiontable"]
    return table


def sgdisk_finds_problems(disk: Path) -> str:
    """What sgdisk complains about; empty when all is well."""
    done = tools.run(["sgdisk", "-v", str(disk)], expect=None)
    # "No problems found" is said of a bent second copy too, with the truth on stderr. A "Caution" about alignment
    # is advice; layouts here are drawn at random.
    return "" if "No problems found" in done.text and not done.stderr else done.text + done.complaint


def sealed(head: bytes, *, entry: int = 0, patch: bytes = b"", at: int = 0) -> bytes:
    """The head with a patch in entry `entry` (1-based; 0 = the header), checksums made right again."""
    raw = bytearray(head)
    start = 1024 + 128 * (entry - 1) + at if entry else 512 + at
    raw[start : start + len(patch)] = patch
    struct.pack_into("<I", raw, 512 + 88, zlib.crc32(raw[1024 : 1024 + 128 * 128]))
    struct.pack_into("<I", raw, 512 + 16, 0)
    struct.pack_into("<I", raw, 512 + 16, zlib.crc32(raw[512 : 512 + 92]))
    return bytes(raw)


@given(tables())
def test_what_is_encoded_parses_to_the_same(table: Gpt):
    assert gpt.parse(gpt.encode_primary(table), table.disk_size, table.sector_size) == table


@settings(max_examples=12)
@given(tables((512,)).filter(lambda table: table.disk_size < 2**32))
def test_sgdisk_finds_no_problem_in_any_table(tmp_path_factory: pytest.TempPathFactory, table: Gpt):
    disk = tmp_path_factory.mktemp("gpt") / "disk"
    disk.touch()
    write(disk, table)
    assert sgdisk_finds_problems(disk) == ""


def test_sfdisk_reads_what_we_write(disk: Path):
    write(disk, TABLE)
    found = sfdisk_reads(disk)
    assert (found["label"], found["id"]) == ("gpt", guid(1))
    assert (found["firstlba"], found["lastlba"]) == (34, DISK // 512 - 34)
    assert found["partitions"] == [
        {
            "node": f"{disk}1", "start": 2048, "size": 16384, "type": gpt.ESP, "uuid": guid(2), "name": "esp",
            "attrs": "RequiredPartition",
        },
        {
            "node": f"{disk}15", "start": 18432, "size": 40960, "type": gpt.ROOT_X86_64, "uuid": guid(3),
            "name": "root ä", "attrs": "GUID:59",
        },
    ]  # fmt: skip


def test_what_sfdisk_writes_parses(disk: Path):
    litter(disk, DISK)
    script = (
        f"label: gpt\nlabel-id: {guid(1)}\nfirst-lba: 34\n"
        f'1: start=2048, size=16384, type={gpt.ESP}, uuid={guid(2)}, name="esp", attrs="RequiredPartition"\n'
        f'15: start=18432, size=40960, type={gpt.ROOT_X86_64}, uuid={guid(3)}, name="root ä", attrs="GUID:59"\n'
    )
    tools.run(["sfdisk", "--quiet", "--wipe", "always", str(disk)], stdin=script.encode())
    assert gpt.parse(disk.read_bytes()[:HEAD], DISK) == TABLE


def test_what_sgdisk_writes_parses_to_what_sfdisk_sees(disk: Path):
    with disk.open("wb") as file:
        file.truncate(DISK)
    tools.run(["sgdisk", "-n", "14:2048:+4M", "-t", "14:ef02", "-n", "1:0:0", "-c", "1:cloud", str(disk)])
    found = gpt.parse(disk.read_bytes()[:HEAD], DISK)
    seen = sfdisk_reads(disk)["partitions"]
    assert isinstance(seen, list)
    assert [part.number for part in found.partitions] == [1, 14]
    assert [(part.start // 512, part.size // 512, part.type, part.uuid, part.name) for part in found.partitions] == [
        (row["start"], row["size"], row["type"], row["uuid"], row.get("name", "")) for row in seen
    ]


def test_the_second_copy_alone_is_enough_for_sfdisk(disk: Path):
    write(disk, TABLE)
    before = sfdisk_reads(disk)
    with disk.open("r+b") as file:
        file.seek(512)
        file.write(random.Random(5).randbytes(HEAD - 512))
    assert sfdisk_reads(disk) == before


def test_sgdisk_notices_a_bent_second_copy(disk: Path):
    write(disk, TABLE)
    with disk.open("r+b") as file:
        file.seek(DISK - 512 + 40)
        file.write(b"\xff")
    assert sgdisk_finds_problems(disk)


def test_a_table_moves_to_the_end_of_a_larger_disk(disk: Path):
    write(disk, TABLE)
    larger = gpt.resized(gpt.parse(disk.read_bytes()[:HEAD], DISK), 100 * MiB)
    write(disk, larger)
    assert sgdisk_finds_problems(disk) == ""
    assert sfdisk_reads(disk)["lastlba"] == 100 * MiB // 512 - 34
    assert gpt.parse(disk.read_bytes()[:HEAD], 100 * MiB).partitions == TABLE.partitions


def test_a_table_on_a_larger_disk_says_what_it_was_made_for():
    assert gpt.parse(gpt.encode_primary(TABLE), 100 * MiB).disk_size == DISK


def test_a_partition_grows_into_a_larger_disk(disk: Path):
    larger = gpt.with_partition_size(gpt.resized(TABLE, 100 * MiB), 15, 80 * MiB)
    write(disk, larger)
    assert sgdisk_finds_problems(disk) == ""
    assert gpt.parse(disk.read_bytes()[:HEAD], 100 * MiB).partitions == (ESP, replace(ROOT, size=80 * MiB))


def test_a_disk_of_odd_size_ends_at_its_last_whole_sector():
    assert gpt.resized(TABLE, 100 * MiB + 17) == gpt.resized(TABLE, 100 * MiB)


def test_a_disk_too_small_for_its_partitions_is_a_value_error():
    with pytest.raises(ValueError, match="partitions end at byte 30408704"):
        gpt.resized(TABLE, 29 * MiB)


def test_a_partition_past_the_last_usable_sector_is_a_value_error():
    room = (TABLE.last_usable + 1) * 512 - ROOT.start
    assert gpt.with_partition_size(TABLE, 15, room).partitions[1].size == room
    with pytest.raises(ValueError, match="partition 15 ends at byte"):
        gpt.with_partition_size(TABLE, 15, room + 512)


def test_growing_into_the_next_partition_is_a_value_error():
    with pytest.raises(ValueError, match="overlap"):
        gpt.with_partition_size(TABLE, 1, 9 * MiB)


def test_boot_code_and_the_active_flag_survive(disk: Path):
    code = random.Random(2).randbytes(440)
    first = bytearray(gpt.encode_primary(TABLE, code)[:512])
    first[440:444] = b"\x04\x03\x02\x01"
    first[446] = 0x80
    kept = gpt.encode_primary(gpt.resized(TABLE, 100 * MiB), bytes(first))[:512]
    assert kept[:440] == code
    assert (mbr.parse(kept).disk_id, mbr.parse(kept).active) == (0x01020304, (1,))
    assert mbr.parse(kept).partitions[0].size == 100 * MiB - 512


def test_a_table_of_4096_byte_sectors_lies_where_it_should():
    table = gpt.blank(guid(1), DISK, 4096)
    head, (offset, backup) = gpt.encode_primary(table), gpt.encode_backup(table)
    assert (len(head), head[4096:4104], offset + len(backup)) == (6 * 4096, b"EFI PART", DISK)
    assert backup[-4096:-4088] == b"EFI PART"
    assert struct.unpack_from("<I", head, 446 + 12) == (DISK // 4096 - 1,)


@pytest.mark.parametrize(("written", "read"), [(4096, 512), (512, 4096)])
def test_a_wrong_sector_size_is_named(written: int, read: int):
    head = gpt.encode_primary(gpt.blank(guid(1), DISK, written)).ljust(8 * 4096, b"\0")
    with pytest.raises(ContentMalformed, match=f"written for sectors of {written} bytes, but read with {read}"):
        gpt.parse(head, DISK, read)


@settings(max_examples=300)
@given(st.one_of(st.integers(512, 512 + 91), st.integers(1024, HEAD - 1)), st.integers(0, 7))
def test_a_flipped_bit_is_noticed(place: int, bit: int):
    head = bytearray(gpt.encode_primary(TABLE))
    head[place] ^= 1 << bit
    with pytest.raises(ContentMalformed):
        gpt.parse(bytes(head), DISK)


@settings(max_examples=200)
@given(st.binary(max_size=6000), st.integers(0, 2**40))
def test_rubbish_is_refused_and_nothing_else_happens(data: bytes, size: int):
    rubbish = data[:446].ljust(446, b"\0") + gpt.encode_primary(TABLE)[446:520] + data[446:]
    with pytest.raises(ContentMalformed):
        gpt.parse(rubbish, size)


def test_overlapping_partitions_are_refused():
    first = struct.pack("<Q", 18431)
    with pytest.raises(ContentMalformed, match="partitions 1 and 15 overlap"):
        gpt.parse(sealed(gpt.encode_primary(TABLE), entry=15, at=32, patch=first), DISK)


def test_overlapping_partitions_are_not_written_either():
    with pytest.raises(ContentMalformed, match="overlap"):
        gpt.encode_primary(replace(TABLE, partitions=(replace(ESP, size=9 * MiB), ROOT)))


@pytest.mark.parametrize(
    ("at", "lba", "message"),
    [
        (32, 33, "partition 1 starts at byte 16896, inside the table"),
        (40, DISK // 512 - 33, "partition 1 ends at byte|overlap"),
        (40, 2047, "partition 1 ends before it starts"),
    ],
    ids=["over the head", "over the end", "backwards"],
)
def test_a_partition_out_of_range_is_refused(at: int, lba: int, message: str):
    alone = replace(TABLE, partitions=(ESP,), attributes={})
    with pytest.raises(ContentMalformed, match=message):
        gpt.parse(sealed(gpt.encode_primary(alone), entry=1, at=at, patch=struct.pack("<Q", lba)), DISK)


def test_a_usable_range_over_the_second_copy_is_refused():
    patch = struct.pack("<Q", DISK // 512 - 33)
    with pytest.raises(ContentMalformed, match="runs into the table itself"):
        gpt.parse(sealed(gpt.encode_primary(TABLE), at=48, patch=patch), DISK)


def test_a_truncated_disk_is_refused():
    with pytest.raises(ContentMalformed, match=f"made for a disk of {DISK} bytes, but there are only {DISK - 512}"):
        gpt.parse(gpt.encode_primary(TABLE), DISK - 512)


def test_a_truncated_head_is_refused():
    with pytest.raises(ContentMalformed, match="truncated"):
        gpt.parse(gpt.encode_primary(TABLE)[: HEAD - 512], DISK)


def test_entries_of_another_size_are_refused():
    with pytest.raises(ContentMalformed, match="128 entries of 256 bytes"):
        gpt.parse(sealed(gpt.encode_primary(TABLE), at=84, patch=struct.pack("<I", 256)), DISK)


def test_a_name_that_is_no_text_is_refused():
    with pytest.raises(ContentMalformed, match="partition 1's name is no UTF-16"):
        gpt.parse(sealed(gpt.encode_primary(TABLE), entry=1, at=56, patch=b"\x00\xd8a\x00"), DISK)


def test_an_mbr_disk_is_no_gpt_disk():
    table = mbr.Mbr(1, (Partition(1, MiB, MiB, "83"),))
    with pytest.raises(ContentMalformed, match="no EFI PART"):
        gpt.parse(mbr.encode(table).ljust(HEAD, b"\0"), DISK)


def test_a_hybrid_mbr_is_refused(disk: Path):
    write(disk, TABLE)
    tools.run(["sgdisk", "-h", "1", str(disk)])
    with pytest.raises(ContentMalformed, match="the MBR in front of it has partitions of type"):
        gpt.parse(disk.read_bytes()[:HEAD], DISK)


def test_a_name_longer_than_its_field_is_a_value_error():
    with pytest.raises(ValueError, match="longer than 36 characters"):
        gpt.encode_primary(replace(TABLE, partitions=(replace(ESP, name="x" * 37),)))


def test_the_type_guids_are_those_of_sgdisk(disk: Path):
    with disk.open("wb") as file:
        file.truncate(DISK)
    codes = {"ef00": gpt.ESP, "ef02": gpt.BIOS_BOOT, "8300": gpt.LINUX, "8304": gpt.ROOT_X86_64, "8305": gpt.ROOT_ARM64}
    each = [["-n", f"{number}:0:+1M", "-t", f"{number}:{code}"] for number, code in enumerate(codes, 1)]
    tools.run(["sgdisk", *itertools.chain(*each), str(disk)])
    found = gpt.parse(disk.read_bytes()[:HEAD], DISK)
    assert [part.type for part in found.partitions] == list(codes.values())
    assert all(str(UUID(part.uuid)).upper() == part.uuid for part in found.partitions)
