"""The commands that make images: `fetch` and `build`."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import click

from imagesmith.cli.options import (
    answer,
    complete_target,
    json_option,
    source_date_epoch,
    target_argument,
    target_options,
    vault_key_option,
    vault_option,
)
from imagesmith.cli.passphrase import passphrase_asker
from imagesmith.cli.progress import listener_for
from imagesmith.errors import UsageError
from imagesmith.events import Listener
from imagesmith.formats.canonical import to_plain
from imagesmith.model import BuildPlan, Image
from imagesmith.sources.cache import Cache
from imagesmith.units import show_size
from imagesmith.workflow.bases import Bases
from imagesmith.workflow.build import BuildOptions, Compression, build
from imagesmith.workflow.built import record_build
from imagesmith.workflow.planned import lock_file, part_in_cluster, plan, remembered, remembered_target
from imagesmith.workflow.resolving import resolve
from imagesmith.workflow.sealed import require_vault, vault_of
from imagesmith.workflow.secrets import open_secrets
from imagesmith.workflow.target import TargetChoice, Wanted, all_wanted, wanted
from imagesmith.workflow.vault import Opening, draw_missing, names_for, record_founder, sign_due

_OUTPUT = Path("out")

_insecure_option = click.option(
    "--insecure-unverified", "insecure", is_flag=True, help="Take a base that no digest or signature vouches for."
)


@click.command("fetch", short_help="Get all that a build fetches, verified, into the cache.")
@target_argument
@target_options
@_insecure_option
@json_option
@click.pass_context
def fetch_command(ctx: click.Context, choice: TargetChoice, insecure: bool, as_json: bool) -> None:
    """Get the base image of TARGET into the cache, verified and unpacked, and
    what is put into its image beside it: k3s, packages that the base lacks.

    After it a build needs no network.

    \b
    Examples:
      imagesmith fetch rpi4-worker
      imagesmith fetch rpi4-worker --base debian
    """
    found, lock_path, listener = wanted(choice), lock_file(choice), listener_for(ctx)
    build_plan = plan(found, lock_path)
    with Bases(Cache.default(), insecure=insecure, listener=listener) as bases:
        base = bases.of(build_plan)
        if resolve([(found, build_plan)], lock_path, bases, listener):
            build_plan = plan(found, lock_path)
        supplies = [(one, bases.supply(one)) for one in build_plan.supplies]
    if as_json:
        listed = [{"name": one.name, "path": str(got.path), "digest": str(got.digest)} for one, got in supplies]
        answer({"base": to_plain(replace(base, packages=())), "supplies": listed})
        return
    click.echo(f"{base.path}: {show_size(base.size)}, {base.digest}")
    click.echo(f"trusted because it is {base.trust}")
    for one, got in supplies:
        click.echo(f"{one.name}: {show_size(got.size)}, {got.digest}")


@click.command("build", short_help="Make the image of a node, or of all nodes.")
@click.argument("target", metavar="[TARGET]", required=False, shell_complete=complete_target)
@target_options
@click.option("--all", "everything", is_flag=True, help="Build every node of the inventory.")
@click.option("--output", metavar="DIR", default=str(_OUTPUT), show_default=True, type=click.Path(path_type=Path),
              help="Where images go, one folder each.")  # fmt: skip
@click.option("--compress", type=click.Choice(["zst", "xz", "none"]), default="zst", show_default=True,
              help="Of the copy beside the raw image.")  # fmt: skip
@vault_option
@vault_key_option
@_insecure_option
@json_option
@click.pass_context
def build_command(
    ctx: click.Context,
    choice: TargetChoice,
    everything: bool,
    output: Path,
    compress: Compression,
    vault: Path | None,
    vault_key: Path | None,
    insecure: bool,
    as_json: bool,
) -> None:
    """Make the image of TARGET: a node of the inventory, a profile's name, or a
    profile's file.

    Needs no root and mounts nothing. The same inputs give the same bytes. For
    nodes of a k3s cluster there must be a vault: imagesmith vault create.

    \b
    Examples:
      imagesmith build node-1
      imagesmith build --all
      imagesmith build rpi4-worker --base debian --ssh-key ~/.ssh/id_ed25519.pub
    """
    if bool(choice.target) == everything:
        raise UsageError("give one TARGET, or --all for every node of the inventory", hint="see imagesmith build -h")
    choice = replace(choice, vault=vault)
    targets = all_wanted(choice) if everything else (wanted(choice),)
    for one in targets:  # before any passphrase is asked for, or byte fetched
        require_vault(one.cluster, vault_of(choice))
    options = BuildOptions(output, compress, source_date_epoch())
    listener, images = listener_for(ctx), list[Image]()
    opening = Opening(passphrase_asker(as_json), vault_key, listener)
    _sign_due(choice, targets, opening)
    plans = _plans(choice, targets, options.epoch, listener)
    # Of all of them, before the first base is fetched for hours.
    open_secret = open_secrets(plans, listener, opening)
    _name_founder(choice, targets)
    if vault_of(choice) and _plans(choice, targets, options.epoch, listener) != plans:
        # One half of a key would be of before, the other of after.
        raise UsageError("the vault was changed while it was being opened", hint="run it again")
    with Bases(Cache.default(), insecure=insecure, listener=listener) as bases:
        if resolve(list(zip(targets, plans, strict=True)), lock_file(choice), bases, listener):
            plans = _plans(choice, targets, options.epoch, listener)
        for build_plan in plans:
            images.append(build(build_plan, options, bases, listener, open_secret))
            # After each, so that what was made is known although a later one fails.
            record_build(output, images, targets=_typed(choice, targets), options=remembered(choice, options.epoch))
    if as_json:
        answer({"images": [to_plain(image) for image in images]})
        return
    for image in images:
        click.echo(f"{image.path}  {show_size(image.size)}  {image.digest}")
    click.echo(f"next: {_next(targets, output)}")


def _plans(choice: TargetChoice, targets: tuple[Wanted, ...], epoch: int, listener: Listener) -> list[BuildPlan]:
    """Where there is a vault, what the nodes and their k3s cluster have in it is drawn now, unless it was."""
    vault, nodes = vault_of(choice), [one.node.name for one in targets]
    if vault:
        draw_missing(vault, names_for(nodes, targets[0].cluster), listener)
    return [plan(one, lock_file(choice), epoch=epoch, vault=vault) for one in targets]


def _sign_due(choice: TargetChoice, targets: tuple[Wanted, ...], opening: Opening) -> None:
    """Certificates of nodes that are not there, or soon at their end; the vault is opened for these alone."""
    if vault := vault_of(choice):
        sign_due(vault, names_for([one.node.name for one in targets], targets[0].cluster), opening)


def _name_founder(choice: TargetChoice, targets: tuple[Wanted, ...]) -> None:
    """Before there is an image that founds: whatever comes of it, no other server's is made while it may be about."""
    vault = vault_of(choice)
    if vault is None:
        return
    for one in targets:
        part = part_in_cluster(one, vault)
        if part and part.duty == "founder":
            record_founder(vault, part.node.name, [server.name for server in part.servers])


def _next(targets: tuple[Wanted, ...], output: Path) -> str:
    """What to type now, for the first image that it can be done with."""
    name, bootable = targets[0].node.name, [one.node.name for one in targets if one.profile.board.machine_for(one.base)]
    where = "" if output == _OUTPUT else f" --output {shlex.quote(str(output))}"
    flash = f"imagesmith flash{where} {'' if len(targets) == 1 else f'{name} '}/dev/sdX"
    return f"imagesmith boot{where} {bootable[0]}   or   {flash}" if bootable else flash


def _typed(choice: TargetChoice, targets: tuple[Wanted, ...]) -> dict[str, str]:
    """Image name to the TARGET that it was built for; with --all that is the node's name."""
    return {one.node.name: remembered_target(choice.target) or one.node.name for one in targets}
