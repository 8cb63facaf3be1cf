"""Verify an image against what lies beside it, and a card against the image, without writing anything.

Called by `cli.flash` (the `verify` command). Reads the image, the files beside it, and one device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from imagesmith.errors import DeviceRefused, DigestMismatch, IOFailed, UsageError
from imagesmith.events import Listener, Noted, Progress, StepFinished, StepStarted
from imagesmith.flash import readback
from imagesmith.flash.devices import file_as_device, find_device, list_devices
from imagesmith.flash.medium import CHUNK, Medium, open_for_reading
from imagesmith.flash.withheld import Withheld
from imagesmith.model import Device
from imagesmith.planning.flash import FlashPlan, SourceImage, Span, plan_flash, spans_of
from imagesmith.units import show_size
from imagesmith.workflow.beside import PACKED, Beside, digest_in, look_beside
from imagesmith.workflow.unpack import raw_image

_CHECK = "check image"


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found true, one line each. There is none for less."""

    image: Path
    facts: tuple[str, ...]


def verify_image(path: Path, listener: Listener) -> Verified:
    """Compare an image with its SHA256SUMS, manifest and block map: all of them, and every range.

    Raises DigestMismatch (bytes), ContentMalformed (a broken or foreign side file), UsageError when nothing lies
    beside the image that could speak for it.
    """
    with raw_image(path, listener) as raw:
        beside = look_beside(raw.path, raw.named)
        if not beside.found:
            raise UsageError(
                "nothing lies beside it to compare it with (SHA256SUMS, manifest, block map)",
                where=str(raw.named),
                hint="to compare it with a card, give the card as a second argument",
            )
        with _opened(raw.path) as source:
            _check_image(beside.image, source, listener)
        facts = [f"agrees with {found.name}" for found in beside.found]
        facts += _check_listed(raw.named, beside)
        return Verified(raw.named, tuple(facts))


def verify_device(path: Path, device_path: str, listener: Listener) -> Verified:
    """Read a card back past all caches and compare it with the image; a GPT moved to the card's end is fine.

    The image is checked first, so that a difference is the card's. Raises ReadbackDiffers with offsets, DeviceRefused,
    IOFailed and what `verify_image` raises but for UsageError: an image with nothing beside it is compared whole.
    """
    with raw_image(path, listener) as raw:
        image = look_beside(raw.path, raw.named).image
        device = _device(device_path)
        if device.size < image.size:
            raise DeviceRefused(
                f"has only {show_size(device.size)} ({device.size} bytes), the image {image.size}: it can't hold it",
                where=device.path,
            )
        plan = plan_flash(device, image)
        with _opened(raw.path) as source, open_for_reading(device) as medium:
            spans = _check_image(image, source, listener)
            listener(StepStarted(readback.STEP, device.path))
            found = _compare(plan, spans, medium, source, listener)
            listener(StepFinished(readback.STEP))
        if found:
            failure = readback.failure(found, device.path)
            failure.hint = "it was changed since it was written (was it booted?), or the card does not keep its bytes"
            raise failure
        fact = f"{device.path} holds {show_size(plan.body_bytes)} of it, read back uncached"
        return Verified(raw.named, (fact,))


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise IOFailed(f"can't be read: {error.strerror}", where=str(path)) from error


def _device(path: str) -> Device:
    return file_as_device(path) if Path(path).is_file() else find_device(path, list_devices())


def _check_image(image: SourceImage, source: BinaryIO, listener: Listener) -> tuple[Span, ...]:
    """Read the whole image once: its own digest and every range's. Returns the spans with the digests they have."""
    listener(StepStarted(_CHECK, str(image.path)))
    whole = hashlib.sha256()
    spans, wrong = [], []
    for span, is_mapped in _all_spans(image):
        digest = hashlib.sha256()
        for data in _chunks(source, span):
            whole.update(data)
            digest.update(data)
        listener(Progress(_CHECK, span.end, image.size))
        if span.sha256 and digest.hexdigest() != span.sha256:
            wrong.append(f"bytes {span.offset}-{span.end - 1} are not what the block map promises")
        if is_mapped:
            spans.append(replace(span, sha256=digest.hexdigest()))
    if image.digest and image.digest.algorithm == "sha256" and whole.hexdigest() != image.digest.hex:
        wrong.insert(0, f"its sha256 is {whole.hexdigest()}, promised is {image.digest.hex}")
    if wrong:
        raise DigestMismatch(
            f"the image file is damaged: {'; '.join(wrong[:8])}{f' and {len(wrong) - 8} more' * (len(wrong) > 8)}",
            where=str(image.path),
            hint="build or fetch it again",
        )
    listener(StepFinished(_CHECK))
    return tuple(spans)


def _all_spans(image: SourceImage) -> Iterator[tuple[Span, bool]]:
    """The spans of the map, and the gaps between them, which only the digest of the whole speaks for."""
    at = 0
    for span in spans_of(image):
        if at < span.offset:
            yield Span(at, span.offset - at), False
        yield span, True
        at = span.end
    if at < image.size:
        yield Span(at, image.size - at), False


def _chunks(source: BinaryIO, span: Span) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(CHUNK))
    for offset in range(span.offset, span.end, CHUNK):
        view = buffer[: min(CHUNK, span.end - offset)]
        readback.read_exactly(source, offset, view)
        yield view


def _check_listed(path: Path, beside: Beside) -> list[str]:
    """Packed copies of the image that SHA256SUMS names and that are there."""
    facts = []
    for packed in (path.with_name(path.name + ending) for ending in PACKED):
        promised = digest_in(beside.sums, packed)
        if promised is None or not packed.is_file():
            continue
        with packed.open("rb", buffering=0) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != promised.hex:
            raise DigestMismatch(
                f"its sha256 is {found}, promised is {promised.hex}", where=str(packed), hint="build it again"
            )
        facts.append(f"{packed.name} agrees with its checksum")
    return facts


def _compare(
    plan: FlashPlan, spans: tuple[Span, ...], medium: Medium, source: BinaryIO, listener: Listener
) -> tuple[readback.Difference, ...]:
    withheld = Withheld(plan)
    pieces = [piece for span in spans for piece in withheld.pieces(span, CHUNK) if piece.withheld]
    for piece in pieces:
        view = memoryview(bytearray(piece.size))
        readback.read_exactly(source, piece.offset, view)
        withheld.keep(piece.offset, view)
    # A writer that does not move tables (bmaptool, dd) leaves the image's own, which is as good.
    moved = bool(plan.patches) and medium.read(0, 4096) != withheld.source(0, 4096)
    if plan.patches and not moved:
        listener(Noted("the partition table's second copy is not at the card's end (written by another tool)"))
    version = withheld.final if moved else withheld.source
    found: list[readback.Difference] = []
    for piece in pieces:
        found += readback.compare_bytes(piece.offset, version(piece.offset, piece.size), medium)
    if moved:
        for patch in plan.patches[1:]:
            found += readback.compare_bytes(patch.offset, patch.data, medium)
    found += readback.compare_spans(spans, medium, source, withheld, listener)
    return tuple(found)
