"""What is really on the medium: read past every cache and compared with the digests of what was to be written.

Called by `flash.write` (after the last write of the body) and `workflow.verify`. Only reads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from imagesmith.errors import IOFailed, ReadbackDiffers
from imagesmith.events import Listener, Progress
from imagesmith.flash.medium import CHUNK, Medium
from imagesmith.flash.withheld import Withheld
from imagesmith.planning.flash import Span
from imagesmith.units import KiB, show_size

STEP = "read back"
_GRAIN = 4 * KiB
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Difference:
    """Bytes of the device that are not what they should be; both in multiples of 4 KiB, but for the image's end."""

    offset: int
    size: int


def compare_spans(
    spans: Sequence[Span], medium: Medium, source: BinaryIO, withheld: Withheld, listener: Listener
) -> tuple[Difference, ...]:
    """Read every span from the medium and compare its digest; where it differs, find the places with the image's help.

    Withheld pieces are not on the medium yet (or not as in the image): their bytes are taken from `withheld`.
    Every span has its digest here. Raises IOFailed when the medium can't be read.
    """
    found: list[Difference] = []
    done, total = 0, sum(span.size for span in spans)
    for span in spans:
        digest = hashlib.sha256()
        for piece in withheld.pieces(span, CHUNK):
            if piece.withheld:
                digest.update(withheld.source(piece.offset, piece.size))
            else:
                digest.update(medium.read(piece.offset, piece.size))
            done += piece.size
            listener(Progress(STEP, done, total))
        if digest.hexdigest() != span.sha256:
            found += _places(span, medium, source, withheld) or [Difference(span.offset, span.size)]
    return tuple(found)


def compare_bytes(offset: int, expected: bytes, medium: Medium) -> tuple[Difference, ...]:
    """Compare the medium's bytes at `offset` with `expected`."""
    found: list[Difference] = []
    for at in range(0, len(expected), CHUNK):
        part = expected[at : at + CHUNK]
        found += _grains(offset + at, medium.read(offset + at, len(part)), part)
    return _joined(found)


def failure(differences: Sequence[Difference], device: str) -> ReadbackDiffers:
    """The error that names the places, at most eight of them."""
    total = sum(difference.size for difference in differences)
    places = ", ".join(f"{place.offset}-{place.offset + place.size - 1}" for place in differences[:_SHOWN])
    more = len(differences) - _SHOWN
    return ReadbackDiffers(
        f"{show_size(total)} of what was read back differ, at byte {places}{f' and {more} places more' * (more > 0)}",
        where=device,
        hint="the card does not keep what is written to it (worn out, fake or a bad reader): take another one",
    )


def read_exactly(source: BinaryIO, offset: int, view: memoryview) -> None:
    """Fill `view` from an open image at `offset`. Raises IOFailed, also when the image has become shorter."""
    done = 0
    while done < len(view):
        try:
            step = os.preadv(source.fileno(), [view[done:]], offset + done)
        except OSError as error:
            raise IOFailed(
                f"reading the image failed: {error.strerror}",
                where=f"{source.name}, byte {offset + done}",
                hint="the disk that holds the image has a fault, not the card",
            ) from error
        if step == 0:
            raise IOFailed(
                "the image ends here; it became shorter while it was read",
                where=f"{source.name}, byte {offset + done}",
                hint="do not build into it while it is flashed",
            )
        done += step


def _places(span: Span, medium: Medium, source: BinaryIO, withheld: Withheld) -> list[Difference]:
    found: list[Difference] = []
    expected = memoryview(bytearray(CHUNK))
    for piece in withheld.pieces(span, CHUNK):
        if not piece.withheld:
            view = expected[: piece.size]
            read_exactly(source, piece.offset, view)
            found += _grains(piece.offset, medium.read(piece.offset, piece.size), view)
    return list(_joined(found))


def _grains(offset: int, actual: memoryview, expected: bytes | memoryview) -> list[Difference]:
    if actual == expected:
        return []
    size = len(expected)
    return [
        Difference(offset + at, min(_GRAIN, size - at))
        for at in range(0, size, _GRAIN)
        if actual[at : at + _GRAIN] != expected[at : at + _GRAIN]
    ]


def _joined(found: Iterable[Difference]) -> tuple[Difference, ...]:
    joined: list[Difference] = []
    for difference in found:
        if joined and joined[-1].offset + joined[-1].size == difference.offset:
            joined[-1] = Difference(joined[-1].offset, joined[-1].size + difference.size)
        else:
            joined.append(difference)
    return tuple(joined)
