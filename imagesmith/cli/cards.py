"""The commands for cards without an image: `probe`, `wipe`.

They ask and print; what they do is in `workflow.probe` and `workflow.wipe`.
"""

from __future__ import annotations

import functools
from typing import Any

import click
from click.shell_completion import CompletionItem

from imagesmith.cli.asking import asker
from imagesmith.cli.devices import plain
from imagesmith.cli.options import Command, answer, json_option
from imagesmith.cli.progress import listener_for
from imagesmith.errors import ImagesmithError
from imagesmith.flash.devices import list_devices
from imagesmith.flash.probe import Probed
from imagesmith.flash.wipe import Wiped
from imagesmith.planning.assign import inserted
from imagesmith.planning.refusals import ALLOW_FIXED
from imagesmith.units import show_size
from imagesmith.workflow.overwriting import Request
from imagesmith.workflow.probe import probe
from imagesmith.workflow.wipe import wipe


def _complete_card(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For the shell's TAB: the cards that are inserted."""
    try:
        cards = inserted(list_devices()).taken
    except ImagesmithError:
        return []  # TAB is no place to complain
    return [CompletionItem(card.path, help=show_size(card.size)) for card in cards if card.path.startswith(incomplete)]


def _about_a_card(command: Command) -> Command:
    """What both take: the device, and how it is agreed upon. They get it as one `request`."""

    @functools.wraps(command)
    def gathered(device: str, full: bool, yes: bool, allow_fixed: bool, as_json: bool) -> Any:
        return command(request=Request(device, full, allow_fixed, yes), as_json=as_json)

    wrapped: Command = gathered
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


_OPTIONS = (
    click.argument("device", shell_complete=_complete_card),
    click.option("--yes", is_flag=True, help="Don't ask; needs a /dev/disk/by-id name."),
    click.option(ALLOW_FIXED, "allow_fixed", is_flag=True, help="Allow built-in disks (never the system's)."),
    json_option,
)


@click.command("probe", short_help="Test a card: fake size, lost writes, bad bits.")
@click.option("--full", is_flag=True, help="Test every byte: write all of it, read all of it.")
@_about_a_card
@click.pass_context
def probe_command(ctx: click.Context, request: Request, as_json: bool) -> None:
    """Test a card by itself. WHAT IS ON IT IS LOST: markers are written all over
    it, read back past all caches, and its start and end are left blank.

    Finds cards that pretend to be larger, that lose writes or change bits. Takes
    a minute or two; --full takes hours and is the only test of every byte.

    \b
    Examples:
      imagesmith probe /dev/sdX
      imagesmith probe --full --yes /dev/disk/by-id/usb-CARD
    """
    found = probe(request, ask=asker(as_json), listener=listener_for(ctx))
    if as_json:
        answer(_probed(found))
        return
    device = found.plan.device
    size = show_size(device.size)
    rates = f"written at {_rate(found.write_rate)}, read at {_rate(found.read_rate)}"
    if found.plan.full:
        click.echo(f"{device.path}: kept every byte of its {size}; {rates}")
    else:
        places = len(found.plan.marks)
        click.echo(
            f"{device.path}: kept the {show_size(found.plan.tested)} written to its start and to {places} places all"
            f" over its {size}; {rates}. No other byte was tested: only --full tests all"
        )


@click.command("wipe", short_help="Blank a card's tables, or all of it.")
@click.option("--full", is_flag=True, help="Overwrite every byte with zeros, and read all back.")
@_about_a_card
@click.pass_context
def wipe_command(ctx: click.Context, request: Request, as_json: bool) -> None:
    """Blank a card: its tables and boot sectors, and where its file systems begin
    and end; what is blanked is read back.

    The files themselves can still be found on it; --full overwrites every byte.
    For a card that is given away, or retired with secrets on it.

    \b
    Examples:
      imagesmith wipe /dev/sdX
      imagesmith wipe --full /dev/sdX
    """
    found = wipe(request, ask=asker(as_json), listener=listener_for(ctx))
    if as_json:
        answer(_wiped(found))
    elif found.full:
        click.echo(
            f"{found.device.path}: all {show_size(found.size)} are zeros, written and read back. Worn blocks that"
            " the card itself set aside are beyond the reach of any program"
        )
    else:
        many = "1 partition" if found.partitions == 1 else f"{found.partitions} partitions"
        click.echo(
            f"{found.device.path}: its tables, and start and end of {many}, are zeros, read back"
            f" ({show_size(found.size)}). The data in between is still there: only --full overwrites it"
        )


def _probed(found: Probed) -> dict[str, object]:
    return {
        "device": plain(found.plan.device),
        "full": found.plan.full,
        "tested": found.plan.tested,
        "write_rate": round(found.write_rate),
        "read_rate": round(found.read_rate),
    }


def _wiped(found: Wiped) -> dict[str, object]:
    return {
        "device": plain(found.device),
        "full": found.full,
        "zeros": found.size,
        "partitions": found.partitions,
    }


def _rate(bytes_a_second: float) -> str:
    return f"{show_size(int(bytes_a_second))}/s"
