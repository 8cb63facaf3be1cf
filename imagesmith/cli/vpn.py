"""The commands `vpn members` and `vpn authorise`: they print; what they do is in `workflow.vpn`."""

from __future__ import annotations

from pathlib import Path

import click

from imagesmith.cli.options import answer, json_option, of_vault
from imagesmith.cli.progress import listener_for
from imagesmith.errors import UsageError
from imagesmith.model import Cluster, Membership
from imagesmith.planning.receipt import columns
from imagesmith.workflow.vpn import authorise, members, network_in


@click.group("vpn", short_help="Tell who is in the VPN, and let the nodes in.")
def vpn_group() -> None:
    """Tell which members the cluster's ZeroTier network is to have, and let them
    in before they were switched on. See docs/vpn.md.

    \b
    Examples:
      imagesmith vpn members
      imagesmith vpn authorise
    """


@vpn_group.command("members", short_help="Print the nodes as members of the network.")
@of_vault
@json_option
@click.pass_context
def members_command(ctx: click.Context, folder: Path, cluster: Cluster | None, as_json: bool) -> None:
    """Print the nodes as members of the ZeroTier network: what a person types
    into its page. Identities that are missing are drawn; nobody is asked.

    \b
    Example:
      imagesmith vpn members
    """
    inventory = _needed(cluster)
    found, network = members(inventory, folder, listener_for(ctx)), network_in(inventory).network
    if as_json:
        answer({"network": network, "members": [_plain(one) for one in found]})
        return
    _tell(network, found)


@vpn_group.command("authorise", short_help="Let the nodes into the network.")
@of_vault
@json_option
@click.pass_context
def authorise_command(ctx: click.Context, folder: Path, cluster: Cluster | None, as_json: bool) -> None:
    """Let the nodes into the ZeroTier network, with their names and addresses,
    through Central's API or a controller's, as the inventory says. Where it
    names neither, what to type into the network's page is printed.

    \b
    Example:
      imagesmith vpn authorise
    """
    inventory = _needed(cluster)
    done, network = authorise(inventory, folder, listener_for(ctx)), network_in(inventory).network
    if as_json:
        plain = [_plain(one) for one in done.members]
        answer({"network": network, "asked": done.asked, "changed": list(done.changed), "members": plain})
    elif done.asked:
        click.echo(f"{len(done.changed)} of {len(done.members)} were let into {network} now; the others were in")
    else:
        _tell(network, done.members)
        click.echo("Nobody was asked: the inventory names no API. On the network's page, add each member by its id,")
        click.echo("give it the name and the address, and tick Auth. `imagesmith status` tells who still waits.")


def _tell(network: str, found: tuple[Membership, ...]) -> None:
    rows = [("ID", "NODE", "ADDRESS"), *((one.member, one.name, " ".join(one.addresses) or "any") for one in found)]
    click.echo(f"network {network}")
    for line in columns(rows):
        click.echo(line)


def _plain(one: Membership) -> dict[str, object]:
    return {"id": one.member, "node": one.name, "addresses": list(one.addresses), "identity": one.identity}


def _needed(cluster: Cluster | None) -> Cluster:
    if cluster is None:
        raise UsageError("there is no inventory, so there are no nodes", hint="imagesmith init writes one")
    return cluster
