"""Which node's image goes to which of the cards that are inserted: `flash --all` in one pure place.

Called by `workflow.flash`. Nodes keep the inventory's order; cards are taken in the order of names that last, so that
the same cards in the same slots always get the same nodes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from imagesmith.model import Device
from imagesmith.planning.refusals import MAX_SIZE, is_fixed, refusals
from imagesmith.units import show_size


@dataclass(frozen=True, slots=True)
class Cards:
    """What of this machine's devices counts as a card that was inserted to be written."""

    taken: tuple[Device, ...]
    left_out: tuple[tuple[Device, str], ...]
    """What looks like a card but is not touched, and why, in words that follow its path."""


@dataclass(frozen=True, slots=True)
class Assignment:
    pairs: tuple[tuple[str, Device], ...]
    """Node and card."""
    nodes_left: tuple[str, ...]
    """Nodes for which no card is inserted."""
    cards_left: tuple[Device, ...]
    """Cards for which there is no node; nothing is written to them."""


def inserted(devices: Sequence[Device]) -> Cards:
    """The whole, removable disks that may be written without a flag, in their lasting order.

    Loop devices and files are never cards, fixed disks never either. A disk that is larger than any card is left
    out, although its typed name would allow it: that is for who names it.
    """
    taken, left_out = [], []
    for device in sorted(devices, key=_lasting_order):
        if device.kind != "disk" or is_fixed(device) or not device.size:
            continue
        reasons = refusals(device, 0, allow_fixed=False, name_typed=True)
        if reasons:
            left_out.append((device, reasons[0].reason))
        elif device.size > MAX_SIZE:
            left_out.append((device, f"has {show_size(device.size)}, more than the {show_size(MAX_SIZE)} of a card"))
        else:
            taken.append(device)
    return Cards(tuple(taken), tuple(left_out))


def assign(nodes: Sequence[str], cards: Sequence[Device]) -> Assignment:
    """The first node to the first card, and so on, as far as both go."""
    count = min(len(nodes), len(cards))
    return Assignment(tuple(zip(nodes[:count], cards[:count], strict=True)), tuple(nodes[count:]), tuple(cards[count:]))


def _lasting_order(device: Device) -> tuple[bool, list[tuple[int, str]]]:
    """By the by-id name, else by the port; what has neither comes last, by the kernel's name."""
    names = device.by_id or device.by_path
    return not names, _natural(min(names) if names else device.name)


def _natural(name: str) -> list[tuple[int, str]]:
    """As a person sorts: port 2 before port 10, sdz before sdaa."""
    pieces = re.findall(r"\d+|\D+", name)
    return [(int(piece), "") if piece.isdecimal() else (len(piece) * _is_short(name), piece) for piece in pieces]


def _is_short(name: str) -> bool:
    # The kernel counts sdz, sdaa: the longer one is the later one. In lasting names length means nothing.
    return "/" not in name
