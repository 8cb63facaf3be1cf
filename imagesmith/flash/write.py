"""Writes a flash plan to a card, so that the card is either whole and read back, or does not boot.

Called by `workflow.flash`. Touches the device that `plan` names, and reads its image.
The order is the promise; a flush stands between all of its steps:
blank head and tail -> body -> read the body back -> rest of the head and the backup table -> first 4 KiB -> read those
back. Power cuts modelled at every point leave a card that is complete or not bootable, never bootable and wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from imagesmith.errors import DigestMismatch, ImagesmithError, Interrupted, IOFailed, ReadbackDiffers
from imagesmith.events import Listener, Progress, StepFinished, StepStarted
from imagesmith.flash import readback
from imagesmith.flash.medium import CHUNK, Medium, open_for_writing
from imagesmith.flash.withheld import Withheld
from imagesmith.model import Digest
from imagesmith.planning.flash import FlashPlan, Span
from imagesmith.units import show_size


@dataclass(frozen=True, slots=True)
class Receipt:
    """A card that was written and read back whole. There is no receipt for less."""

    plan: FlashPlan
    written: int
    """Bytes of the image that were written, and as many read back."""


def flash(plan: FlashPlan, listener: Listener) -> Receipt:
    """Carry the plan out.

    Raises DeviceRefused before anything is written; afterwards IOFailed, DigestMismatch (the image file is rotten),
    ReadbackDiffers or Interrupted, each saying what state the card is in.
    """
    with (
        _open_image(plan) as source,
        open_for_writing(plan.device) as medium,
        _not_bootable_after_failure(plan, medium),
    ):
        withheld = Withheld(plan)
        _blank(plan, medium, listener)
        spans = _write_body(plan, medium, source, withheld, listener)
        _read_back(spans, plan, medium, source, withheld, listener)
        _write_head(plan, medium, withheld, listener)
        medium.reread_table()
    return Receipt(plan, plan.body_bytes)


@contextlib.contextmanager
def _open_image(plan: FlashPlan) -> Iterator[BinaryIO]:
    try:
        source = plan.image.path.open("rb", buffering=0)
    except OSError as error:
        raise IOFailed(f"the image can't be opened: {error.strerror}", where=str(plan.image.path)) from error
    with source:
        yield source


@contextlib.contextmanager
def _not_bootable_after_failure(plan: FlashPlan, medium: Medium) -> Iterator[None]:
    """Blank the head once more, and say what the card is now. The first error is the one that is told."""
    try:
        yield
    except BaseException as error:
        state = (
            "The card is not bootable: its start is blank"
            if _blanked_again(plan, medium)
            else "Don't use the card: its start could not be blanked, so it may still hold what was on it before"
        )
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(
                "stopped by you", where=plan.device.path, hint=f"{state}. Run the same command again to write it anew"
            ) from error
        if isinstance(error, ImagesmithError):
            error.hint = f"{state}. {error.hint}".rstrip(" .")
        raise


def _blanked_again(plan: FlashPlan, medium: Medium) -> bool:
    """Whether the device now has no head and no backup table, as the medium itself says."""
    try:
        for span in plan.blanked:
            medium.write_bytes(span.offset, bytes(span.size))
        medium.flush()
        return not any(readback.compare_bytes(span.offset, bytes(span.size), medium) for span in plan.blanked)
    except IOFailed:
        return False


def _blank(plan: FlashPlan, medium: Medium, listener: Listener) -> None:
    """From here on nothing old boots, and no old table or signature is found. Read back: a card may ignore writes."""
    listener(StepStarted("blank", plan.device.path))
    for span in plan.blanked:
        medium.write_bytes(span.offset, bytes(span.size))
    medium.flush()
    for span in plan.blanked:
        _refuse(readback.compare_bytes(span.offset, bytes(span.size), medium), plan)
    listener(StepFinished("blank"))


def _write_body(
    plan: FlashPlan, medium: Medium, source: BinaryIO, withheld: Withheld, listener: Listener
) -> tuple[Span, ...]:
    """Write every span but its withheld pieces, which are remembered. Returns the spans with the digests they have."""
    listener(StepStarted("write", f"{show_size(plan.body_bytes)} to {plan.device.path}"))
    done = 0
    whole = hashlib.sha256() if plan.image.block_map is None else None
    spans = []
    for span in plan.spans:
        digest = hashlib.sha256()
        for piece in withheld.pieces(span, CHUNK):
            data = medium.buffer[: piece.size]
            readback.read_exactly(source, piece.offset, data)
            digest.update(data)
            if whole:
                whole.update(data)
            if piece.withheld:
                withheld.keep(piece.offset, data)
            else:
                medium.write(piece.offset, piece.size)
            done += piece.size
            listener(Progress("write", done, plan.body_bytes))
        if span.sha256 and digest.hexdigest() != span.sha256:
            raise _rotten(plan, f"bytes {span.offset}-{span.end - 1} are not what its block map promises")
        spans.append(replace(span, sha256=digest.hexdigest()))
    promised = plan.image.digest
    if whole and promised and promised.algorithm == "sha256" and Digest("sha256", whole.hexdigest()) != promised:
        raise _rotten(plan, f"its sha256 is {whole.hexdigest()}, promised is {promised.hex}")
    medium.flush()
    listener(StepFinished("write"))
    return tuple(spans)


def _rotten(plan: FlashPlan, what: str) -> DigestMismatch:
    return DigestMismatch(
        f"the image file is damaged: {what}",
        where=str(plan.image.path),
        hint="The card is not at fault: build or fetch the image again, then write it anew",
    )


def _read_back(
    spans: tuple[Span, ...], plan: FlashPlan, medium: Medium, source: BinaryIO, withheld: Withheld, listener: Listener
) -> None:
    listener(StepStarted(readback.STEP, plan.device.path))
    _refuse(readback.compare_spans(spans, medium, source, withheld, listener), plan)
    listener(StepFinished(readback.STEP))


def _write_head(plan: FlashPlan, medium: Medium, withheld: Withheld, listener: Listener) -> None:
    """The last of `plan.withheld` is the first 4 KiB: with it, and not before, the card boots."""
    listener(StepStarted("finish", "partition table and boot sector"))
    for span in plan.withheld:
        medium.write_bytes(span.offset, withheld.final(span.offset, span.size))
        medium.flush()
    for span in plan.withheld:
        _refuse(readback.compare_bytes(span.offset, withheld.final(span.offset, span.size), medium), plan)
    listener(StepFinished("finish"))


def _refuse(differences: tuple[readback.Difference, ...], plan: FlashPlan) -> None:
    if differences:
        failure: ReadbackDiffers = readback.failure(differences, plan.device.path)
        raise failure
