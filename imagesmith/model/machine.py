"""The emulated machine that boots an image where its board is not at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class QemuMachine:
    """The emulated machine that stands in for a board, and what a pass on it does not prove."""

    machine: Literal["q35", "virt", "raspi3b"]
    cpu: str
    cpus: int
    memory: int
    start: Literal["uefi", "kernel"]
    """`uefi`: the image's own loader. `kernel`: kernel, initrd and device tree copied out of the image."""
    disk: Literal["virtio", "sd"]
    network: Literal["virtio", "usb", "none"]
    console: str
    """The kernel's name for the serial line, as ttyS0."""
    dtb: str = ""
    """Device tree's file name on the boot partition; empty = the machine brings its own."""
    unproven: tuple[str, ...] = ()
    deadline_s: int = 600
    """For the whole first boot under emulation on two slow cores."""
