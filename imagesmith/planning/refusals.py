"""Why a device must not be written, which flag lifts it, what is unmounted first, and what the user must type.

Called by `workflow.flash`, `cli.flash`, `cli.devices` and `flash.unmount`. Pure: looks at the report that
`flash.devices` made. What looks like someone's data is judged by `planning.belongings`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from imagesmith.model import Device, Refusal
from imagesmith.planning.belongings import someones_data
from imagesmith.units import GiB, show_size

MAX_SIZE = 256 * GiB
"""Larger than any card in use on a node; what is larger must be named by typing."""
ALLOW_FIXED = "--allow-fixed-disk"
_EMPTY_FILE = "is empty: make it as large as the card"
_WRITABLE_KINDS = ("disk", "loop", "file")
_CARD_BUSES = ("usb", "mmc")
_AUTOMOUNTED = re.compile(r"/(?:run/media|media|mnt)/.+|/mnt")
"""Where desktops, and people for a moment, mount cards."""
_NO_DISKS = (
    (r"mmcblk\d+boot\d+", "is an eMMC's boot area, which holds a board's loader, not a disk"),
    (r"mmcblk\d+rpmb", "is an eMMC's area for keys (RPMB), not a disk"),
    (r"mmcblk\d+gp\d+", "is an eMMC's special area, not a disk"),
    (r"mtdblock\d+", "is a board's flash chip, which holds its loader, not a disk"),
    (r"z?ram\d+", "lies in this machine's memory, it is no disk"),
)
"""What the kernel calls a disk too."""


def refusals(
    device: Device,
    image_size: int,
    *,
    allow_fixed: bool,
    name_typed: bool = False,
    max_size: int = MAX_SIZE,
    table_sector: int | None = None,
    holds_image: bool = False,
) -> tuple[Refusal, ...]:
    """Every reason not to write `device`, those without an override first; empty = it may be written.

    `image_size` 0 asks about the device alone. `name_typed`: the user typed the device's name, or waived typing by
    `--yes` with `--allow-fixed-disk`. `table_sector` is `gpt_sector` of the image. `holds_image`: the image is
    a file on this very device.
    """
    return (
        *((Refusal("holds the image that would be written"),) if holds_image else ()),
        *_final(device, image_size, table_sector),
        *_overridable(device, allow_fixed, name_typed, max_size),
    )


def _final(device: Device, image_size: int, table_sector: int | None) -> Iterator[Refusal]:
    if device.holds_system:
        yield Refusal("holds the running system")
    yield from _no_whole_disk(device)
    if device.read_only:
        yield Refusal("is read-only (look for the small switch on the card's side or adapter)")
    if device.size == 0:
        yield Refusal(_EMPTY_FILE if device.kind == "file" else "has no medium in it (size 0): put the card in")
    elif device.size < image_size:
        missing = image_size - device.size
        yield Refusal(
            f"is too small by {missing} bytes: it has {device.size} ({show_size(device.size)}),"
            f" the image {image_size} ({show_size(image_size)})"
        )
    if device.mounts and not unmountable(device):
        yield Refusal(f"is in use, mounted as {', '.join(device.mounts)}: unmount it first")
    if device.holders:
        yield Refusal(f"is in use by {', '.join(device.holders)}: close or stop that first")
    if table_sector and device.kind != "file" and table_sector != device.logical_sector:
        yield Refusal(
            f"has sectors of {device.logical_sector} bytes, but the image's table was made for {table_sector}:"
            " nothing would find its partitions"
        )


def _no_whole_disk(device: Device) -> Iterator[Refusal]:
    told = next((words for names, words in _NO_DISKS if re.fullmatch(names, device.name)), "")
    if told:
        yield Refusal(told)
    elif device.kind == "part":
        disk = f"; the whole disk is {device.parent}" if device.parent else ""
        yield Refusal(f"is a partition, and an image has partitions of its own{disk}")
    elif device.kind not in _WRITABLE_KINDS:
        yield Refusal(f"is a {device.kind} device, not a whole disk")
    elif device.stands_on:
        yield Refusal(f"stands on {device.stands_on}: name that device itself")


def _overridable(device: Device, allow_fixed: bool, name_typed: bool, max_size: int) -> Iterator[Refusal]:
    if is_fixed(device) and not allow_fixed:
        yield Refusal(f"is a fixed disk ({device.bus or 'built in'}), not a card or USB medium", ALLOW_FIXED)
    if not name_typed:
        typing = f"typing its name, {device.name} (with --yes: {ALLOW_FIXED})"
        yield from (Refusal(reason, typing) for reason in _dear(device, max_size))


def _dear(device: Device, max_size: int) -> Iterator[str]:
    """Why a mistake with a device that is no fixed disk would be dear."""
    if device.kind == "file":
        return
    if device.size > max_size:
        yield f"has {show_size(device.size)}, more than the {show_size(max_size)} that a card has"
    data = someones_data(device)
    if data:
        yield f"looks like it holds someone's data: {'; '.join(data)}"


def is_fixed(device: Device) -> bool:
    """Whether a disk is built in: neither removable nor on a card's bus; loop devices and files never are."""
    if device.kind in ("loop", "file"):
        return False
    return not device.removable and device.bus not in _CARD_BUSES


def why_typed(device: Device, *, max_size: int = MAX_SIZE) -> tuple[str, ...]:
    """Why the device's name must be typed, in words that follow its path; empty where `yes` is enough."""
    fixed = ("is a fixed disk of this machine",) if is_fixed(device) else ()
    return (*fixed, *_dear(device, max_size))


def expected_answer(device: Device, *, max_size: int = MAX_SIZE) -> str:
    """What must be typed before `device` is written: `yes`, or its name where a mistake would be dear."""
    return device.name if why_typed(device, max_size=max_size) else "yes"


def unmountable(device: Device) -> tuple[str, ...]:
    """Mount points of a card that may be unmounted once the question is answered.

    Empty when nothing is mounted, and when one of its mounts (a place of the system, swap, a place that nothing mounts
    by itself) speaks against the whole device. Never for fixed disks.
    """
    if is_fixed(device) or device.kind == "file" or device.holds_system or device.holders:
        return ()
    return device.mounts if all(is_automounted(point) for point in device.mounts) else ()


def is_automounted(mount_point: str) -> bool:
    """Whether it is a place where desktops mount cards by themselves, or people for a moment."""
    return _AUTOMOUNTED.fullmatch(mount_point) is not None and ".." not in mount_point.split("/")


def has_stable_name(device: Device) -> bool:
    """Whether the path that the user gave means the same device tomorrow, so that `--yes` may stand for a question."""
    if device.kind in ("loop", "file"):
        return True
    return re.fullmatch(r"/dev/disk/by-id/[^/]+", device.path) is not None
