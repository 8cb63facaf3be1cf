"""The disks and cards that this machine has: what they are, what is on them, who uses them.

Called by `workflow` and `cli`. Reads lsblk, /sys, /proc and /dev/disk/by-id, and of cards a few blocks (see
`flash.recognise`); needs no udev. It may be old by the time a device is opened: `flash.medium` checks again.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from imagesmith.errors import DeviceRefused, IOFailed
from imagesmith.flash.recognise import is_known_to_udev, probed, with_usage
from imagesmith.flash.system import is_system_place, system_numbers
from imagesmith.model import Device, FileSystem
from imagesmith.planning.refusals import is_fixed
from imagesmith.tools import ToolFailed, run
from imagesmith.units import show_size

_COLUMNS = "NAME,PATH,TYPE,SIZE,MODEL,SERIAL,TRAN,RM,HOTPLUG,RO,LOG-SEC,MOUNTPOINTS,MAJ:MIN,FSTYPE,LABEL"
_BY_ID = Path("/dev/disk/by-id")
_BY_PATH = Path("/dev/disk/by-path")


def lsblk_argv(path: str = "") -> list[str]:
    """The command whose output `parse_lsblk` reads; `path` limits it to one device."""
    return ["lsblk", "--json", "--bytes", "--output", _COLUMNS, *([path] if path else [])]


def list_devices() -> tuple[Device, ...]:
    """Every whole disk, card, loop device in use, and each of their partitions. Raises ToolMissing, IOFailed."""
    try:
        # 32 and 64: nothing, or not all, was found.
        text = run(lsblk_argv(), expect=(0, 32, 64), timeout_s=30).text
    except ToolFailed as error:
        raise IOFailed(str(error), hint="does `lsblk` work by itself?") from error
    system, names, ports = system_numbers(), _stable_names(_BY_ID), _stable_names(_BY_PATH)
    devices = parse_lsblk(text, system)
    unknown = [device for device in devices if _is_unknown(device, devices)]
    if unknown:
        found = probed([device.path for device in unknown])
        devices = parse_lsblk(text, system, dict(zip((device.number for device in unknown), found, strict=True)))
    known = tuple(_with_sysfs(device, names, ports) for device in devices)
    return _with_usage(tuple(replace(one, holders=(*one.holders, *_loops_over(one, known))) for one in known))


def _with_usage(devices: tuple[Device, ...]) -> tuple[Device, ...]:
    """Cards with how full their FATs are, each asked once although its disk tells of it too."""
    cards = [device for device in devices if not is_fixed(device)]
    asked = with_usage(dict.fromkeys(one for device in cards for one in device.filesystems))
    known = {replace(one, used=None): one for one in asked}
    return tuple(
        replace(device, filesystems=tuple(known.get(one, one) for one in device.filesystems)) for device in devices
    )


def find_device(path: str, devices: Collection[Device]) -> Device:
    """The device that `path` (also a link, as by-id names are) leads to.

    Raises DeviceRefused when there is nothing, or something else than a block device; nothing is ever created.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        dangling = Path(path).is_symlink()
        raise DeviceRefused(
            "the link leads nowhere: its device is gone" if dangling else f"no such device ({error.strerror})",
            where=path,
            hint="put the card in and look with `imagesmith devices`",
        ) from error
    if not stat.S_ISBLK(status.st_mode):
        raise DeviceRefused(
            f"is {_kind_of(status.st_mode)}, not a disk",
            where=path,
            hint="an existing file is written with --to-file; disks are listed by `imagesmith devices`",
        )
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    for device in devices:
        if device.number == number:
            return replace(device, path=path)
    raise DeviceRefused(
        _of_unlisted(number),
        where=path,
        hint="put the card in and look with `imagesmith devices`",
    )


