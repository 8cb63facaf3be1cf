"""Unmount a card that the desktop has mounted, before it is written.

Called by `workflow.flash`, after the question was answered and before the card is opened. Touches the mounts of one
device. It is the plain `umount`: what is in use stays mounted and is named, nothing is forced or done later.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagesmith.errors import DeviceRefused
from imagesmith.flash.system import is_system_place, unescape
from imagesmith.model import Device
from imagesmith.planning.refusals import is_automounted, is_fixed
from imagesmith.tools import ToolFailed, run

_HOLDERS_TOLD = 5


@dataclass(frozen=True, slots=True)
class _Mount:
    number: str
    point: str
    source: str


def unmount(device: Device, *, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
    """Unmount everything of `device` and its partitions, what was mounted last first; nothing mounted is fine.

    Looks at the mounts as they are now. Raises DeviceRefused before anything is unmounted when one of them is no
    place for cards (`planning.refusals.unmountable`), and when one is in use, named with who uses it.
    """
    mounts = _mounts(proc)
    ours = _of_device(device, mounts, sys)
    strange = [mount.point for mount in ours if is_system_place(mount.point) or not is_automounted(mount.point)]
    if ours and is_fixed(device):
        strange = [mount.point for mount in ours]
    if strange:
        raise DeviceRefused(
            f"is mounted as {', '.join(strange)}, which is not unmounted for you",
            where=device.path,
            hint="if nobody needs it there, unmount it yourself, then try again",
        )
    for mount in reversed(ours):
        _check_on_top(device, mount, _mounts(proc))
        try:
            run(["umount", mount.point])
        except ToolFailed as error:
            raise _not_unmounted(device, mount, error, proc) from error


def _mounts(proc: Path) -> list[_Mount]:
    """Every mount, in the order in which they were made."""
    found = []
    for line in (proc / "self" / "mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        fields = line.split(" ")
        source = fields[fields.index("-") + 2] if "-" in fields else ""
        found.append(_Mount(fields[2], unescape(fields[4]), unescape(source)))
    return found


def _of_device(device: Device, mounts: list[_Mount], sys: Path) -> list[_Mount]:
    node = sys / "dev" / "block" / device.number
    numbers = {device.number, *(path.read_text().strip() for path in node.glob("*/dev"))}
    return [mount for mount in mounts if mount.number in numbers or _source_number(mount) in numbers]


def _source_number(mount: _Mount) -> str:
    """Of a btrfs, whose own number is 0:N."""
    if not mount.number.startswith("0:") or not mount.source.startswith("/dev/"):
        return ""
    try:
        number = Path(mount.source).stat().st_rdev
    except OSError:
        return ""
    return f"{os.major(number)}:{os.minor(number)}"


def _check_on_top(device: Device, mount: _Mount, mounts: list[_Mount]) -> None:
    """`umount` takes off what lies on top, and that must be the card's."""
    on_top = [other for other in mounts if other.point == mount.point][-1:]
    if on_top != [mount]:
        above = on_top[0].source if on_top else "nothing"
        raise DeviceRefused(
            f"can't be unmounted from {mount.point}: {above} is mounted there now",
            where=device.path,
            hint=f"look with: findmnt {mount.point}",
        )


def _not_unmounted(device: Device, mount: _Mount, error: ToolFailed, proc: Path) -> DeviceRefused:
    below = [f"the mount {other.point}" for other in _mounts(proc) if other.point.startswith(f"{mount.point}/")]
    users = [*below, *_users_of(mount.point, proc)]
    more = f" and {len(users) - _HOLDERS_TOLD} more" if len(users) > _HOLDERS_TOLD else ""
    why = f"it is in use by {', '.join(users[:_HOLDERS_TOLD])}{more}" if users else error.completed.complaint
    return DeviceRefused(
        f"can't be unmounted from {mount.point}: {why}",
        where=device.path,
        hint=f"nothing was written; see who holds it: fuser -vm {mount.point}; close that, then try again",
    )


def _users_of(point: str, proc: Path) -> Iterator[str]:
    """Processes with a folder or file below `point`, as `bash (4711)`; of others only root can tell."""
    for process in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            links = [process / "cwd", process / "root", process / "exe", *(process / "fd").iterdir()]
            name = (process / "comm").read_text("utf-8", "replace").strip()
        except OSError:
            continue  # gone, or not ours to look at
        if any(_leads_below(link, point) for link in links):
            yield f"{''.join(letter for letter in name if letter.isprintable())} ({process.name})"


def _leads_below(link: Path, point: str) -> bool:
    try:
        target = str(link.readlink())
    except OSError:
        return False
    return target == point or target.startswith(f"{point}/")
