"""The command `vault rotate`: asks and prints; what it does is in `workflow.rotate` and `workflow.rotation`."""

from __future__ import annotations

from pathlib import Path

import click

from imagesmith.cli.cluster import agreement, tell_left
from imagesmith.cli.options import answer, identity_option, json_option, of_vault, vault_key_option, yes_option
from imagesmith.cli.passphrase import passphrase_asker
from imagesmith.cli.progress import listener_for
from imagesmith.errors import UsageError
from imagesmith.model import Cluster
from imagesmith.planning.rotating import can_be_applied
from imagesmith.vault.names import OLD
from imagesmith.workflow.nodes import rack_of
from imagesmith.workflow.rotate import done, rotate, what_follows
from imagesmith.workflow.rotation import apply
from imagesmith.workflow.vault import Opening


@click.command("rotate", short_help="Draw one secret anew.")
@click.argument("name", metavar="NAME")
@of_vault
@click.option("--new-cluster", is_flag=True, help="With cluster/ca: a new root, under which no node of now belongs.")
@click.option("--apply", "applying", is_flag=True, help="Bring it to the nodes that run too, over SSH.")
@click.option("--resume", is_flag=True, help="With --apply: what was drawn before, where that stopped.")
@click.option("--done", "has_it", is_flag=True, help="Draw nothing: what runs has what was drawn last.")
@identity_option
@yes_option
@vault_key_option
@json_option
@click.pass_context
def rotate_command(
    ctx: click.Context,
    name: str,
    folder: Path,
    cluster: Cluster | None,
    new_cluster: bool,
    applying: bool,
    resume: bool,
    has_it: bool,
    identity: Path | None,
    yes: bool,
    vault_key: Path | None,
    as_json: bool,
) -> None:
    """Draw one secret anew, in the vault alone: no running node is changed, but
    with --apply, which shows what it will do on each, and asks.

    What must follow is said. The one before is kept under NAME.old. The vault
    is opened for an authority alone, which another one signs.

    \b
    Examples:
      imagesmith vault rotate nodes/node-1/host-key.ed25519
      imagesmith vault rotate cluster/ca/client
      imagesmith vault rotate cluster/agent-token --apply
    """
    if has_it:
        _has_it(folder, name, as_json, alone=not (applying or resume or new_cluster))
        return
    opening = Opening(passphrase_asker(as_json), vault_key, listener_for(ctx))
    if applying or resume:
        if cluster is None or new_cluster or not applying:
            raise UsageError(
                "--apply changes the nodes of an inventory, by one secret", hint="--resume goes with --apply"
            )
        left = apply(
            rack_of(cluster, folder, identity), name, opening, agreement(yes, as_json), listener_for(ctx), again=resume
        )
        tell_left({"applied": name}, left, as_json)
        return
    drawn = rotate(folder, name, opening, new_cluster=new_cluster)
    if as_json:
        answer({"rotated": list(drawn), "old": [f"{one}.old" for one in drawn], "follows": what_follows(name)})
        return
    for one in drawn:
        click.echo(f"{one} is drawn anew; the one before is {one}.old")
    click.echo(f"what must follow: {what_follows(name)}")
    if cluster and can_be_applied(name):
        click.echo(f"or, where its nodes run and are reached by SSH: imagesmith vault rotate {name} --apply --resume")


def _has_it(folder: Path, name: str, as_json: bool, *, alone: bool) -> None:
    if not alone:
        raise UsageError("--done draws nothing, and brings nothing to any node", hint="give it alone")
    done(folder, name)
    if as_json:
        answer({"done": name})
    elif name.endswith(OLD):
        click.echo(f"{name} is no longer in the vault, and what it alone opens stays closed")
    else:
        click.echo(f"every node has {name}, as you say: it can be drawn anew")
