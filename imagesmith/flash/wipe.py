"""Blanks a card: its tables and the places where file systems begin, or every byte; and reads that back.

Called by `workflow.wipe`. Talks to the card's writer; touches no device itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imagesmith.errors import ReadbackDiffers
from imagesmith.events import Listener
from imagesmith.flash import verdict
from imagesmith.flash.alone import STEP, Alone, alone
from imagesmith.flash.cards import PATIENT, Card, Patience
from imagesmith.messages import Blank, Compare, Flush, Place, Promised, Put
from imagesmith.model import Device
from imagesmith.planning.probing import ends
from imagesmith.planning.tables import partitions_of
from imagesmith.planning.wiping import places_of
from imagesmith.ring import Ring
from imagesmith.units import MiB

_PUT = 16
"""Steps in one order: 64 MiB, with a sign of life after each step."""
_LOOKED_INTO = 64 * MiB
"""Of what is not zeros afterwards so much is told to 4 KiB; a card with more of it is broken everywhere."""


@dataclass(frozen=True, slots=True)
class Wiped:
    """A card that was blanked and read back."""

    device: Device
    size: int
    """Bytes that are zeros now: written, and read back from the medium."""
    partitions: int
    """So many were in its table."""
    full: bool


async def wipe_card(
    device: Device, card: Card, ring: Ring, *, full: bool, listener: Listener, patience: Patience = PATIENT
) -> Wiped:
    """Head, tail and the partitions' starts and ends; with `full` everything.

    Raises DeviceRefused, IOFailed, ReadbackDiffers where something is not zeros afterwards, Interrupted.
    """
    async with alone(card, ring, device, blanked=ends(device), listener=listener, patience=patience) as one:
        # What is read here is only a way to find more to blank, so it is read before anything is lost.
        (head,) = await one.sample([(0, min(MiB, device.size))])
        one.voice.begin("blank", device.path)
        if wrong := await one.blank():
            raise _kept(wrong, device)
        size = await _everything(one) if full else await _places(one, places_of(head, device))
        await one.settle()
    return Wiped(device, size, len(partitions_of(head, device.size)), full)


async def _places(card: Alone, places: Sequence[Place]) -> int:
    if wrong := await card.each(Blank((place,)) for place in places):
        raise _kept(wrong, card.device)
    card.voice.end()
    return sum(size for _, size in places)


async def _everything(card: Alone) -> int:
    size = card.device.size
    card.voice.end()
    card.ring.slot(0)[:] = bytes(STEP)
    card.voice.begin("write", f"zeros to {card.device.path}", size)
    await card.each(_zeros(size))
    await card.ask(Flush())
    card.voice.end()
    card.voice.begin("read back", card.device.path, size)
    if wrong := await card.differing(_promised(size)):
        raise _kept(await _looked_into(card, wrong), card.device)
    card.voice.end()
    return size


def _steps(size: int) -> Iterator[Place]:
    for offset in range(0, size, STEP):
        yield offset, min(STEP, size - offset)


def _zeros(size: int) -> Iterator[Put]:
    pieces = [(offset, 0, length) for offset, length in _steps(size)]
    for first in range(0, len(pieces), _PUT):
        yield Put(0, tuple(pieces[first : first + _PUT]))


def _promised(size: int) -> Iterator[Promised]:
    zeros = bytes(STEP)
    whole = hashlib.sha256(zeros).hexdigest()
    for offset, length in _steps(size):
        yield offset, length, whole if length == STEP else hashlib.sha256(zeros[:length]).hexdigest()


async def _looked_into(card: Alone, wrong: Sequence[Promised]) -> list[Place]:
    few = _LOOKED_INTO // STEP
    orders = (Compare(0, ((offset, 0, size),)) for offset, size, _ in wrong[:few])
    return await card.each(orders) + [(offset, size) for offset, size, _ in wrong[few:]]


def _kept(places: Sequence[Place], device: Device) -> ReadbackDiffers:
    failure = verdict.differs(places, device.path)
    failure.hint = "the card keeps there what was on it: destroy it if that must not be read"
    return failure
