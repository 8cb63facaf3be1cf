"""Probe a card: refuse what must not be overwritten, ask, test it.

Called by `cli.cards`. Meets the device list, the user's answer and `flash.probe`.
"""

from __future__ import annotations

import asyncio
import secrets

from imagesmith.events import Listener
from imagesmith.flash.pattern import KEY_SIZE
from imagesmith.flash.probe import Probed, probe_card
from imagesmith.planning.probing import plan_probe
from imagesmith.workflow.asking import Ask
from imagesmith.workflow.overwriting import Request, agreed


def probe(request: Request, *, ask: Ask, listener: Listener) -> Probed:
    """Test one card over what is on it. Raises what `overwriting.agreed` and `flash.probe.probe_card` raise."""
    what = "every byte is" if request.full else "places all over it are"
    with (
        agreed(
            request, ask, f"a test: {what} overwritten and read back; it is blank afterwards", doing="test it"
        ) as found,
        asyncio.Runner() as runner,
    ):
        plan = plan_probe(found.device, full=request.full)
        key = secrets.token_bytes(KEY_SIZE)
        return runner.run(probe_card(plan, key, found.card, found.ring, listener=listener, patience=request.patience))
