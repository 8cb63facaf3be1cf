"""A card that is about to be overwritten without an image: found, refused where it must be, asked about.

Called by `workflow.probe` and `workflow.wipe`. Looks at devices, writes none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from imagesmith.flash.cards import PATIENT, Card, Patience
from imagesmith.flash.devices import find_device, list_devices
from imagesmith.model import Device
from imagesmith.ring import Ring
from imagesmith.workflow.asking import Ask, confirm, objections, question, refuse
from imagesmith.workflow.crew import hired


@dataclass(frozen=True, slots=True)
class Request:
    """What the user typed."""

    device: str
    full: bool = False
    """Every byte, instead of some places."""
    allow_fixed: bool = False
    yes: bool = False
    """Don't ask; only for a device whose name lasts."""
    patience: Patience = PATIENT


@dataclass(frozen=True, slots=True)
class Agreed:
    """The user agreed that this device is overwritten; the child that will do it waits for orders."""

    device: Device
    card: Card
    ring: Ring


@contextlib.contextmanager
def agreed(request: Request, ask: Ask, *facts: str, doing: str) -> Iterator[Agreed]:
    """The device of the request, as `flash` would take it: the same refusals, the same question with other `facts`.

    Under sudo this process is the user's when it returns. Raises DeviceRefused with every reason, Interrupted where
    the answer is not the expected one; then nothing was written.
    """
    device = find_device(request.device, list_devices())
    refuse(objections(device, allow_fixed=request.allow_fixed, yes=request.yes))
    with hired([[device]]) as (team,):
        if not request.yes:
            confirm([question(device, *facts, doing=doing)], ask)
        yield Agreed(device, team.cards[0], team.ring)
