"""What of a board with a base was shown to work, and how; and what only the board itself can show. Words for people.

Called by `profiles show`, `selftest` and docs/make_boards.py. Nothing here was ever tried on hardware.
"""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.families import family_named
from imagesmith.model import Base, Board, DebianSource

_MADE_HERE: Mapping[str, str] = {
    "qemu-arm64": "made here; first boot on QEMU's virt",
    "qemu-x86": "made here; first boots on QEMU's q35 under OVMF, by its own loader; flashed over 0xFF and read back",
    "rpi3": "made here; first boot on QEMU's raspi3b",
    "rpi4": "made here; first boot on QEMU's virt, not as a Pi 4",
    "x86-itx": "made here; first boot on QEMU's q35 under OVMF, by its own loader",
}
"""Of bases made from Debian's packages, by board: tests/lanes boots each. Publishers' images are told by family."""


def proven(board: Board, base: Base) -> str:
    """What was shown of this base on this board, one clause. Raises UsageError for an unknown family."""
    own = _MADE_HERE.get(board.name, "") if isinstance(base.source, DebianSource) else ""
    return own or family_named(base.family).proven


def only_hardware(board: Board, base: Base) -> tuple[str, ...]:
    """What no emulated boot of this base proves, one clause each; empty where the board is QEMU's own."""
    machine = board.machine_for(base)
    if machine is None:
        needed = (
            "loader, kernel, device tree, network" if board.architecture == "arm64" else "firmware, drivers, network"
        )
        return (f"that the {board.name} starts it at all: {needed}",)
    return machine.unproven
