"""What is kept of a flash: which card got which node's image, and how it went. Values, and what they say.

Called by `workflow.flash`, `workflow.receipts` and `cli.flash`. Pure; the schema is told in docs/scripting.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from imagesmith.model import Device
from imagesmith.units import show_size

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of a card."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class CardRecord:
    """What became of one card."""

    at: str
    """When it was over, as 2026-01-31T12:00:00Z."""
    node: str
    """Whose image it got; "" for an image without a manifest."""
    outcome: Literal["verified", "failed", "interrupted"]
    device: str
    """Its path, as it was named."""
    by_id: str
    """A name in /dev/disk/by-id, "" where it has none."""
    model: str
    serial: str
    size: int
    image: str
    plan_id: str
    digest: str
    """Of the raw image, `sha256:...`; "" where nothing tells it."""
    written: int = 0
    read_back: int = 0
    """Bytes of the image that were written, and as many found on the card; 0 for less than the whole image."""
    mended: tuple[Stretch, ...] = ()
    """What read back wrong at first, and right once it was written again."""
    settled: str = ""
    """What was done for the card to be taken out, in words that follow its path."""
    error: str = ""
    state: str = ""
    """What the card is like after an error, and what to do."""
    digest_checked: bool = False
    """Whether all of the raw image was read and has `digest`; else that is what was promised of it."""


@dataclass(frozen=True, slots=True)
class FlashReceipt:
    """One run of `flash`: its cards in the order of the arguments."""

    cards: tuple[CardRecord, ...]
    schema: int = SCHEMA


def text(receipt: FlashReceipt) -> str:
    """A table, a row for each card, and below it what is too long for a table."""
    head = ("node", "card", "model", "serial", "size", "outcome")
    rows = [head, *(_row(card) for card in receipt.cards)]
    return "\n".join([*columns(rows), *(line for card in receipt.cards for line in _details(card))])


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, their columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def replaced(node: str, device: Device, earlier: Sequence[FlashReceipt]) -> str:
    """What is said aloud before a node's image goes to a card although the node has one; "" where it has none."""
    cards = [card for one in earlier for card in one.cards if node and card.node == node]
    written = [card for card in cards if card.outcome == "verified"]
    if not written:
        return ""
    last = max(written, key=lambda card: card.at)
    date = last.at.partition("T")[0]
    if device.serial == last.serial and (device.serial or device.path == last.device):
        # A reader has the serial number that its cards seem to have, so this tells less than it seems.
        return f"{node} was already written on {date}, to this card or to another one in the same reader"
    card = last.serial or last.by_id or last.device
    return f"{node} was already written to card {card} on {date}: this is a replacement"


def _row(card: CardRecord) -> tuple[str, ...]:
    return (card.node or "-", card.device, card.model or "-", card.serial or "-", show_size(card.size), _outcome(card))


def _outcome(card: CardRecord) -> str:
    if card.outcome != "verified":
        return card.outcome.upper()
    mended = sum(one.size for one in card.mended)
    again = f", {show_size(mended)} of it only after it was written again" if mended else ""
    return f"verified, {show_size(card.written)} written and read back{again}"


def _digest(card: CardRecord) -> str:
    if card.digest_checked or not card.digest:
        return card.digest
    if card.outcome != "verified":
        return f"{card.digest} (promised)"
    return f"{card.digest} (promised; what was checked are the mapped blocks, by the map's own digests)"


def _details(card: CardRecord) -> Iterator[str]:
    yield ""
    yield f"{card.node} on {card.device}" if card.node else card.device
    mended = ", ".join(f"{one.offset}-{one.offset + one.size - 1}" for one in card.mended)
    facts = (
        ("when", card.at), ("by-id", card.by_id), ("image", card.image), ("digest", _digest(card)),
        ("plan", card.plan_id), ("mended", mended),
        ("then", card.settled), ("error", card.error), ("state", card.state),
    )  # fmt: skip
    yield from (f"  {name:7} {value}" for name, value in facts if value)
