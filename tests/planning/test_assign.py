"""Which cards `flash --all` takes, in which order, and which node each gets."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from imagesmith.model import Device, FileSystem
from imagesmith.planning.assign import assign, inserted
from imagesmith.units import GiB

CARD = Device("/dev/sdb", "sdb", "disk", 32 * GiB, bus="usb", removable=True)


def card(name: str, *by_id: str, by_path: tuple[str, ...] = ()) -> Device:
    return replace(
        CARD,
        path=f"/dev/{name}",
        name=name,
        by_id=tuple(f"/dev/disk/by-id/{one}" for one in by_id),
        by_path=tuple(f"/dev/disk/by-path/{one}" for one in by_path),
    )


def order(*cards: Device) -> list[str]:
    """Names in the order in which they are taken, which is the same however they are listed."""
    orders = {tuple(one.name for one in inserted(listed).taken) for listed in permutations(cards)}
    assert len(orders) == 1
    return list(orders.pop())


def test_each_node_gets_the_next_card() -> None:
    one, two = card("sdb"), card("sdc")
    found = assign(["node-1", "node-2"], [one, two])
    assert found.pairs == (("node-1", one), ("node-2", two))
    assert (found.nodes_left, found.cards_left) == ((), ())


def test_nodes_without_a_card_are_told() -> None:
    found = assign(["node-1", "node-2", "node-3"], [card("sdb")])
    assert [node for node, _ in found.pairs] == ["node-1"]
    assert found.nodes_left == ("node-2", "node-3")


def test_cards_without_a_node_are_told() -> None:
    found = assign(["node-1"], [card("sdb"), card("sdc")])
    assert [one.name for one in found.cards_left] == ["sdc"]


def test_cards_are_taken_by_their_by_id_names_not_by_the_kernel_s() -> None:
    assert order(card("sdb", "usb-Reader_9"), card("sdc", "usb-Reader_1"), card("sdd", "mmc-Card_5")) == [
        "sdd",
        "sdc",
        "sdb",
    ]


def test_slots_of_one_reader_are_counted_as_people_count() -> None:
    assert order(card("sdb", "usb-R-0:10"), card("sdc", "usb-R-0:9"), card("sdd", "usb-R-0:0")) == ["sdd", "sdc", "sdb"]


def test_without_a_by_id_name_the_port_decides_and_then_the_kernel_s_name() -> None:
    assert order(card("sdaa"), card("sdz"), card("sdb", by_path=("usb-0:4",)), card("sdc", by_path=("usb-0:2",))) == [
        "sdc",
        "sdb",
        "sdz",
        "sdaa",
    ]


@pytest.mark.parametrize(
    "other",
    [
        replace(CARD, kind="loop", bus="", removable=False),
        replace(CARD, kind="file", bus="", removable=False),
        replace(CARD, kind="part"),
        replace(CARD, bus="sata", removable=False),
        replace(CARD, size=0),
    ],
    ids=["loop", "file", "partition", "fixed", "empty reader"],
)
def test_what_is_never_taken_for_a_card(other: Device) -> None:
    assert inserted([other]).taken == ()
    assert inserted([other]).left_out == ()


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (replace(CARD, holds_system=True), "holds the running system"),
        (replace(CARD, read_only=True), "read-only"),
        (replace(CARD, mounts=("/srv",)), "mounted as /srv"),
        (replace(CARD, size=2048 * GiB), "more than the 256 GiB"),
    ],
    ids=["system", "read-only", "mounted", "large"],
)
def test_a_card_that_may_not_be_written_is_left_out_and_told_why(other: Device, why: str) -> None:
    found = inserted([other])
    assert found.taken == ()
    assert why in found.left_out[0][1]


def test_a_card_with_someone_s_data_is_taken_since_its_name_will_be_asked_for() -> None:
    full = replace(CARD, filesystems=(FileSystem("sdb1", "ntfs", "Photos", 30 * GiB),))
    assert inserted([full]).taken == (full,)
