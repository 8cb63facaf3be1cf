"""Writes an image to cards side by side: one reading of it, one `Writing` for each card, and what became of them all.

Called by `workflow.flash`. Talks to one feeder and a card writer per card; touches no device itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from imagesmith.errors import ImagesmithError, Interrupted
from imagesmith.events import Listener
from imagesmith.flash import verdict
from imagesmith.flash.cards import PATIENT, Patience
from imagesmith.flash.delivery import Delivery, Inbox
from imagesmith.flash.feed import Feed
from imagesmith.flash.voice import Voice
from imagesmith.flash.writing import Errand, Receipt, Writing
from imagesmith.planning.flash import delivery


class Stopped(Interrupted):
    """Ctrl-C while cards were written. `results` tells what became of each by then, as `write_cards` would."""

    def __init__(self, paths: Sequence[str], results: Sequence[Receipt | ImagesmithError]) -> None:
        self.results = tuple(results)
        states = [verdict.WHOLE if isinstance(one, Receipt) else one.hint for one in results]
        told = [f"{path}: {state}" for path, state in zip(paths, states, strict=True)] if len(paths) > 1 else states
        hint = f"{'; '.join(told)}. Run the same command again to write it anew"
        super().__init__("stopped by you", where=", ".join(paths), hint=hint)


async def write_cards(
    errands: Sequence[Errand], feed: Feed, *, again: bool, listener: Listener, patience: Patience = PATIENT
) -> list[Receipt | ImagesmithError]:
    """Carry the plans out; what became of each, in their order. All plans are for the same image.

    `again`: the feeder can be asked for the same bytes twice. Cancelled (Ctrl-C), every card is blanked as far as it
    answers in `farewell_s`, and Stopped is raised, telling the state of each.
    """
    wanted = delivery([errand.plan for errand in errands], again=again)
    inboxes = [Inbox() for _ in errands]
    first = Delivery(feed, wanted, inboxes)
    several = len(errands) > 1
    repairs = asyncio.Lock()
    writings = [
        Writing(
            errand, first, inbox, feed if again else None, repairs, Voice(listener, errand.card.path, several), patience
        )
        for errand, inbox in zip(errands, inboxes, strict=True)
    ]
    pump = asyncio.create_task(first.run())
    tasks = [asyncio.create_task(writing.run()) for writing in writings]
    try:
        return list(await asyncio.gather(*tasks))
    except asyncio.CancelledError:
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        results = [writing.at_the_end(end) for writing, end in zip(writings, ends, strict=True)]
        raise Stopped([writing.path for writing in writings], results) from None
    finally:
        pump.cancel()
        # Also gives the closed links their turn.
        await asyncio.gather(pump, return_exceptions=True)
