"""Plans carried out by the real processes, for tests: a feeder, card writers, and what became of each card."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from imagesmith.errors import ImagesmithError
from imagesmith.events import Listener, unheard
from imagesmith.flash.cards import PATIENT, Patience
from imagesmith.flash.conduct import write_cards
from imagesmith.flash.writing import Errand, Receipt
from imagesmith.messages import Look
from imagesmith.planning.flash import FlashPlan
from imagesmith.planning.resume import Written
from imagesmith.workflow.crew import hired

_ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "imagesmith", "flash"]


def surroundings(folder: Path) -> dict[str, Any]:
    """For the real command: receipts and records of it stay in the test's folder."""
    return {"cwd": folder, "env": {**os.environ, "IMAGESMITH_CACHE": str(folder / "cache"), "PYTHONPATH": str(_ROOT)}}


def flash(plan: FlashPlan, listener: Listener = unheard, **options: object) -> Receipt:
    """One card; its failure is raised."""
    (result,) = flash_all([plan], listener, **options)
    if isinstance(result, ImagesmithError):
        raise result
    return result


def flash_all(
    plans: Sequence[FlashPlan],
    listener: Listener = unheard,
    patience: Patience = PATIENT,
    source: Path | None = None,
    written: Callable[[], Written] = Written,
) -> list[Receipt | ImagesmithError]:
    """Several cards from one image, `source` instead of the plans' own where it is packed.

    `written` = what an interrupted run is said to have left on each.
    """
    path = source or plans[0].image.path
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with (
            asyncio.Runner() as runner,
            hired([[plan.device for plan in plans]]) as (team,),
            team.feed([descriptor]) as feed,
        ):
            looked = runner.run(feed.look(Look(str(path), descriptor=descriptor)))
            errands = [Errand(plan, card, written=written()) for plan, card in zip(plans, team.cards, strict=True)]
            return runner.run(
                write_cards(errands, feed, again=looked.looked.again, listener=listener, patience=patience)
            )
    finally:
        os.close(descriptor)
