"""The commands that let the operator in before the first power-on: `known-hosts` and `kubeconfig`.

They ask and print; what they do is in `workflow.sealed` and `workflow.access`.
"""

from __future__ import annotations

import shlex
import sys
from datetime import timedelta
from pathlib import Path

import click

from imagesmith.cli.options import answer, json_option, of_vault, vault_key_option
from imagesmith.cli.passphrase import passphrase_asker
from imagesmith.cli.progress import listener_for
from imagesmith.errors import UsageError
from imagesmith.events import Listener
from imagesmith.identity.kubeconfig import ADMIN_LIFETIME
from imagesmith.model import Cluster
from imagesmith.workflow.access import admin_kubeconfig, api_of, checked_api, write_kubeconfig
from imagesmith.workflow.sealed import has_k3s, known_hosts, not_drawn
from imagesmith.workflow.vault import Opening, draw_missing, names_for

_MOST_DAYS = 3650


@click.command("known-hosts", short_help="Print the nodes' host keys for ~/.ssh/known_hosts.")
@of_vault
@json_option
@click.pass_context
def known_hosts_command(ctx: click.Context, folder: Path, cluster: Cluster | None, as_json: bool) -> None:
    """Print the nodes' host keys for ~/.ssh/known_hosts, before any of them was
    switched on. The vault is not opened.

    \b
    Example (>> ~/.ssh/known_hosts adds them there):
      imagesmith known-hosts
    """
    inventory = _needed(cluster)
    missing = not_drawn(folder, [node.name for node in inventory.nodes])
    _draw(folder, inventory, listener_for(ctx))
    lines = known_hosts(inventory, folder)
    if as_json:
        answer({"nodes": {name: list(own) for name, own in lines.items()}})
        return
    for own in lines.values():
        for line in own:
            click.echo(line)
    if missing:
        click.echo(f"drawn now: the host keys of {', '.join(missing)}", err=True)


@click.command("kubeconfig", short_help="Write a kubeconfig for the cluster's admin.")
@of_vault
@click.option("--days", type=click.IntRange(1, _MOST_DAYS), help=f"How long it lasts; else {ADMIN_LIFETIME.days} days.")
@click.option("--hours", type=click.IntRange(1, _MOST_DAYS * 24), help="The same, in hours.")
@click.option("--server", metavar="URL", default="", help="Where the API is; else at the VIP or the first server.")
@click.option("--output", metavar="FILE|-", type=click.Path(path_type=Path, allow_dash=True),
              help="Else beside the inventory: cluster.kubeconfig.")  # fmt: skip
@click.option("--replace", is_flag=True, help="Over a file that is not from here.")
@vault_key_option
@json_option
@click.pass_context
def kubeconfig_command(
    ctx: click.Context,
    folder: Path,
    cluster: Cluster | None,
    days: int | None,
    hours: int | None,
    server: str,
    output: Path | None,
    replace: bool,
    vault_key: Path | None,
    as_json: bool,
) -> None:
    """Write a kubeconfig for the cluster's admin: before the first power-on too,
    since its certificate comes from the vault.

    Kubernetes can't take a certificate back: it is good until it ends, so let it
    end soon. A new one is this command again.

    \b
    Examples:
      imagesmith kubeconfig
      imagesmith kubeconfig --hours 8 --output ~/.kube/rack
    """
    inventory = _needed(cluster)
    if not has_k3s(inventory):
        raise UsageError("the inventory has no k3s, so there is no cluster", where=inventory.path, hint="write k3s: {}")
    to_stdout = str(output) == "-"
    if to_stdout and (as_json or sys.stdout.isatty()):
        raise UsageError("a kubeconfig is a secret, and is not shown here", hint="name a FILE, or send it on by a pipe")
    url = checked_api(server) if server else api_of(inventory)
    listener = listener_for(ctx)
    _draw(folder, inventory, listener)
    opened = Opening(passphrase_asker(as_json), vault_key, listener).vault(folder)
    made = admin_kubeconfig(inventory, opened, url, _lifetime(days, hours))
    if to_stdout:
        sys.stdout.buffer.write(made.content.reveal())
        return
    path = output or Path(inventory.path).with_suffix(".kubeconfig")
    write_kubeconfig(made, inventory, path, replace=replace)
    if as_json:
        answer({"kubeconfig": str(path), "server": made.server, "until": made.until})
        return
    click.echo(f"{path} lets its holder do everything at {made.server}, until {made.until}")
    click.echo(f"next: kubectl --kubeconfig {shlex.quote(str(path))} get nodes")


def _lifetime(days: int | None, hours: int | None) -> timedelta:
    if days and hours:
        raise UsageError("--days and --hours contradict each other", hint="give one of them")
    return timedelta(days=days) if days else timedelta(hours=hours) if hours else ADMIN_LIFETIME


def _draw(folder: Path, inventory: Cluster, listener: Listener) -> None:
    draw_missing(folder, names_for([node.name for node in inventory.nodes], inventory), listener)


def _needed(cluster: Cluster | None) -> Cluster:
    if cluster is None:
        raise UsageError("there is no inventory, so there are no nodes", hint="imagesmith init writes one")
    return cluster
