"""The commands that write and check cards: `flash`, `verify`.

They ask and print; what they do is in `workflow.flash` and `workflow.verify`.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from imagesmith.cli.asking import asker
from imagesmith.cli.devices import plain
from imagesmith.cli.options import answer, built_option, complete_target, json_option
from imagesmith.cli.progress import listener_for
from imagesmith.errors import ImagesmithError, UsageError
from imagesmith.flash.devices import list_devices
from imagesmith.formats.canonical import to_plain
from imagesmith.model import Digest
from imagesmith.planning.assign import inserted
from imagesmith.planning.receipt import FlashReceipt, text
from imagesmith.planning.refusals import ALLOW_FIXED
from imagesmith.units import show_size
from imagesmith.workflow.flash import Outcome, Request, first_failure, flash
from imagesmith.workflow.jobs import AllNodes, typed
from imagesmith.workflow.planned import current_plan_id
from imagesmith.workflow.source import STDIN, Trust
from imagesmith.workflow.verify import Verified, verify_device, verify_image


def _complete_word(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For the shell's TAB: a TARGET, or after NODE= the cards that are inserted."""
    node, equals, _ = incomplete.partition("=")
    if not equals:
        return complete_target(context, parameter, incomplete)
    try:
        cards = [(f"{node}={card.path}", show_size(card.size)) for card in inserted(list_devices()).taken]
    except ImagesmithError:
        return []  # TAB is no place to complain
    return [CompletionItem(word, help=about) for word, about in cards if word.startswith(incomplete)]


def _digest(context: click.Context, parameter: click.Parameter, text: str | None) -> Digest | None:
    try:
        return Digest.parse(text) if text else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command("flash", short_help="Write an image to cards and read it back.")
@click.argument("arguments", metavar="[SOURCE] DEVICE... | NODE=DEVICE...", nargs=-1, shell_complete=_complete_word)
@click.option("--all", "everything", is_flag=True, help="Every node of the inventory, to the inserted cards.")
@click.option("--cluster", metavar="FILE", type=click.Path(path_type=Path),
              help="The inventory for --all; else ./cluster.yaml.")  # fmt: skip
@built_option
@click.option("--yes", is_flag=True, help="Don't ask; needs a /dev/disk/by-id name.")
@click.option(ALLOW_FIXED, "allow_fixed", is_flag=True, help="Allow built-in disks (never the system's).")
@click.option("--to-file", is_flag=True, help="DEVICE is an existing regular file.")
@click.option("--digest", metavar="sha256:HEX", default=None, callback=_digest,
              help="What SOURCE must be, as it lies or comes (packed).")  # fmt: skip
@click.option("--insecure-unverified", "insecure", is_flag=True, help="Take a URL that nothing vouches for.")
@click.option("--no-eject", is_flag=True, help="Leave the card in use when it is done.")
@json_option
@click.pass_context
def flash_command(
    ctx: click.Context,
    arguments: tuple[str, ...],
    everything: bool,
    cluster: Path | None,
    output_dir: Path,
    yes: bool,
    allow_fixed: bool,
    to_file: bool,
    digest: Digest | None,
    insecure: bool,
    no_eject: bool,
    as_json: bool,
) -> None:
    """Write an image to one or more cards, read it back, and make it bootable
    last.

    SOURCE is an image file, the TARGET it was built for, - for standard input,
    or an https URL; without it, the image built last. A single argument is always the device. NODE=DEVICE writes the
    image built for each node to its card, all side by side; --all finds the cards
    itself, and asks once. A card that failed is left without a bootable start.

    A receipt of which card got what is printed, and kept in out/receipts/.

    \b
    Examples:
      imagesmith flash /dev/sdX
      imagesmith flash rpi4-worker /dev/sdX /dev/sdY
      imagesmith flash node-1=/dev/sdX node-2=/dev/sdY
      imagesmith flash --all
      imagesmith flash https://example.org/pi.img.xz /dev/sdX
      imagesmith flash out/node-1/node-1.img --yes /dev/disk/by-id/usb-CARD
    """
    jobs = _all_nodes(arguments, cluster, to_file, allow_fixed) if everything else typed(arguments, to_file=to_file)
    if cluster and not everything:
        raise UsageError("--cluster is for --all: it says which nodes there are", hint="leave it away")
    trust = Trust(digest, insecure)
    if digest and (isinstance(jobs, AllNodes) or any(job.node for job in jobs)):
        raise UsageError("--digest is for one SOURCE; what was built is known by its own digests")
    request = Request(jobs, output_dir, allow_fixed, yes, to_file, not no_eject, trust)
    piped = not isinstance(jobs, AllNodes) and any(job.source == STDIN for job in jobs)
    ask = asker(as_json, piped=piped)
    outcomes = flash(request, ask=ask, current_plan_id=current_plan_id, listener=listener_for(ctx))
    _tell(outcomes, as_json)


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


def _all_nodes(arguments: tuple[str, ...], cluster: Path | None, to_file: bool, allow_fixed: bool) -> AllNodes:
    if arguments:
        raise UsageError(
            f"--all finds the cards itself, so {arguments[0]} says too much",
            hint="leave it away; or say which card each node gets: imagesmith flash NODE=DEVICE...",
        )
    if to_file:
        raise UsageError(
            "--all is for the cards that are inserted, not for files", hint="imagesmith flash --to-file NODE=FILE..."
        )
    if allow_fixed:
        raise UsageError(
            f"--all never takes a fixed disk, so {ALLOW_FIXED} has no use with it",
            hint="leave it away; a disk that wants it is named: imagesmith flash NODE=DEVICE...",
        )
    return AllNodes(cluster)


def _tell(outcomes: tuple[Outcome, ...], as_json: bool) -> None:
    """The receipt; of failures the first is raised, to be shown by `cli.main`, and the others are told here."""
    failure = first_failure(outcomes)
    if as_json:
        for outcome in outcomes:
            click.echo(json.dumps({"outcome": _plain(outcome)}))
    else:
        click.echo(text(FlashReceipt(tuple(outcome.record for outcome in outcomes))))
        for error in (outcome.error for outcome in outcomes):
            if error and error is not failure:
                click.echo(f"{error}\n    {error.hint}", err=True)
    if failure:
        raise failure
    if as_json:
        answer([_plain(outcome) for outcome in outcomes])


def _plain(outcome: Outcome) -> dict[str, object]:
    record = to_plain(outcome.record)
    assert isinstance(record, dict)
    return {
        **record,
        "device": plain(outcome.device),
        "verified": outcome.receipt is not None,
        "error": outcome.error.facts() if outcome.error else None,
    }
