"""The child process that has one card, and nothing else: it does what the conductor says, in order, and answers.

Forked by `flash.card_writers`; under sudo only these two stay root. Touches the one device (or file) that it was
started for. What it is told is in `messages`; it decides nothing, but for this: when the conductor is gone after the
head was begun, the head is blanked again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

from imagesmith.errors import ImagesmithError, Interrupted
from imagesmith.flash.eject import eject
from imagesmith.flash.medium import CHUNK, Medium, open_for_reading, open_for_writing
from imagesmith.flash.unmount import unmount
from imagesmith.messages import (
    OWN,
    Blank,
    Check,
    Compare,
    Done,
    Flush,
    Found,
    Laid,
    Leave,
    Mend,
    Open,
    Place,
    Promised,
    Put,
    Sample,
    Settle,
    Tick,
)
from imagesmith.model import Device
from imagesmith.ring import SLOT, Failed, Link, Ring, vocabulary
from imagesmith.units import KiB, MiB

GRAIN = 4 * KiB
"""Differences are told, and mended, in so many bytes."""
STOP = SLOT - 1
"""The byte of the own slot that is not 0 when everything but Blank and Leave shall be given up."""
ORDERS = vocabulary(Open, Blank, Put, Flush, Check, Mend, Compare, Sample, Settle, Leave)
_QUIET = MiB
"""So many bytes may pass without a Tick."""


class CardWriter:
    """One conversation about one card."""

    def __init__(self, device: Device, link: Link, ring: Ring, own: Ring) -> None:
        self._device = device
        self._link = link
        self._ring = ring
        self._own = own.slot(0)
        self._medium: Medium | None = None
        self._broken: ImagesmithError | None = None
        """The first failure: the kernel tells some only once, so nothing after it may seem to succeed."""
        self._head: tuple[Place, ...] = ()
        """What to blank when the conductor goes away, once its last bytes were begun."""
        self._blanked: tuple[Place, ...] = ()

    def serve(self) -> None:
        """Answer every order, until Leave or until nobody is there to answer."""
        with contextlib.suppress(ConnectionError):
            while (order := self._link.receive()) is not None:
                if isinstance(order, Leave):
                    break
                self._link.send(self._answer(order))
        if self._medium and self._head:
            with contextlib.suppress(ImagesmithError):
                self._blank(self._head)

    def _answer(self, order: object) -> Done | Found | Failed:
        try:
            if isinstance(order, Blank):
                return Found(self._blank(order.places))
            if self._broken:
                raise self._broken
            return self._do(order)
        except ConnectionError:
            raise
        except Exception as error:
            told = error if isinstance(error, ImagesmithError) else _bug(error, self._device.path)
            self._broken = self._broken or told
            return Failed.of(told)

    def _do(self, order: object) -> Done | Found:
        match order:
            case Open():
                self._medium = self._opened(order)
            case Put(slot, pieces):
                self._head = self._blanked if slot == OWN else self._head
                for offset, data in self._steps(slot, pieces):
                    self._card.write(offset, data)
            case Flush():
                self._card.flush()
            case Check(spans):
                return Found(tuple(self._differing(spans)))
            case Mend(slot, pieces):
                return Found(_joined(self._mended(slot, pieces)))
            case Compare(slot, pieces):
                return Found(_joined(self._compared(slot, pieces)))
            case Sample(pieces):
                for offset, at, size in pieces:
                    self._heed()
                    self._own[at : at + size] = self._card.read(offset, size)
            case Settle(wanted):
                return Done(self._settled(wanted))
        return Done()

    @property
    def _card(self) -> Medium:
        assert self._medium, "the conductor says Open first"
        return self._medium

    def _opened(self, order: Open) -> Medium:
        if not order.writing:
            return open_for_reading(self._device)
        if self._device.kind != "file":
            # Is it still that card? What was put in meanwhile keeps its mounts.
            open_for_reading(self._device).close()
            unmount(self._device)
        return open_for_writing(self._device)

    def _blank(self, places: tuple[Place, ...]) -> tuple[Place, ...]:
        """Zero the places, and tell where the medium does not say so afterwards."""
        self._blanked = places
        if places[0][0] == 0:
            # By itself: else a power cut could leave the old first sector, and a hole in what it needs.
            self._card.zero(0, self._card.device.logical_sector)
            self._card.flush()
        for offset, size in places:
            self._card.zero(offset, size)
        self._card.flush()
        found: list[Place] = []
        zeros = memoryview(bytes(CHUNK))
        for offset, size in places:
            for at in range(offset, offset + size, CHUNK):
                expected = zeros[: min(CHUNK, offset + size - at)]
                found += _differences(at, self._card.read(at, len(expected)), expected)
        self._head = ()
        return _joined(found)

    def _steps(self, slot: int, pieces: tuple[Laid, ...]) -> Iterator[tuple[int, memoryview]]:
        """The offset and bytes of each piece; between them Ticks are sent, and the word to stop is heard."""
        if not OWN <= slot < self._ring.count or any(
            min(offset, at, SLOT - at - size) < 0 for offset, at, size in pieces
        ):
            raise ImagesmithError(
                "a card writer was given what lies in no slot", hint="this is a bug; please report it"
            )
        memory = self._own if slot == OWN else self._ring.slot(slot)
        quiet = 0
        for offset, at, whole in pieces:
            for done in range(0, whole, CHUNK):
                self._heed()
                size = min(CHUNK, whole - done)
                yield offset + done, memory[at + done : at + done + size]
                quiet += size
                if quiet >= _QUIET:
                    self._link.send(Tick(quiet))
                    quiet = 0
        if quiet:
            self._link.send(Tick(quiet))

    def _differing(self, spans: tuple[Promised, ...]) -> Iterator[Place]:
        for offset, size, sha256 in spans:
            digest = hashlib.sha256()
            for at in range(offset, offset + size, CHUNK):
                self._heed()
                step = min(CHUNK, offset + size - at)
                digest.update(self._card.read(at, step))
                self._link.send(Tick(step))
            if digest.hexdigest() != sha256:
                yield offset, size

    def _compared(self, slot: int, pieces: tuple[Laid, ...]) -> Iterator[Place]:
        for offset, expected in self._steps(slot, pieces):
            yield from _differences(offset, self._card.read(offset, len(expected)), expected)

    def _mended(self, slot: int, pieces: tuple[Laid, ...]) -> Iterator[Place]:
        for offset, expected in self._steps(slot, pieces):
            for at, size in _joined(_differences(offset, self._card.read(offset, len(expected)), expected)):
                self._card.write(at, expected[at - offset : at - offset + size])
                yield at, size

    def _settled(self, wanted: bool) -> str:
        self._head = ()
        self._card.reread_table()
        self._card.close()
        if not wanted:
            return ""
        return eject(self._card.device)

    def _heed(self) -> None:
        if self._own[STOP]:
            raise Interrupted("stopped by you", where=self._device.path)


def _differences(offset: int, actual: memoryview, expected: memoryview) -> Iterator[Place]:
    if actual == expected:
        return
    size = len(expected)
    for at in range(0, size, GRAIN):
        if actual[at : at + GRAIN] != expected[at : at + GRAIN]:
            yield offset + at, min(GRAIN, size - at)


def _joined(found: Iterable[Place]) -> tuple[Place, ...]:
    joined: list[Place] = []
    for offset, size in found:
        if joined and sum(joined[-1]) == offset:
            joined[-1] = (joined[-1][0], joined[-1][1] + size)
        else:
            joined.append((offset, size))
    return tuple(joined)


def _bug(error: Exception, path: str) -> ImagesmithError:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return ImagesmithError(
        f"this is a bug in imagesmith: {error!r} ({place.name}, line {place.lineno})",
        where=path,
        hint="please report it",
    )


def write_card(told: str, conversation: int, ring: int, own: int) -> None:
    """Be the writer of a device, told as JSON, with three descriptors, until the conversation is over."""
    device = Device(**json.loads(told))
    with contextlib.suppress(OSError):
        # For `ps` and `top`, since all writers have the same command line. The kernel takes 15 letters; a space in
        # them would confuse who reads /proc.
        Path("/proc/self/comm").write_text(f"card-{Path(device.path).name}")
    link = Link(socket.socket(fileno=conversation), ORDERS)
    CardWriter(device, link, Ring.at(ring), Ring.at(own)).serve()
