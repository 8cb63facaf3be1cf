"""Where a card is tested: markers spread over all of it, and a window at its start that is filled without gaps.

Called by `workflow.probe`. Pure. A card that starts over at its real end puts what is written beyond it on top of what
lies before. Markers alone would miss that, since they would fall between each other; but the window is as wide as their
distance, so that one of them falls into it wherever the real end is, as long as it is at least a window before the
claimed one.
"""

from __future__ import annotations

from dataclasses import dataclass

from imagesmith.model import Device
from imagesmith.planning.flash import HEAD_SIZE, TAIL_SIZE
from imagesmith.units import KiB, MiB, align_up

MARK = 4 * KiB
"""Bytes of one marker; it lies at a multiple of this."""
SPREAD = 2048
"""Markers at even distances. A poor card writes a few dozen scattered blocks a second, so this is about a minute."""
_LEAST_WINDOW = 16 * MiB
"""Less would measure a card's cache instead of the card."""


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """What a probe writes and reads; with `full` all bytes, after the markers were found good."""

    device: Device
    window: int
    """Bytes from the start of the card that are written and read without gaps."""
    marks: tuple[int, ...]
    """Offsets of the markers behind the window, in rising order."""
    full: bool

    @property
    def tested(self) -> int:
        """Bytes that are written and read back."""
        if self.full:
            return self.device.size
        return self.window + sum(size for _, size in self.markers)

    @property
    def markers(self) -> tuple[tuple[int, int], ...]:
        """Offset and size of each marker."""
        return tuple((mark, min(MARK, self.device.size - mark)) for mark in self.marks)

    @property
    def blanked(self) -> tuple[tuple[int, int], ...]:
        """Offset and size of what is zeros before and afterwards."""
        return ends(self.device)


def plan_probe(device: Device, *, full: bool) -> ProbePlan:
    """The plan for a device that nothing speaks against."""
    size = device.size
    distance = align_up(-(-size // SPREAD), MARK)
    window = min(size, max(align_up(distance, MiB), _LEAST_WINDOW))
    spread = set(range(0, size, distance))
    powers = {1 << bit for bit in range(MARK.bit_length() - 1, size.bit_length())}
    before = {power - MARK for power in powers}
    last = (size - 1) // MARK * MARK
    marks = sorted(mark for mark in spread | powers | before | {last} if window <= mark < size)
    return ProbePlan(device, window, tuple(marks), full)


def ends(device: Device) -> tuple[tuple[int, int], ...]:
    """Offset and size of the device's head and tail, where tables and boot sectors lie."""
    head = min(HEAD_SIZE, device.size)
    sector = device.logical_sector
    tail = max(head, (device.size - TAIL_SIZE) // sector * sector)
    return tuple((offset, size) for offset, size in ((0, head), (tail, device.size - tail)) if size)
