"""Receipts as files: names, modes, what is read again, and that nothing about them stops a flash."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from imagesmith.events import Event, Noted, Warned, unheard
from imagesmith.flash.writing import Receipt
from imagesmith.model import Device, Digest
from imagesmith.planning.flash import SourceImage, plan_flash
from imagesmith.planning.receipt import CardRecord, FlashReceipt, Stretch, text
from imagesmith.units import MiB
from imagesmith.workflow.beside import Beside
from imagesmith.workflow.receipts import earlier, keep, record_of

CARD = CardRecord(
    "2026-01-31T12:00:00Z", "node-1", "verified", "/dev/sdb", "", "Reader", "4711", 512, "node-1.img", "p" * 64,
    "sha256:" + "d" * 64, 512, 512, (Stretch(0, 512),),
)  # fmt: skip


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    keep([CARD], tmp_path, unheard)
    assert earlier(tmp_path, unheard) == (FlashReceipt((CARD,)),)


@pytest.mark.parametrize(("delivered", "checked"), [("e" * 64, True), ("", False)])
def test_a_digest_counts_as_checked_only_where_the_whole_image_was_read(delivered: str, checked: bool) -> None:
    card = Device("/dev/sdb", "sdb", "disk", 64 * MiB)
    image = SourceImage(Path("i.img"), MiB, bytes(MiB), digest=Digest("sha256", "d" * 64))
    receipt = Receipt(plan_flash(card, image), MiB, sha256=delivered)
    record = record_of(receipt, receipt.plan, "", Beside(image, None, (), ()), "2026-01-31T12:00:00Z")
    assert (record.digest, record.digest_checked) == (f"sha256:{delivered or 'd' * 64}", checked)


def test_a_receipt_without_what_later_versions_added_is_read(tmp_path: Path) -> None:
    keep([CARD], tmp_path, unheard)
    (path,) = (tmp_path / "receipts").glob("*.json")
    document = json.loads(path.read_text())
    del document["cards"][0]["digest_checked"]
    path.write_text(json.dumps(document))
    assert earlier(tmp_path, unheard) == (FlashReceipt((CARD,)),)


def test_the_files_are_named_by_the_time_and_may_be_read_by_all(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        keep([CARD], tmp_path, unheard)
    finally:
        os.umask(old)
    kept = sorted((tmp_path / "receipts").iterdir())
    assert [path.name for path in kept] == ["2026-01-31T120000Z.json", "2026-01-31T120000Z.txt"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in kept] == [0o644, 0o644]
    assert kept[1].read_text() == text(FlashReceipt((CARD,))) + "\n"


def test_two_receipts_of_one_second_are_both_kept(tmp_path: Path) -> None:
    keep([CARD], tmp_path, unheard)
    keep([CARD], tmp_path, unheard)
    names = [path.name for path in (tmp_path / "receipts").glob("*.json")]
    assert sorted(names) == ["2026-01-31T120000Z-2.json", "2026-01-31T120000Z.json"]


def test_it_is_said_where_the_receipt_is(tmp_path: Path) -> None:
    events: list[Event] = []
    keep([CARD], tmp_path, events.append)
    assert events == [Noted(f"receipt: {tmp_path}/receipts/2026-01-31T120000Z.json")]


def test_a_folder_that_can_t_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "receipts").write_text("a file")
    events: list[Event] = []
    keep([CARD], tmp_path, events.append)
    assert [type(event) for event in events] == [Warned]


@pytest.mark.parametrize(
    "damage", ["", "{", '{"schema": 2, "cards": []}', "[]", '{"schema": 1, "cards": [{}]}', "\xff"]
)
def test_a_damaged_receipt_is_told_and_left_out(tmp_path: Path, damage: str) -> None:
    keep([CARD], tmp_path, unheard)
    (tmp_path / "receipts" / "2025.json").write_bytes(damage.encode("latin-1"))
    events: list[Event] = []
    assert earlier(tmp_path, events.append) == (FlashReceipt((CARD,)),)
    (event,) = events
    assert isinstance(event, Warned)
    assert "2025.json" in event.message


def test_a_pipe_among_receipts_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "receipts").mkdir()
    os.mkfifo(tmp_path / "receipts" / "x.json")
    assert earlier(tmp_path, unheard) == ()


def test_a_path_that_is_no_utf_8_is_kept_too(tmp_path: Path) -> None:
    keep([replace(CARD, image="a\udcff.img")], tmp_path, unheard)
    (path,) = (tmp_path / "receipts").glob("*.json")
    assert json.loads(path.read_text())["cards"][0]["image"] == "a\udcff.img"
    assert r"\udcff" in path.with_suffix(".txt").read_text()
