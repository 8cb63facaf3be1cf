"""Bytes kept back while the body is written: the boot sector, tables and loaders, held in memory until it is verified.

Called by `flash.writing` and `flash.check`. Touches nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from imagesmith.messages import Laid
from imagesmith.planning.flash import HEAD_SIZE, FlashPlan, Span

_MARK = b"imagesmith: this card is not complete. "


def mark(span: Span) -> bytes:
    """What lies where a withheld piece will be, while the body is read back: zeros in the head, words at the end.

    A card that is smaller than it says has the end somewhere else, perhaps on a part of the body that is zero.
    """
    return bytes(span.size) if span.offset < HEAD_SIZE else (_MARK * (span.size // len(_MARK) + 1))[: span.size]


class Withheld:
    """Two versions of the bytes in `plan.withheld`: as the image has them, and as the device shall (with patches)."""

    def __init__(self, plan: FlashPlan) -> None:
        self._plan = plan
        self._parts = [(span, bytearray(span.size)) for span in plan.withheld]

    def holds(self, offset: int) -> bool:
        """Whether the byte at `offset` is withheld; what is delivered never reaches across a border."""
        return any(span.offset <= offset < span.end for span, _ in self._parts)

    def sift(self, pieces: Iterable[Laid], memory: memoryview) -> Iterator[Laid]:
        """The pieces that go to the card now; the others' bytes are remembered."""
        for offset, at, size in pieces:
            if self.holds(offset):
                span, held = self._holding(offset)
                held[offset - span.offset : offset - span.offset + size] = memory[at : at + size]
            else:
                yield offset, at, size

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