def file_as_device(path: str) -> Device:
    """An existing regular file as a target. Raises DeviceRefused when it is missing or anything else."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise DeviceRefused(
            f"no such file ({error.strerror}); --to-file writes into one that exists",
            where=path,
            hint="make it first, as large as the card: truncate -s 8G FILE",
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise DeviceRefused(f"is {_kind_of(status.st_mode)}, not a file", where=path, hint="leave --to-file away")
    writable = os.access(path, os.W_OK)
    return Device(path, Path(path).name, "file", status.st_size, model="a regular file", read_only=not writable)


def parse_lsblk(
    text: str, system_mounts: Collection[str], found: Mapping[str, tuple[str, str]] | None = None
) -> tuple[Device, ...]:
    """Devices from lsblk's JSON, disks before their partitions, each told once.

    `system_mounts` are kernel numbers (`8:2`) of the devices that the system's mounts stand on, for what lsblk does
    not show. A disk holds the system when it, or anything stacked on it, is such a device or is mounted as one.
    `found` are kinds and labels by kernel number, of devices whose content lsblk does not tell.
    Raises IOFailed when this is not lsblk's JSON.
    """
    try:
        trees = json.loads(text)["blockdevices"] if text.strip() else []
        told = [device for tree in trees for device in _from_tree(_filled(tree, found or {}), system_mounts)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IOFailed(
            f"lsblk's answer is not understood: {error!r}", hint="util-linux 2.37 or newer is needed"
        ) from error
    return tuple({device.number: device for device in reversed(told)}.values())[::-1]


def _filled(node: Mapping[str, Any], found: Mapping[str, tuple[str, str]]) -> Mapping[str, Any]:
    kind, label = found.get(str(node.get("maj:min")), (node.get("fstype"), node.get("label")))
    children = [_filled(child, found) for child in node.get("children") or ()]
    return {**node, "fstype": kind, "label": label, "children": children}


def _is_unknown(device: Device, devices: Collection[Device]) -> bool:
    """Whether it is a card or a part of one, of whose content lsblk tells nothing for want of udev."""
    whole = next((disk for disk in devices if disk.path == device.parent), device)
    told = any(one.name == device.name for one in device.filesystems)
    return not told and device.size > 0 and not is_fixed(whole) and not is_known_to_udev(device.number)


def _from_tree(tree: Mapping[str, Any], system: Collection[str]) -> Iterator[Device]:
    whole = _device(tree, system)
    yield whole
    for child in tree.get("children") or ():
        if child["type"] == "part":
            yield replace(_device(child, system), parent=whole.path, bus=whole.bus, removable=whole.removable)


def _device(node: Mapping[str, Any], system: Collection[str]) -> Device:
    below = [node, *_descendants(node)]
    mounts = [str(point) for inner in below for point in inner.get("mountpoints") or () if point]
    stacked = [inner for inner in below[1:] if inner["type"] != "part"]
    name = str(node["name"])
    return Device(
        path=str(node["path"]),
        name=name,
        kind=str(node["type"]),
        size=int(node["size"] or 0),
        model=_word(node.get("model")),
        serial=_word(node.get("serial")),
        bus=_word(node.get("tran")) or ("mmc" if name.startswith("mmcblk") else ""),
        removable=bool(node.get("rm") or node.get("hotplug")),
        read_only=bool(node.get("ro")),
        mounts=tuple(dict.fromkeys(mounts)),
        holders=tuple(dict.fromkeys(f"{inner['name']} ({inner['type']})" for inner in stacked)),
        holds_system=any(
            inner.get("maj:min") in system or any(map(is_system_place, filter(None, inner.get("mountpoints") or ())))
            for inner in below
        ),
        logical_sector=int(node.get("log-sec") or 512),
        number=_word(node.get("maj:min")),
        contents=tuple(_in_words(inner) for inner in below if inner is not node or inner.get("fstype")),
        filesystems=tuple(_recognised(inner) for inner in below if inner not in stacked and inner.get("fstype")),
    )


def _recognised(node: Mapping[str, Any]) -> FileSystem:
    return FileSystem(str(node["name"]), _word(node["fstype"]), _word(node.get("label")), int(node["size"] or 0))


def _descendants(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for child in node.get("children") or ():
        yield child
        yield from _descendants(child)


def _in_words(node: Mapping[str, Any]) -> str:
    words = [str(node["name"]), _word(node.get("fstype")), _word(node.get("label")), show_size(int(node["size"] or 0))]
    mounts = [str(point) for point in node.get("mountpoints") or () if point]
    if mounts:
        words.append(f"mounted on {', '.join(mounts)}")
    return " ".join(word for word in words if word)


def _word(value: object) -> str:
    # Models and serials are whatever a device says; nothing of it may move the cursor.
    return "".join(letter for letter in str(value or "") if letter.isprintable()).strip()


def _with_sysfs(device: Device, names: Mapping[str, tuple[str, ...]], ports: Mapping[str, tuple[str, ...]]) -> Device:
    node = Path("/sys/dev/block") / device.number
    disk = node.resolve().parent if device.kind == "part" else node
    holders = [path.name for path in sorted((node / "holders").glob("*"))]
    told = {holder.partition(" ")[0] for holder in device.holders}
    named = [holder for holder in holders if holder not in told and _mapped_name(holder) not in told]
    file, stands_on = _backing(_first_line(node / "loop" / "backing_file"))
    return replace(
        device,
        model=device.model or _card_model(disk),
        read_only=device.read_only or _first_line(node / "ro") == "1",
        diskseq=int(_first_line(disk / "diskseq") or 0),
        holders=(*device.holders, *named),
        by_id=names.get(device.number, ()),
        by_path=ports.get(device.number, ()),
        backing=file,
        stands_on=stands_on,
    )


def _backing(path: str) -> tuple[str, str]:
    """What a loop device stands on: the path of a file, or else of a block device.

    Only what lies in /dev is looked at: a file may lie on something that hangs. What is not found there counts as a
    device, since it may be one of another root's /dev.
    """
    if not path.startswith("/dev/"):
        return path, ""
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return "", path
    return (path, "") if stat.S_ISREG(mode) else ("", path)


def _loops_over(device: Device, devices: Collection[Device]) -> Iterator[str]:
    """Loop devices that reach the same bytes; the kernel names none of them as a holder, nor keeps us from writing."""
    places = {device.path, *(one.path for one in devices if one.parent == device.path)}
    for other in devices:
        if other.stands_on in places:
            yield f"{other.name} (loop)"
        elif other.backing and other.backing == device.backing and other.number != device.number and not other.parent:
            yield f"{other.name} (loop over the same file)"


def _card_model(disk: Path) -> str:
    """Of a card in a slot of its own, and of soldered memory, which call themselves otherwise than disks do."""
    name, kind = _word(_first_line(disk / "device" / "name")), _first_line(disk / "device" / "type")
    words = {"SD": "SD card", "MMC": "eMMC"}.get(kind, "")
    return " ".join(word for word in (name, words) if word) if words else ""


def _mapped_name(holder: str) -> str:
    """lsblk calls dm-0 by its mapped name."""
    return _first_line(Path("/sys/block") / holder / "dm" / "name")


def _first_line(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").partition("\n")[0]
    except OSError:
        return ""


def _stable_names(folder: Path) -> dict[str, tuple[str, ...]]:
    """The paths in one of udev's folders by the kernel number they lead to; empty where udev does not run."""
    names: dict[str, tuple[str, ...]] = {}
    for link in sorted(folder.glob("*")):
        try:
            target = link.stat().st_rdev
        except OSError:
            continue
        number = f"{os.major(target)}:{os.minor(target)}"
        names[number] = (*names.get(number, ()), str(link))
    return names


def _of_unlisted(number: str) -> str:
    """What a block device is that is no disk of the list."""
    node = Path("/sys/dev/block") / number
    below = ", ".join(path.name for path in sorted((node / "slaves").glob("*")))
    if (node / "dm").is_dir():
        return f"is a mapped device (encryption, LVM), not a disk{f'; it lies on {below}' if below else ''}"
    if (node / "md").is_dir():
        return f"is a RAID, not a disk{f'; it lies on {below}' if below else ''}"
    return "is not among this machine's disks, or has no medium in it"


def _kind_of(mode: int) -> str:
    kinds = (
        (stat.S_ISREG, "a regular file"), (stat.S_ISDIR, "a folder"), (stat.S_ISCHR, "a character device"),
        (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISBLK, "a block device"),
    )  # fmt: skip
    return next((words for test, words in kinds if test(mode)), "something else")
