"""Kernel, initrd, device tree and command line, copied out of an image for QEMU to start.

Called by `workflow.boot` for machines without firmware of their own (`virt`, `raspi3b`). Where there is a FAT partition
QEMU does what a Pi's firmware would do, by the same config.txt; else what Armbian's boot script does with the /boot of
the only ext4. Reads the image, writes into the guest's own folder.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from imagesmith import tools
from imagesmith.errors import BootFailed, ContentMalformed
from imagesmith.formats import gpt, mbr
from imagesmith.model import Partition, QemuMachine
from imagesmith.planning.boot import (
    ARMBIAN_FILES,
    BorrowedKernel,
    PiBoot,
    adjust_cmdline,
    armbian_cmdline,
    parse_config_txt,
    without_uboot_header,
)

_FAT_TYPES = ("0b", "0c", "0e", "ef", gpt.ESP)
_HEAD = 34 * 512
_SECTIONS = {"raspi3b": ("all", "pi3"), "virt": ("all", "pi4")}
"""Which of config.txt's sections hold; virt stands in for a Pi 4."""
_MTOOLS = {"MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": "/dev/null"}
_MOST_LINKS = 8


def borrow(image: Path, machine: QemuMachine, folder: Path) -> BorrowedKernel:
    """Copy what the board's firmware would load into `folder`. Raises BootFailed when the image has nothing such."""
    partitions = _partitions(image)
    fat = [partition for partition in partitions if partition.type in _FAT_TYPES]
    if fat:
        return _of_a_pi(image, fat[0].start, machine, folder)
    for partition in partitions:
        if _look(image, partition.start, ARMBIAN_FILES[2]):
            return _of_armbian(image, partition.start, machine, folder)
    raise BootFailed(
        "no FAT partition, and no Armbian's /boot, so no kernel that could be started",
        where=str(image),
        hint="this board's QEMU machine starts the kernel of a Pi's boot partition, or of Armbian's only ext4",
    )


def _partitions(image: Path) -> Sequence[Partition]:
    """In the order of the disk. Raises BootFailed where there is no table."""
    with image.open("rb") as file:
        head = file.read(_HEAD)
    try:
        table = mbr.parse(head[:512])
        partitions = table.partitions
        if mbr.is_protective(table):
            partitions = gpt.parse(head, image.stat().st_size).partitions
    except ContentMalformed as error:
        raise BootFailed(f"this is no disk image that could be booted: {error}", where=str(image)) from error
    return sorted(partitions, key=lambda one: one.start)


# -- a Pi's boot partition ------------------------------------------------------------------------


def _of_a_pi(image: Path, offset: int, machine: QemuMachine, folder: Path) -> BorrowedKernel:
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
        *_told(adjusted),
    )
    return BorrowedKernel(kernel, initrd, dtb, cmdline, told)


def _config(image: Path, offset: int, machine: QemuMachine) -> PiBoot:
    text = _read(image, offset, "config.txt").decode("utf-8", "replace")
    return parse_config_txt(text, _SECTIONS.get(machine.machine, ("all",)))


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


# -- Armbian's /boot on ext4 ----------------------------------------------------------------------


def _of_armbian(image: Path, offset: int, machine: QemuMachine, folder: Path) -> BorrowedKernel:
    names = []
    for name, target in zip(ARMBIAN_FILES, ("kernel", "initrd", "environment"), strict=True):
        found = _look(image, offset, name)
        if not found:
            raise BootFailed(
                f"the image's /boot has no {name}",
                where=str(image),
                hint=f"look into it: debugfs -R 'ls /boot' '{image}?offset={offset}'",
            )
        _debugfs(image, offset, f'dump {found} "{folder / target}"')
        names.append(found)
    initrd = folder / "initrd"
    initrd.write_bytes(without_uboot_header(initrd.read_bytes()))
    words = armbian_cmdline((folder / "environment").read_text("utf-8", "replace"))
    cmdline, adjusted = adjust_cmdline(words, machine)
    told = (
        f"kernel {names[0]} and initrd {names[1]} came out of the image, the kernel's words were made of {names[2]} as "
        "Armbian's boot script makes them; QEMU loaded them, not the board's U-Boot",
        *_told(adjusted),
    )
    return BorrowedKernel(folder / "kernel", initrd, None, cmdline, told)


def _look(image: Path, offset: int, path: str) -> str:
    """The path of the file that `path` leads to, through links; empty where there is none, or no ext4."""
    for _ in range(_MOST_LINKS):
        said = _debugfs(image, offset, f"stat {path}")
        if "Type: regular" in said:
            return path
        target = re.search(r'^Fast link dest: "([\w./+~-]+)"$', said, re.MULTILINE)
        if "Type: symlink" not in said or target is None:
            return ""
        path = str(PurePosixPath(path).parent / target[1])
    return ""


def _debugfs(image: Path, offset: int, command: str) -> str:
    """What it answers. Run in the image's folder, since a "?" in a path would mean something to it."""
    argv = ["debugfs", "-R", command, f"{image.name}?offset={offset}"]
    return tools.run(argv, cwd=image.resolve().parent, expect=None).stdout.decode("utf-8", "replace")


def _told(adjusted: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"kernel command line: {sentence}" for sentence in adjusted)
