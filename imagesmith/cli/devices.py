"""The command `devices`: which disks and cards there are, and why one would be refused.

It prints; what it looks at is `flash.devices`, and what speaks against a device is decided in `planning.refusals`.
"""

from __future__ import annotations

import click

from imagesmith.cli.options import answer, json_option
from imagesmith.flash.devices import list_devices
from imagesmith.formats.canonical import to_plain
from imagesmith.model import Device
from imagesmith.planning.refusals import refusals
from imagesmith.units import show_size


@click.command("devices", short_help="List disks and cards, and which may be flashed.")
@json_option
def devices_command(as_json: bool) -> None:
    """List disks and cards: what they are, what is on them, why one would be
    refused.

    \b
    Example:
      imagesmith devices
    """
    disks = [device for device in list_devices() if device.kind != "part"]
    if as_json:
        answer([{**plain(device), "refusals": _reasons(device)} for device in disks])
        return
    for device in disks:
        for line in _told(device):
            click.echo(line)
    if not disks:
        click.echo("no disks or cards found")


def plain(device: Device) -> dict[str, object]:
    """A device as the data of `--json`."""
    data = to_plain(device)
    assert isinstance(data, dict)
    return data


def _told(device: Device) -> list[str]:
    words = [show_size(device.size), device.bus, "removable" if device.removable else "", device.model, device.serial]
    lines = [f"{device.path}  {', '.join(word for word in words if word)}"]
    lines += [f"    {name}" for name in device.by_id]
    lines += [f"    holds {content}" for content in device.contents]
    lines += [f"    would be refused: {reason}" for reason in _reasons(device)]
    return lines


def _reasons(device: Device) -> list[str]:
    return [
        f"{refusal.reason}{f' (lifted by {refusal.override})' if refusal.override else ''}"
        for refusal in refusals(device, 0, allow_fixed=False)
    ]
