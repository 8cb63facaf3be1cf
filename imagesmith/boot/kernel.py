"""Kernel, initrd, device tree and command line, copied out of an image's boot partition for QEMU to start.

Called by `workflow.boot` for machines without firmware of their own (`virt` with a Pi's image, `raspi3b`): QEMU does
what the Pi's firmware would do, by the same config.txt. Reads the image, writes into the guest's own folder.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from imagesmith import tools
from imagesmith.errors import BootFailed, ContentMalformed
from imagesmith.formats import gpt, mbr
from imagesmith.model import Partition, QemuMachine
from imagesmith.planning.boot import BorrowedKernel, PiBoot, adjust_cmdline, parse_config_txt

_FAT_TYPES = ("0b", "0c", "0e", "ef", gpt.ESP)
_HEAD = 34 * 512
_SECTIONS = {"raspi3b": ("all", "pi3"), "virt": ("all", "pi4")}
"""Which of config.txt's sections hold; virt stands in for a Pi 4."""
_MTOOLS = {"MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": "/dev/null"}


def borrow(image: Path, machine: QemuMachine, folder: Path) -> BorrowedKernel:
    """Copy what config.txt names into `folder`. Raises BootFailed when the image has nothing of the kind."""
    offset = boot_partition(image).start
    said = _config(image, offset, machine)
    kernel = _copied(image, offset, said.kernel, folder / "kernel")
    initrd = _copied(image, offset, said.initramfs, folder / "initrd") if said.initramfs else None
    dtb = _copied(image, offset, machine.dtb, folder / "board.dtb") if machine.dtb else None
    words = _read(image, offset, said.cmdline).decode("utf-8", "replace")
    cmdline, adjusted = adjust_cmdline(words, machine)
    parts = [f"kernel {said.kernel}"]
    parts += [f"initrd {said.initramfs}"] if initrd else []
    parts += [f"device tree {machine.dtb}"] if dtb else []
    told = (
        f"{', '.join(parts)} and the words of {said.cmdline} came out of the image's boot partition; "
        "QEMU loaded them, not the board's firmware",
        *(f"kernel command line: {sentence}" for sentence in adjusted),
    )
    return BorrowedKernel(kernel, initrd, dtb, cmdline, told)


def boot_partition(image: Path) -> Partition:
    """The first FAT partition of an image. Raises BootFailed when there is none."""
    with image.open("rb") as file:
        head = file.read(_HEAD)
    try:
        table = mbr.parse(head[:512])
        partitions = table.partitions
        if mbr.is_protective(table):
            partitions = gpt.parse(head, image.stat().st_size).partitions
    except ContentMalformed as error:
        raise BootFailed(f"this is no disk image that could be booted: {error}", where=str(image)) from error
    for partition in sorted(partitions, key=lambda one: one.start):
        if partition.type in _FAT_TYPES:
            return partition
    raise BootFailed(
        "no FAT partition, so no kernel that could be started",
        where=str(image),
        hint="this board's QEMU machine starts the kernel of a Pi's boot partition",
    )


def _config(image: Path, offset: int, machine: QemuMachine) -> PiBoot:
    text = _read(image, offset, "config.txt").decode("utf-8", "replace")
    said = parse_config_txt(text, _SECTIONS.get(machine.machine, ("all",)))
    if not said.kernel:
        # What a 64-bit Pi's firmware takes when config.txt names nothing.
        said = PiBoot("kernel8.img", said.initramfs, said.cmdline)
    return said


def _copied(image: Path, offset: int, name: str, target: Path) -> Path:
    target.write_bytes(_read(image, offset, name))
    return target


def _read(image: Path, offset: int, name: str) -> bytes:
    """A file of the boot partition; at most some 50 MB. Raises BootFailed when it is missing."""
    source = "::/" + name.lstrip("/")
    with contextlib.suppress(tools.ToolFailed):
        return tools.run(["mcopy", "-n", "-i", f"{image}@@{offset}", source, "-"], env=_MTOOLS).stdout
    raise BootFailed(
        f"the boot partition has no {name}", where=str(image), hint=f"look into it: mdir -i {image}@@{offset} ::"
    )
