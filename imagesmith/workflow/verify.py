"""Verify an image against what lies beside it, and a card against the image, without writing anything.

Called by `cli.flash` (the `verify` command). Reads the image, the files beside it, and one device.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from imagesmith.errors import DeviceRefused, DigestMismatch, IOFailed, ReadbackDiffers, UsageError
from imagesmith.events import Listener, Progress, StepFinished, StepStarted
from imagesmith.flash.check import Comparison, check_card
from imagesmith.flash.devices import file_as_device, find_device, list_devices
from imagesmith.flash.verdict import differs, told
from imagesmith.model import Device
from imagesmith.planning.flash import SourceImage, Span, plan_flash, spans_of
from imagesmith.planning.lived import Starts, life_of, looked_at
from imagesmith.units import MiB, show_size
from imagesmith.workflow.beside import PACKED
from imagesmith.workflow.crew import hired
from imagesmith.workflow.source import opened_file
from imagesmith.workflow.unpack import agrees_with_list, raw_image

_CHUNK = 4 * MiB
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
        beside = raw.beside()
        listed = _check_listed(raw.named)
        if not beside.found and not listed:
            raise UsageError(
                "nothing lies beside it to compare it with (SHA256SUMS, manifest, block map)",
                where=str(raw.named),
                hint="to compare it with a card, give the card as a second argument",
            )
        with _opened(raw.path) as source:
            _check_image(beside.image, source, listener)
        facts = [f"agrees with {found.name}" for found in beside.found]
        return Verified(raw.source, tuple(facts + listed))


def verify_device(path: Path, device_path: str, listener: Listener) -> Verified:
    """Read a card back past all caches and compare it with the image; a GPT moved to the card's end is fine.

    The image is checked first, so that a difference is the card's. Raises ReadbackDiffers with offsets, DeviceRefused,
    IOFailed and what `verify_image` raises but for UsageError: an image with nothing beside it is compared whole.
    """
    device = _device(device_path)
    with (
        asyncio.Runner() as runner,
        hired([[device]]) as (team,),
        opened_file(path, listener) as source,
        team.feed(source.descriptors) as feed,
    ):
        looked = runner.run(feed.look(source.look))
        image = source.beside(looked.looked, looked.head).image
        if device.size < image.size:
            raise DeviceRefused(
                f"has only {show_size(device.size)} ({device.size} bytes), the image {image.size}: it can't hold it",
                where=device.path,
            )
        plan = plan_flash(device, image)
        to_keep = looked_at(image.head, image.size or device.size)
        found = runner.run(
            check_card(plan, team.cards[0], feed, again=looked.looked.again, listener=listener, to_keep=to_keep)
        )
    if found.places:
        raise _differing(found, image, device)
    held = f"{device.path} holds {show_size(found.compared)} of it, read back uncached"
    return Verified(source.path or source.named, (held,))


def _differing(found: Comparison, image: SourceImage, device: Device) -> ReadbackDiffers:
    """Whether the card differs because it was used, in words."""
    life = life_of(Starts(image.size or device.size, found.of_image), Starts(device.size, found.of_card), found.places)
    if life is None:
        failure = differs(found.places, device.path)
        failure.hint = "it was changed since it was written, or the card does not keep its bytes: flash it again to see"
        return failure
    used = f"this card has been booted (or mounted) since it was written: {life.told}"
    if life.unexplained:
        strange = show_size(sum(size for _, size in life.unexplained))
        return ReadbackDiffers(
            f"{used}; but {strange} differ where nothing was mounted, at byte {told(life.unexplained)}",
            where=device.path,
            hint="that is no life of its own: something else wrote there, or the card does not keep its bytes",
        )
    amount = show_size(sum(size for _, size in found.places))
    return ReadbackDiffers(
        f"{used}; what differs ({amount}) is its own life, not damage",
        where=device.path,
        hint="flash it to have the image on it again. Damage to what it has rewritten itself can't be told from this",
    )


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
    buffer = memoryview(bytearray(_CHUNK))
    for offset in range(span.offset, span.end, _CHUNK):
        view = buffer[: min(_CHUNK, span.end - offset)]
        _read_exactly(source, offset, view)
        yield view


def _read_exactly(source: BinaryIO, offset: int, view: memoryview) -> None:
    """Fill `view` from an open image at `offset`. Raises IOFailed, also when the image has become shorter."""
    done = 0
    while done < len(view):
        try:
            step = os.preadv(source.fileno(), [view[done:]], offset + done)
        except OSError as error:
            raise IOFailed(
                f"reading the image failed: {error.strerror}", where=f"{source.name}, byte {offset + done}"
            ) from error
        if step == 0:
            raise IOFailed(
                "the image ends here; it became shorter while it was read",
                where=f"{source.name}, byte {offset + done}",
                hint="do not build into it while it is read",
            )
        done += step


def _check_listed(path: Path) -> list[str]:
    """Packed copies of the image that SHA256SUMS names and that are there."""
    copies = (path.with_name(path.name + ending) for ending in PACKED)
    return [
        f"{packed.name} agrees with its checksum"
        for packed in copies
        if packed.is_file() and agrees_with_list(packed, "build it again")
    ]
