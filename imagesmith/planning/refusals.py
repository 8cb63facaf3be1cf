"""Why a device must not be written, which flag lifts it, and what the user must type before it is written.

Called by `workflow.flash`, `cli.flash` and `cli.devices`. Pure: looks at the report that `flash.devices` made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from imagesmith.model import Device, Refusal
from imagesmith.units import GiB, show_size

MAX_SIZE = 256 * GiB
"""Larger than any card in use on a node; what is larger must be named by typing."""
ALLOW_FIXED = "--allow-fixed-disk"
_WRITABLE_KINDS = ("disk", "loop", "file")
_CARD_BUSES = ("usb", "mmc")


def refusals(
    device: Device,
    image_size: int,
    *,
    allow_fixed: bool,
    name_typed: bool = False,
    max_size: int = MAX_SIZE,
    table_sector: int | None = None,
) -> tuple[Refusal, ...]:
    """Every reason not to write `device`, those without an override first; empty = it may be written.

    `image_size` 0 asks about the device alone. `name_typed`: the user typed the device's name, or waived typing by
    `--yes` with `--allow-fixed-disk`. `table_sector` is `gpt_sector` of the image.
    """
    return tuple(_final(device, image_size, table_sector)) + tuple(
        _overridable(device, allow_fixed, name_typed, max_size)
    )


def _final(device: Device, image_size: int, table_sector: int | None) -> Iterator[Refusal]:
    if device.holds_system:
        yield Refusal("holds the running system")
    if device.kind == "part":
        disk = f"; the whole disk is {device.parent}" if device.parent else ""
        yield Refusal(f"is a partition, and an image has partitions of its own{disk}")
    elif device.kind not in _WRITABLE_KINDS:
        yield Refusal(f"is a {device.kind} device, not a whole disk")
    if device.read_only:
        yield Refusal("is read-only (look for the small switch on the card's side or adapter)")
    if device.size == 0:
        yield Refusal(
            "has no medium in it (size 0)" if device.kind != "file" else "is empty: make it as large as the card"
        )
    elif device.size < image_size:
        missing = image_size - device.size
        yield Refusal(
            f"is too small by {missing} bytes: it has {device.size} ({show_size(device.size)}),"
            f" the image {image_size} ({show_size(image_size)})"
        )
    if device.mounts:
        yield Refusal(f"is in use, mounted as {', '.join(device.mounts)}: unmount it first")
    if device.holders:
        yield Refusal(f"is in use by {', '.join(device.holders)}: close or stop that first")
    if table_sector and device.kind != "file" and table_sector != device.logical_sector:
        yield Refusal(
            f"has sectors of {device.logical_sector} bytes, but the image's table was made for {table_sector}:"
            " nothing would find its partitions"
        )


def _overridable(device: Device, allow_fixed: bool, name_typed: bool, max_size: int) -> Iterator[Refusal]:
    if is_fixed(device) and not allow_fixed:
        yield Refusal(f"is a fixed disk ({device.bus or 'built in'}), not a card or USB medium", ALLOW_FIXED)
    if device.size > max_size and device.kind != "file" and not name_typed:
        yield Refusal(
            f"has {show_size(device.size)}, more than the {show_size(max_size)} that a card has",
            f"typing its name, {device.name}",
        )


def is_fixed(device: Device) -> bool:
    """Whether a disk is built in: neither removable nor on a card's bus; loop devices and files never are."""
    if device.kind in ("loop", "file"):
        return False
    return not device.removable and device.bus not in _CARD_BUSES


def expected_answer(device: Device, *, max_size: int = MAX_SIZE) -> str:
    """What must be typed before `device` is written: `yes`, or its name where a mistake would be dear."""
    return device.name if is_fixed(device) or device.size > max_size else "yes"


def has_stable_name(device: Device) -> bool:
    """Whether the path that the user gave means the same device tomorrow, so that `--yes` may stand for a question."""
    if device.kind in ("loop", "file"):
        return True
    return re.fullmatch(r"/dev/disk/by-id/[^/]+", device.path) is not None
