"""The processes that write and read cards: a card writer per device, a feeder per image, and root given up in between.

Called by `workflow.flash`, `workflow.verify` and `workflow.overwriting`. Under sudo only the card writers stay root:
the process that they are forked from is started first, for the devices that the user named and no others; then this
process becomes the user behind sudo, for good, so that network, parsing and decompression of foreign bytes run as they
would without sudo.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagesmith import tools
from imagesmith.errors import UsageError
from imagesmith.flash.cards import Card, Writers
from imagesmith.flash.feed import Feed
from imagesmith.invoker import become, behind_sudo
from imagesmith.model import Device
from imagesmith.ring import Ring
from imagesmith.tools import own_argv

_SLOTS = 12
"""All images together: 48 MiB of shared memory, used as far as it is needed; half of it where there are many cards."""
_LEAST = 4
_PARTING_S = 0.5
_MANY = 4
"""Cards: each has a process with memory of its own."""


@dataclass(frozen=True, slots=True)
class Team:
    """The card writers of the devices that get the same image, and the memory that they share."""

    ring: Ring
    cards: tuple[Card, ...]

    @contextlib.contextmanager
    def feed(self, descriptors: Sequence[int]) -> Iterator[Feed]:
        """A feeder that inherits `descriptors`, ended afterwards."""
        feed = Feed(
            lambda end, ring: own_argv("imagesmith.sources.feeder", str(end), str(ring)), self.ring, descriptors
        )
        try:
            yield feed
        finally:
            feed.close()


@contextlib.contextmanager
def hired(teams: Sequence[Sequence[Device]]) -> Iterator[tuple[Team, ...]]:
    """Start what card writers are forked from, give up root, and part from the writers afterwards."""
    everybody = [device for devices in teams for device in devices]
    few = len(everybody) <= _MANY
    slots = max(_LEAST, (_SLOTS if few else _SLOTS // 2) // max(1, len(teams)))
    numbers = itertools.count()
    with contextlib.ExitStack() as stack:
        writers = Writers(everybody)
        stack.callback(writers.close)
        made = []
        for devices in teams:
            ring = Ring.made(slots)
            stack.callback(ring.close)
            cards: list[Card] = []
            stack.callback(_part, cards)
            cards += (Card(device, ring, writers, next(numbers)) for device in devices)
            made.append(Team(ring, tuple(cards)))
        user = behind_sudo()
        if user:
            become(user)
            _check_reach(user.pw_name)
        yield tuple(made)


def _part(cards: Sequence[Card]) -> None:
    """Leave all of a team at once, and wait a moment for their ends, so that the cards are free afterwards."""
    for card in cards:
        card.leave()
    until = time.monotonic() + _PARTING_S
    for card in cards:
        card.part(until)


def _check_reach(user: str) -> None:
    """Whether what is run and imported from here on can be reached without root; an installation in /root can't."""
    for needed, mode in ((Path(sys.executable), os.X_OK), (Path(tools.__file__), os.R_OK)):
        if not os.access(needed, mode):
            raise UsageError(
                f"imagesmith was started through sudo, but {user}, who called it, may not use {needed}",
                hint=f"all but the writing itself runs as {user}: install imagesmith for {user}, or for everybody "
                "(sudo pipx install --global imagesmith)",
            )
