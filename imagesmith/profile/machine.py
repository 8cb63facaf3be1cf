"""Reads what a document says about the emulated machine that boots a board's images; for boards and for bases."""

from __future__ import annotations

from typing import Literal

from imagesmith.model import QemuMachine
from imagesmith.profile import names
from imagesmith.profile.document import Scalar, Value
from imagesmith.profile.schema import Fields, Kind, Place, choice, integer, size, table, text
from imagesmith.units import MiB


def read_machine(fields: Fields) -> QemuMachine:
    return QemuMachine(
        machine=fields.need("machine", choice("q35", "virt", "raspi3b"), "q35"),
        cpu=fields.need("cpu", text(names.file_name), ""),
        cpus=fields.need("cpus", integer(1, 64), 1),
        memory=fields.need("memory", size, 512 * MiB),
        start=fields.need("start", choice("uefi", "kernel"), "uefi"),
        disk=fields.need("disk", choice("virtio", "sd"), "virtio"),
        network=fields.need("network", choice("virtio", "usb", "none"), "none"),
        console=fields.need("console", text(names.file_name), ""),
        dtb=fields.take("dtb", text(names.file_name), ""),
        unproven=fields.take_all("unproven", text(names.title)),
        deadline_s=fields.take("deadline_s", integer(30, 7200), 600),
    )


def machine_or_none(value: Value, place: Place) -> QemuMachine | Literal["none"] | None:
    """A machine, or the word `none` where QEMU has nothing that starts this kernel."""
    if isinstance(value, Scalar):
        none: Kind[Literal["none"]] = choice("none")
        return none(value, place)
    return table(read_machine)(value, place)
