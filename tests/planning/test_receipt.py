"""The text of a receipt, and what earlier receipts make us say."""

from __future__ import annotations

from dataclasses import replace

from imagesmith.model import Device
from imagesmith.planning.receipt import CardRecord, FlashReceipt, Stretch, replaced, text
from imagesmith.units import GiB, MiB

GOOD = CardRecord(
    "2026-01-31T12:00:00Z", "node-1", "verified", "/dev/sdb", "/dev/disk/by-id/usb-A", "Reader", "4711", 32 * GiB,
    "out/node-1/node-1.img", "p" * 64, "sha256:" + "d" * 64, 635 * MiB, 635 * MiB,
)  # fmt: skip
BAD = replace(
    GOOD, node="node-2", outcome="failed", device="/dev/sdc", model="", serial="", written=0, read_back=0,
    error="/dev/sdc: it differs", state="The card is not bootable",
)  # fmt: skip
OTHER = Device("/dev/sdd", "sdd", "disk", 32 * GiB, serial="9999")


def test_a_row_tells_node_card_and_outcome() -> None:
    lines = text(FlashReceipt((GOOD, BAD))).splitlines()
    assert lines[0].split() == ["node", "card", "model", "serial", "size", "outcome"]
    assert " ".join(lines[1].split()) == "node-1 /dev/sdb Reader 4711 32 GiB verified, 635 MiB written and read back"
    assert " ".join(lines[2].split()) == "node-2 /dev/sdc - - 32 GiB FAILED"


def test_what_is_too_long_for_the_table_stands_below_it() -> None:
    below = text(FlashReceipt((GOOD, BAD))).partition("\n\n")[2]
    for words in (GOOD.digest, GOOD.plan_id, GOOD.by_id, GOOD.image, GOOD.at, BAD.error, BAD.state):
        assert words in below


def test_a_digest_that_was_only_promised_is_told_as_such() -> None:
    assert f"{GOOD.digest} (promised; " in text(FlashReceipt((GOOD,)))
    assert f"{BAD.digest} (promised)" in text(FlashReceipt((BAD,)))
    assert "promised" not in text(FlashReceipt((replace(GOOD, digest_checked=True),)))


def test_what_was_mended_is_told_with_its_places() -> None:
    told = text(FlashReceipt((replace(GOOD, mended=(Stretch(4096, 8192),)),)))
    assert "8.0 KiB of it only after it was written again" in told
    assert "4096-12287" in told


def test_a_node_that_has_a_card_is_told_with_the_last_one() -> None:
    later = replace(GOOD, at="2026-02-01T08:00:00Z", serial="4712")
    words = replaced("node-1", OTHER, [FlashReceipt((later,)), FlashReceipt((GOOD,))])
    assert words == "node-1 was already written to card 4712 on 2026-02-01: this is a replacement"


def test_a_card_without_a_serial_number_is_told_by_another_name() -> None:
    assert "card /dev/disk/by-id/usb-A on" in replaced("node-1", OTHER, [FlashReceipt((replace(GOOD, serial=""),))])


def test_the_same_serial_number_may_be_the_reader_s() -> None:
    words = replaced("node-1", replace(OTHER, serial="4711"), [FlashReceipt((GOOD,))])
    assert "to this card or to another one in the same reader" in words


def test_without_serial_numbers_the_same_path_may_be_the_same_card() -> None:
    nameless = replace(GOOD, serial="", by_id="")
    assert "to this card or" in replaced(
        "node-1", replace(OTHER, serial="", path="/dev/sdb"), [FlashReceipt((nameless,))]
    )
    assert "card /dev/sdb on" in replaced("node-1", replace(OTHER, serial=""), [FlashReceipt((nameless,))])


def test_cards_that_failed_and_other_nodes_make_no_replacement() -> None:
    assert replaced("node-2", OTHER, [FlashReceipt((GOOD, BAD))]) == ""
    assert replaced("", OTHER, [FlashReceipt((replace(GOOD, node=""),))]) == ""
