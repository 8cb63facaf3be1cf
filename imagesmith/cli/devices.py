"""The command `devices`: which disks and cards there are, and why one would be refused; `--watch` tells it again.

It prints; what it looks at is `flash.devices` and `flash.watch`, and what speaks against a device is decided in
`planning.refusals`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

import click

from imagesmith.cli.options import json_option
from imagesmith.flash.devices import list_devices
from imagesmith.flash.watch import changes, watch
from imagesmith.formats.canonical import to_plain
from imagesmith.model import Device
from imagesmith.planning.refusals import refusals, unmountable
from imagesmith.units import show_size

_CLEAR = "\x1b[H\x1b[2J"
_VIRTUAL = ("nbd", "zram", "ram")


@click.command("devices", short_help="List disks and cards, and which may be flashed.")
@click.option("--watch", "watching", is_flag=True, help="List them again on every change, until Ctrl-C.")
@json_option
def devices_command(watching: bool, as_json: bool) -> None:
    """List disks and cards: what they are, what is on them, why one would be
    refused.

    \b
    Examples:
      imagesmith devices
      imagesmith devices --watch
    """
    if not watching:
        _list(_disks(list_devices()), as_json)
        return
    voice = _tell_json if as_json else _redraw if sys.stdout.isatty() else _tell_lines
    told: tuple[Device, ...] | None = None
    try:
        for found in watch():
            voice(told, found)
            sys.stdout.flush()
            told = found
    except KeyboardInterrupt:
        # The way to end it, so it is no failure.
        if as_json:
            _list(_disks(told or ()), as_json)


def plain(device: Device) -> dict[str, object]:
    """A device as the data of `--json`."""
    data = to_plain(device)
    assert isinstance(data, dict)
    return data


def _disks(devices: Iterable[Device]) -> list[Device]:
    """Whole disks; what the kernel keeps ready and nobody put anything into is none."""
    return [one for one in devices if one.kind != "part" and (one.size or not one.name.startswith(_VIRTUAL))]


def _list(disks: list[Device], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"result": [_as_data(device) for device in disks]}))
        return
    for device in disks:
        click.echo("\n".join(_told(device)))
    if not disks:
        click.echo("no disks or cards found")


def _redraw(before: tuple[Device, ...] | None, after: tuple[Device, ...]) -> None:
    """For a terminal: the whole list anew, and what changed below it."""
    click.echo(_CLEAR, nl=False)
    _list(_disks(after), as_json=False)
    click.echo("\n".join(["", *_changed(before, after), "Looking for changes; Ctrl-C ends it."]))


def _tell_lines(before: tuple[Device, ...] | None, after: tuple[Device, ...]) -> None:
    """For a pipe or a log: the list once, then a line for each change."""
    if before is None:
        _list(_disks(after), as_json=False)
    else:
        for line in _changed(before, after):
            click.echo(line)


def _tell_json(before: tuple[Device, ...] | None, after: tuple[Device, ...]) -> None:
    if before is None:
        click.echo(json.dumps({"event": "DevicesListed", "devices": [_as_data(one) for one in _disks(after)]}))
        return
    change = changes(before, after)
    events = (
        ("DeviceGone", change.gone), ("DeviceAppeared", change.appeared), ("DeviceChanged", change.altered),
    )  # fmt: skip
    for event, devices in events:
        for device in _disks(devices):
            click.echo(json.dumps({"event": event, "device": _as_data(device)}))


def _changed(before: tuple[Device, ...] | None, after: tuple[Device, ...]) -> list[str]:
    if before is None:
        return []
    change = changes(before, after)
    lines = [f"gone: {_headline(device)}" for device in _disks(change.gone)]
    lines += [f"appeared: {_headline(device)}{_verdict(device)}" for device in _disks(change.appeared)]
    return lines + [f"changed: {_headline(device)}{_state(device)}" for device in _disks(change.altered)]


def _told(device: Device) -> list[str]:
    lines = [_headline(device)]
    lines += [f"    {name}" for name in device.by_id]
    lines += [f"    holds {content}" for content in device.contents]
    if unmountable(device):
        lines.append(f"    would be unmounted first, after asking: {', '.join(unmountable(device))}")
    lines += [f"    would be refused: {reason}" for reason in _reasons(device)]
    return lines


def _headline(device: Device) -> str:
    serial = f"serial {device.serial}" if device.serial else ""
    size = show_size(device.size) if device.size else "no medium"
    words = [size, device.bus, "removable" if device.removable else "", device.model, serial]
    return f"{device.path}  {', '.join(word for word in words if word)}"


def _verdict(device: Device) -> str:
    reasons = _reasons(device)
    return f"; would be refused: it {reasons[0]}" if reasons else "; may be flashed"


def _state(device: Device) -> str:
    return f"; mounted as {', '.join(device.mounts)}" if device.mounts else "; nothing mounted"


def _reasons(device: Device) -> list[str]:
    return [
        f"{refusal.reason}{f' (lifted by {refusal.override})' if refusal.override else ''}"
        for refusal in refusals(device, 0, allow_fixed=False)
    ]


def _as_data(device: Device) -> dict[str, object]:
    return {**plain(device), "refusals": _reasons(device), "unmountable": list(unmountable(device))}
