"""The commands that write and check cards: `flash`, `verify`.

They ask and print; what they do is in `workflow.flash` and `workflow.verify`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from imagesmith.cli.devices import plain
from imagesmith.cli.options import answer, built_option, json_option
from imagesmith.cli.progress import listener_for
from imagesmith.errors import ImagesmithError, UsageError
from imagesmith.planning.refusals import ALLOW_FIXED
from imagesmith.units import show_size
from imagesmith.workflow.asking import Ask, Question
from imagesmith.workflow.flash import Outcome, Request, first_failure, flash
from imagesmith.workflow.planned import current_plan_id
from imagesmith.workflow.verify import Verified, verify_device, verify_image


@click.command("flash", short_help="Write an image to cards and read it back.")
@click.argument("arguments", metavar="[SOURCE] DEVICE...", nargs=-1, required=True)
@built_option
@click.option("--yes", is_flag=True, help="Don't ask; needs a /dev/disk/by-id name.")
@click.option(ALLOW_FIXED, "allow_fixed", is_flag=True, help="Allow built-in disks (never the system's).")
@click.option("--to-file", is_flag=True, help="DEVICE is an existing regular file.")
@click.option("--no-eject", is_flag=True, help="Leave the card in use when it is done.")
@json_option
@click.pass_context
def flash_command(
    ctx: click.Context,
    arguments: tuple[str, ...],
    output_dir: Path,
    yes: bool,
    allow_fixed: bool,
    to_file: bool,
    no_eject: bool,
    as_json: bool,
) -> None:
    """Write an image to one or more cards, read it back, and make it bootable
    last.

    SOURCE is an image file or the TARGET it was built for; without it, the image
    built last. A single argument is always the device. A card that failed is left
    without a bootable start.

    \b
    Examples:
      imagesmith flash /dev/sdX
      imagesmith flash rpi4-worker /dev/sdX /dev/sdY
      imagesmith flash out/node-1/node-1.img --yes /dev/disk/by-id/usb-CARD
    """
    source, devices = (None, arguments) if len(arguments) == 1 else (arguments[0], arguments[1:])
    request = Request(source, devices, output_dir, allow_fixed, yes, to_file, not no_eject)
    outcomes = flash(request, ask=_ask(as_json), current_plan_id=current_plan_id, listener=listener_for(ctx))
    failure = first_failure(outcomes)
    for outcome in outcomes:
        _tell(outcome, failure, as_json)
    if failure:
        raise failure
    if as_json:
        answer([_outcome(outcome) for outcome in outcomes])


@click.command("verify", short_help="Check an image, or a card against its image.")
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("device", required=False)
@json_option
@click.pass_context
def verify_command(ctx: click.Context, image: Path, device: str | None, as_json: bool) -> None:
    """Check IMAGE against its SHA256SUMS, manifest and block map; with DEVICE, the
    card against IMAGE.

    Nothing is written. The card is read past all caches.

    \b
    Examples:
      imagesmith verify out/node-1/node-1.img
      imagesmith verify out/node-1/node-1.img /dev/sdX
    """
    listener = listener_for(ctx)
    verified: Verified = verify_device(image, device, listener) if device else verify_image(image, listener)
    if as_json:
        answer({"image": str(verified.image), "facts": list(verified.facts)})
        return
    for fact in verified.facts:
        click.echo(f"{verified.image}: {fact}")


def _ask(as_json: bool) -> Ask:
    """A question on the terminal. Answers from a pipe are not taken: nobody saw what they would confirm."""

    def ask(question: Question) -> str:
        if as_json or not sys.stdin.isatty():
            raise UsageError(
                "there is no terminal to ask at",
                where=question.where,
                hint="use --yes with the device's name in /dev/disk/by-id (see `imagesmith devices`)",
            )
        for line in question.facts:
            click.echo(line, err=True)
        answer = click.prompt(f"Type {question.expected} to {question.doing}", default="", show_default=False, err=True)
        return str(answer)

    return ask


def _tell(outcome: Outcome, raised: ImagesmithError | None, as_json: bool) -> None:
    """One line for each device; the error that is raised is shown by `cli.main`, so not here."""
    if as_json:
        click.echo(json.dumps({"outcome": _outcome(outcome)}))
    elif outcome.receipt:
        click.echo(f"{outcome.device.path}: verified, {show_size(outcome.receipt.written)} written and read back")
        if outcome.receipt.settled:
            click.echo(f"{outcome.device.path} {outcome.receipt.settled}")
    elif outcome.error and outcome.error is not raised:
        click.echo(f"{outcome.error}\n    {outcome.error.hint}", err=True)


def _outcome(outcome: Outcome) -> dict[str, object]:
    written = outcome.receipt.written if outcome.receipt else 0
    error = outcome.error.facts() if outcome.error else None
    return {
        "device": plain(outcome.device),
        "verified": outcome.receipt is not None,
        "written": written,
        "error": error,
    }
