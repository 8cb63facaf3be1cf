"""The commands about what runs on a cluster: `addons` and `token`. They ask and print; see `workflow.addons`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from imagesmith.cli.cluster import agreement, of_rack
from imagesmith.cli.options import answer, cluster_option, json_option, vault_key_option, yes_option
from imagesmith.cli.passphrase import passphrase_asker
from imagesmith.cli.progress import listener_for
from imagesmith.errors import UsageError
from imagesmith.model import Architecture, Cluster
from imagesmith.model.addons import Recipe
from imagesmith.planning.addons import described, images
from imagesmith.planning.receipt import columns
from imagesmith.profile.k3s import ARCHITECTURES
from imagesmith.profile.schema import did_you_mean
from imagesmith.workflow import addons as work
from imagesmith.workflow.nodes import Rack
from imagesmith.workflow.target import DEFAULT_INVENTORY, catalogue_of, load_inventory, recipes_near
from imagesmith.workflow.vault import Opening

_MOST_HOURS = 24 * 7


@click.group("addons", short_help="What runs on the cluster: list, show, apply.")
def addons_group() -> None:
    """What runs on the cluster beside k3s: the add-ons of the catalogue, those of
    your inventory, and how they get to a cluster that runs. See docs/addons.md.

    \b
    Examples:
      imagesmith addons list
      imagesmith addons apply
    """


@addons_group.command("list", short_help="List the catalogue, and what of it is wanted.")
@cluster_option
@json_option
def list_command(cluster: Path | None, as_json: bool) -> None:
    """List the catalogue of add-ons, and which of them your inventory wants.

    \b
    Example:
      imagesmith addons list
    """
    found = load_inventory(cluster)
    recipes = {name: recipe for name, recipe in _recipes(cluster).items() if recipe.listed}
    wanted = {addon.name for addon in found.addons.wanted} if found and found.addons else set()
    if as_json:
        answer({name: {"title": recipe.title, "wanted": name in wanted} for name, recipe in recipes.items()})
        return
    rows = [(name, "wanted" if name in wanted else "-", recipe.title) for name, recipe in sorted(recipes.items())]
    for line in columns([("ADD-ON", "INVENTORY", "WHAT IT IS"), *rows]):
        click.echo(line)


@addons_group.command("show", short_help="All about one add-on.")
@click.argument("name", metavar="NAME")
@cluster_option
@json_option
def show_command(name: str, cluster: Path | None, as_json: bool) -> None:
    """All about one add-on: images, memory, volumes, passwords, and what survives
    the loss of a node.

    \b
    Example:
      imagesmith addons show wordpress
    """
    found, recipes = load_inventory(cluster), _recipes(cluster)
    recipe = recipes.get(name)
    if recipe is None or not recipe.listed:
        known = sorted(one for one, recipe in recipes.items() if recipe.listed)
        raise UsageError(
            f"there is no add-on {name[:60]!r}{did_you_mean(name, known)}", hint=f"there is: {', '.join(known)}"
        )
    lines = described(recipe, found.addons.addon(name) if found and found.addons else None)
    if as_json:
        answer({"name": name, "title": recipe.title, "lines": lines})
        return
    for line in lines:
        click.echo(line)


@addons_group.command("images", short_help="Name the container images, one a line.")
@click.option("--for", "target", metavar="NODE|ARCH", default="", help="What runs there alone: a node, amd64, arm64.")
@cluster_option
@json_option
def images_command(target: str, cluster: Path | None, as_json: bool) -> None:
    """Name the container images of what your inventory wants, one a line, for a
    registry of your own. Without an inventory: those of the whole catalogue.

    \b
    Examples:
      imagesmith addons images
      imagesmith addons images --for arm64
    """
    found = load_inventory(cluster)
    listed = images(_recipes(cluster), found.addons if found else None, _architecture(target, found))
    if as_json:
        answer({"images": list(listed)})
        return
    for line in listed:
        click.echo(line)
    if found and found.addons and (found.addons.charts or found.addons.manifests):
        click.echo("charts and own manifests name more, which is not known here", err=True)


@addons_group.command("apply", short_help="Bring the inventory's add-ons to the cluster.")
@of_rack
@vault_key_option
@yes_option
@json_option
@click.pass_context
def apply_command(ctx: click.Context, of: Rack, vault_key: Path | None, yes: bool, as_json: bool) -> None:
    """Bring the add-ons of the inventory to the cluster that runs: manifests that
    differ are written on every server, and what is no longer wanted is
    deleted, with its volumes. All of it is shown and asked for first; `n` then
    changes nothing. It takes the vault, and all nodes must answer.

    \b
    Example:
      imagesmith addons apply
    """
    opening = Opening(passphrase_asker(as_json), vault_key, listener_for(ctx))
    count, left = work.apply(of, opening, agreement(yes, as_json), listener_for(ctx))
    if as_json:
        answer({"steps": count, "left": list(left)})
    else:
        if not count:
            click.echo("all nodes have what the inventory says")
        told = (*left, *(("kubectl get pods -A tells when all of it runs",) if count else ()))
        for line in told:
            click.echo(line)


@click.command("token", short_help="Ask the cluster for a token, as headlamp wants one.")
@click.argument("name", metavar="ADDON")
@click.option("--read-only", is_flag=True, help="One that may look, and change nothing.")
@click.option("--hours", type=click.IntRange(1, _MOST_HOURS), default=8, show_default=True, help="How long it is good.")
@of_rack
@json_option
def token_command(name: str, read_only: bool, hours: int, of: Rack, as_json: bool) -> None:
    """Ask the cluster for a token to log in to an add-on with. It is printed once
    and kept nowhere; who has it may do everything, until it ends.

    \b
    Examples:
      imagesmith token headlamp
      imagesmith token headlamp --read-only --hours 1
    """
    made = work.token(of, name, read_only=read_only, hours=hours).reveal().decode()
    if as_json:
        answer({"token": made})
        return
    click.echo(made)


def _recipes(cluster: Path | None) -> Mapping[str, Recipe]:
    return recipes_near((cluster or DEFAULT_INVENTORY).parent)


def _architecture(target: str, cluster: Cluster | None) -> Architecture | None:
    """`amd64`, `arm64`, or a node of the inventory. Raises UsageError."""
    if not target:
        return None
    node = cluster.node(target) if cluster else None
    if node and cluster:
        return catalogue_of(cluster).profiles[node.profile].board.architecture
    if target not in ARCHITECTURES:
        known = [*ARCHITECTURES, *(node.name for node in cluster.nodes)] if cluster else list(ARCHITECTURES)
        raise UsageError(f"{target[:60]!r} is no node and no architecture{did_you_mean(target, known)}",
                         hint=f"one of {', '.join(known)}")  # fmt: skip
    return "amd64" if target == "amd64" else "arm64"
