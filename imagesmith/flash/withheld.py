"""Bytes kept back while the body is written: the boot sector, tables and loaders, held in memory until it is verified.

Called by `flash.write` and `flash.readback`. Touches nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imagesmith.planning.flash import FlashPlan, Span


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a span, all of it withheld or none."""

    offset: int
    size: int
    withheld: bool


class Withheld:
    """Two versions of the bytes in `plan.withheld`: as the image has them, and as the device shall (with patches)."""

    def __init__(self, plan: FlashPlan) -> None:
        self._plan = plan
        self._parts = [(span, bytearray(span.size)) for span in plan.withheld]

    def pieces(self, span: Span, step: int) -> Iterator[Piece]:
        """The span cut at withheld borders, and into at most `step` bytes."""
        edges = sorted({edge for part, _ in self._parts for edge in (part.offset, part.end)})
        at = span.offset
        while at < span.end:
            border = next((edge for edge in edges if edge > at), span.end)
            end = min(span.end, border, at + step)
            yield Piece(at, end - at, any(part.offset <= at < part.end for part, _ in self._parts))
            at = end

    def keep(self, offset: int, data: bytes | memoryview) -> None:
        """Remember the image's bytes of one withheld piece."""
        span, held = self._holding(offset)
        held[offset - span.offset : offset - span.offset + len(data)] = data

    def source(self, offset: int, size: int) -> bytes:
        """A withheld piece as the image has it; zeros where the image promises nothing."""
        span, held = self._holding(offset)
        return bytes(held[offset - span.offset : offset - span.offset + size])

    def final(self, offset: int, size: int) -> bytes:
        """A withheld piece as the device shall have it."""
        data = bytearray(self.source(offset, size))
        for patch in self._plan.patches:
            first, last = max(offset, patch.offset), min(offset + size, patch.offset + len(patch.data))
            if first < last:
                data[first - offset : last - offset] = patch.data[first - patch.offset : last - patch.offset]
        return bytes(data)

    def _holding(self, offset: int) -> tuple[Span, bytearray]:
        return next((span, held) for span, held in self._parts if span.offset <= offset < span.end)
