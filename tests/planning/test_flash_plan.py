"""What a flash plan contains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from imagesmith.errors import ContentMalformed
from imagesmith.formats import gpt, mbr
from imagesmith.model import BlockMap, Device, Digest, MappedRange, Partition
from imagesmith.planning.flash import (
    BOOT_SIZE,
    HEAD_SIZE,
    SourceImage,
    Span,
    delivery,
    gpt_sector,
    plan_flash,
)
from imagesmith.units import GiB, KiB, MiB

CARD = Device("/dev/sdb", "sdb", "disk", 32 * GiB, "Reader", "123", "usb", removable=True)
GUID = "11111111-2222-3333-4444-555555555555"


def image(size: int, head: bytes = b"\1" * HEAD_SIZE, block_map: BlockMap | None = None) -> SourceImage:
    return SourceImage(Path("i.img"), size, head, block_map)


def gpt_head(size: int, sector: int = 512) -> bytes:
    part = Partition(1, MiB, 2 * MiB, gpt.LINUX, "root", "AAAAAAAA-2222-3333-4444-555555555555")
    table = replace(gpt.blank(GUID, size, sector), partitions=(part,))
    return gpt.encode_primary(table).ljust(HEAD_SIZE, b"\0")


def test_without_a_map_every_byte_is_planned() -> None:
    plan = plan_flash(CARD, image(200 * MiB + 100))
    assert plan.body_bytes == 200 * MiB + 100
    assert plan.spans[-1].end == 200 * MiB + 100
    assert all(before.end == after.offset for before, after in zip(plan.spans, plan.spans[1:], strict=False))


def test_with_a_map_its_ranges_are_planned_with_their_digests() -> None:
    block_map = BlockMap(10 * MiB + 1, 4096, (MappedRange(0, 9, "aa"), MappedRange(2560, 2560, "bb")))
    plan = plan_flash(CARD, image(10 * MiB + 1, block_map=block_map))
    assert plan.spans == (Span(0, 40960, "aa"), Span(10 * MiB, 1, "bb"))


@pytest.mark.parametrize("digests", [("", ""), ("aa", "")])
def test_a_map_that_vouches_for_less_than_a_known_digest_is_not_used(digests: tuple[str, str]) -> None:
    first, second = digests
    block_map = BlockMap(10 * MiB, 4096, (MappedRange(0, 9, first), MappedRange(300, 310, second)))
    promised = replace(image(10 * MiB, block_map=block_map), digest=Digest("sha256", "b" * 64))
    order = delivery([plan_flash(CARD, promised)], again=True)
    assert order.everything
    assert order.digest == f"sha256:{'b' * 64}"


def test_a_map_without_digests_is_used_where_nothing_else_is_known() -> None:
    block_map = BlockMap(10 * MiB, 4096, (MappedRange(0, 9, ""),))
    assert delivery([plan_flash(CARD, image(10 * MiB, block_map=block_map))], again=True).spans == ((0, 40960, ""),)


def test_a_map_of_another_image_is_refused() -> None:
    with pytest.raises(ContentMalformed, match="block map is for an image of"):
        plan_flash(CARD, image(10 * MiB, block_map=BlockMap(11 * MiB, 4096, ())))


def test_the_first_4_kib_come_last() -> None:
    plan = plan_flash(CARD, image(10 * MiB))
    assert plan.withheld == (Span(BOOT_SIZE, MiB - BOOT_SIZE), Span(0, BOOT_SIZE))


def test_head_and_tail_are_blanked_first() -> None:
    plan = plan_flash(CARD, image(10 * MiB))
    assert plan.blanked == (Span(0, MiB), Span(CARD.size - MiB, MiB))


def test_an_mbr_image_is_not_patched() -> None:
    assert plan_flash(CARD, image(10 * MiB)).patches == ()


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_gpt_moves_to_the_end_of_a_larger_card(sector: int) -> None:
    device = replace(CARD, logical_sector=sector)
    head = gpt_head(10 * MiB, sector)
    plan = plan_flash(device, image(10 * MiB, head))
    primary, backup = plan.patches
    assert gpt.parse(primary.data, CARD.size, sector).disk_size == CARD.size
    assert backup.offset + len(backup.data) == CARD.size
    assert plan.withheld[1] == Span(backup.offset, len(backup.data))


def test_a_gpt_that_fits_exactly_is_withheld_but_not_patched() -> None:
    device = replace(CARD, size=10 * MiB)
    plan = plan_flash(device, image(10 * MiB, gpt_head(10 * MiB)))
    assert plan.patches == ()
    assert plan.withheld[1] == Span(10 * MiB - 33 * 512, 33 * 512)


def test_a_gpt_that_cant_be_moved_is_written_as_it_is_and_said() -> None:
    head = bytearray(gpt_head(10 * MiB))
    head[600] ^= 1
    plan = plan_flash(CARD, image(10 * MiB, bytes(head)))
    assert plan.patches == ()
    assert "checksum" in plan.note


def mbr_head() -> bytes:
    parts = (Partition(1, MiB, MiB, mbr.FAT32, "", ""), Partition(2, 2 * MiB, 4 * MiB, mbr.LINUX, "", ""))
    return mbr.encode(mbr.Mbr(1, parts)).ljust(HEAD_SIZE, b"\0")


def test_an_image_that_ends_within_a_partition_is_refused() -> None:
    with pytest.raises(ContentMalformed, match=f"partition 2 ends at byte {6 * MiB}, the image at {6 * MiB - 1}"):
        plan_flash(CARD, image(6 * MiB - 1, mbr_head()))
    for sector in (512, 4096):
        with pytest.raises(ContentMalformed, match=f"partition 1 ends at byte {3 * MiB}, the image at {2 * MiB}"):
            plan_flash(replace(CARD, logical_sector=sector), image(2 * MiB, gpt_head(10 * MiB, sector)))


def test_an_image_that_ends_with_its_last_partition_is_taken() -> None:
    assert plan_flash(CARD, image(6 * MiB, mbr_head())).note == ""
    # Only the second copy of the table is missing.
    assert "made for a disk of" in plan_flash(CARD, image(3 * MiB, gpt_head(10 * MiB))).note


def test_an_image_of_unknown_size_or_with_a_map_may_end_where_it_does() -> None:
    assert plan_flash(CARD, image(0, mbr_head()))
    block_map = BlockMap(5 * MiB, 4096, (MappedRange(0, 1279, "aa"),))
    assert plan_flash(CARD, image(5 * MiB, mbr_head(), block_map)).body_bytes == 5 * MiB


def test_the_sector_size_of_a_table_is_told_from_its_place() -> None:
    assert gpt_sector(gpt_head(10 * MiB)) == 512
    assert gpt_sector(gpt_head(10 * MiB, 4096)) == 4096
    assert gpt_sector(bytes(64 * KiB)) is None
