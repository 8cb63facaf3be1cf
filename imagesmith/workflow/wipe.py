"""Wipe a card: refuse what must not be overwritten, ask, blank it.

Called by `cli.cards`. Meets the device list, the user's answer and `flash.wipe`.
"""

from __future__ import annotations

import asyncio

from imagesmith.events import Listener
from imagesmith.flash.wipe import Wiped, wipe_card
from imagesmith.workflow.asking import Ask
from imagesmith.workflow.overwriting import Request, agreed


def wipe(request: Request, *, ask: Ask, listener: Listener) -> Wiped:
    """Blank one card. Raises what `overwriting.agreed` and `flash.wipe.wipe_card` raise."""
    what = "every byte" if request.full else "its tables and the starts and ends of its partitions"
    with (
        agreed(request, ask, f"{what} will be overwritten with zeros and read back", doing="wipe it") as found,
        asyncio.Runner() as runner,
    ):
        return runner.run(
            wipe_card(
                found.device, found.card, found.ring,
                full=request.full, listener=listener, patience=request.patience,
            )
        )  # fmt: skip
