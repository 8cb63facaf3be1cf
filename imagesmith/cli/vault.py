"""The commands about an inventory's vault: `vault create|list|rotate|export|import|rekey|backup`, `known-hosts`.

They ask and print; what they do is in `workflow.vault` and `workflow.sealed`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from imagesmith.cli.options import answer, json_option, vault_key_option, vault_option
from imagesmith.cli.passphrase import passphrase_asker
from imagesmith.cli.progress import listener_for
from imagesmith.errors import UsageError
from imagesmith.model import Cluster
from imagesmith.secret import Secret
from imagesmith.vault.files import open_to_others, write_new
from imagesmith.vault.index import LockKind, read_index
from imagesmith.vault.store import unnamed
from imagesmith.workflow import vault as work
from imagesmith.workflow.sealed import beside, has_k3s, known_hosts, not_drawn
from imagesmith.workflow.target import DEFAULT_INVENTORY, load_inventory

_FILE = click.Path(path_type=Path)
_MOST_BYTES = 64 * 1024
_key_option = click.option(
    "--key", metavar="FILE", type=_FILE, help="An age key instead of a passphrase; made when it is not there."
)
_plain_option = click.option("--plain", is_flag=True, help="No key at all: whoever reads the files has the secrets.")


def _of_vault(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which vault; the command gets `folder` and `cluster`, its inventory or None."""

    @functools.wraps(command)
    def found(cluster: Path | None, vault: Path | None, **others: Any) -> Any:
        inventory = load_inventory(cluster)
        if vault is None and inventory is None:
            raise UsageError(
                "there is no inventory here, and so no vault beside it",
                hint="give one: --cluster FILE, or a vault of its own: --vault DIR",
            )
        folder = vault or beside(cluster or DEFAULT_INVENTORY)
        return command(folder=folder, cluster=inventory, **others)

    cluster_option = click.option(
        "--cluster", metavar="FILE", type=_FILE, help="The inventory; else ./cluster.yaml when there is one."
    )
    wrapped: Callable[..., Any] = cluster_option(vault_option(found))
    return wrapped


@click.group("vault", short_help="Keep keys and passwords, drawn once and sealed.")
def vault_group() -> None:
    """Keys and passwords of an inventory's nodes, drawn once and sealed by age.

    cluster.yaml has its vault in cluster.vault. See docs/vault.md.

    \b
    Examples:
      imagesmith vault create
      imagesmith known-hosts
      imagesmith vault backup /media/stick
    """


@vault_group.command("create", short_help="Make the vault beside the inventory.")
@_of_vault
@_key_option
@_plain_option
@json_option
@click.pass_context
def create_command(
    ctx: click.Context, folder: Path, cluster: Cluster | None, key: Path | None, plain: bool, as_json: bool
) -> None:
    """Make the vault beside the inventory, and draw what its nodes need.

    It is opened by a passphrase, unless you say otherwise.

    \b
    Examples:
      imagesmith vault create
      imagesmith vault create --key /media/stick/rack.key
    """
    opening = work.Opening(passphrase_asker(as_json), key, listener_for(ctx))
    nodes = [node.name for node in cluster.nodes] if cluster else []
    drawn = work.create(folder, opening, _kind(key, plain), work.names_for(nodes, cluster=has_k3s(cluster)))
    if as_json:
        answer({"vault": str(folder), "drawn": list(drawn)})
        return
    click.echo(f"{folder} is made, with {len(drawn)} secrets for {len(nodes)} nodes")
    if plain:
        click.echo("It is PLAIN: whoever can read these files has the cluster.", err=True)
    click.echo("Without it the nodes' identities are lost. Now: imagesmith vault backup DIR, on another disk")


@vault_group.command("list", short_help="List what is in the vault, without opening it.")
@_of_vault
@json_option
def list_command(folder: Path, cluster: Cluster | None, as_json: bool) -> None:
    """List what is in the vault, without opening it.

    \b
    Example:
      imagesmith vault list
    """
    index = read_index(folder)
    strays = [str(path.relative_to(folder)) for path in unnamed(folder, index)]
    if as_json:
        secrets = [
            {"name": name, "kind": one.kind, "made": one.made, "public": one.public, "fingerprint": one.fingerprint}
            for name, one in sorted(index.secrets.items())
        ]
        answer({"vault": str(folder), "lock": index.lock, "backed_up": index.backed_up, "facts": dict(index.facts),
                "secrets": secrets, "unnamed": strays})  # fmt: skip
        return
    width = max((len(name) for name in index.secrets), default=0)
    for name, one in sorted(index.secrets.items()):
        click.echo(f"{name:<{width}}  {one.kind:<12}  {one.made}  {one.fingerprint}".rstrip())
    how = {"passphrase": "opened by a passphrase", "key-file": "opened by a key file", "plain": "PLAIN, not sealed"}
    backed_up = f"backed up {index.backed_up}" if index.backed_up else "NO BACKUP yet"
    click.echo(f"{len(index.secrets)} in {folder}, {how[index.lock]}, {backed_up}")
    for path in open_to_others(folder):
        click.echo(f"others can get at {path}: chmod go= {path}", err=True)
    for stray in strays:
        click.echo(f"{stray} is no part of the vault: left by a command that was killed, or somebody else's", err=True)


@vault_group.command("rotate", short_help="Draw one secret anew.")
@click.argument("name", metavar="NAME")
@_of_vault
@json_option
def rotate_command(name: str, folder: Path, cluster: Cluster | None, as_json: bool) -> None:
    """Draw one secret anew, in the vault alone: no running node is changed.

    What must follow is said. The one before is kept under NAME.old.

    \b
    Example:
      imagesmith vault rotate nodes/node-1/host-key.ed25519
    """
    work.rotate(folder, name)
    if as_json:
        answer({"rotated": name, "old": f"{name}.old", "follows": work.what_follows(name)})
        return
    click.echo(f"{name} is drawn anew; the one before is {name}.old")
    click.echo(f"what must follow: {work.what_follows(name)}")


@vault_group.command("export", short_help="Take one secret out of the vault.")
@click.argument("name", metavar="NAME")
@click.argument("file", metavar="[FILE]", required=False, type=_FILE)
@_of_vault
@vault_key_option
@json_option
@click.pass_context
def export_command(
    ctx: click.Context,
    name: str,
    file: Path | None,
    folder: Path,
    cluster: Cluster | None,
    vault_key: Path | None,
    as_json: bool,
) -> None:
    """Take one secret out of the vault: into a new FILE that only you can read,
    or to standard output where that is no terminal.

    \b
    Example:
      imagesmith vault export nodes/node-1/host-key.ed25519 ssh_host_ed25519_key
    """
    if file is None and (as_json or sys.stdout.isatty()):
        where = "in JSON" if as_json else "on a terminal"
        raise UsageError(f"a secret is not shown {where}", hint="name a FILE, or send it on by a pipe")
    opening = work.Opening(passphrase_asker(as_json), vault_key, listener_for(ctx))
    content = opening(folder)(name).reveal()
    if file is not None:
        write_new(file, content)
        if as_json:
            answer({"exported": name, "file": str(file)})
        else:
            click.echo(f"{file} holds it, and only you can read it")
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(content)


@vault_group.command("import", short_help="Put a secret of yours into the vault.")
@click.argument("name", metavar="NAME")
@click.argument("file", metavar="FILE|-", type=click.Path(path_type=Path, allow_dash=True))
@_of_vault
@click.option("--replace", "replacing", is_flag=True, help="In place of what is there, which is kept as NAME.old.")
@json_option
def import_command(
    name: str, file: Path, folder: Path, cluster: Cluster | None, replacing: bool, as_json: bool
) -> None:
    """Put a secret of yours into the vault, from FILE or from standard input (-).

    A node's own host key becomes the one that its next image brings.

    \b
    Example:
      imagesmith vault import nodes/node-1/host-key.ed25519 ssh_host_ed25519_key
    """
    from_input = str(file) == "-"
    try:
        data = sys.stdin.buffer.read(_MOST_BYTES + 1) if from_input else file.read_bytes()
    except OSError as error:
        raise UsageError(f"it can't be read: {error.strerror}", where=str(file)) from error
    if len(data) > _MOST_BYTES:
        raise UsageError("it is far too large for a secret", where=str(file))
    work.take(folder, name, Secret(data), "standard input" if from_input else str(file), replace=replacing)
    if as_json:
        answer({"imported": name})
        return
    click.echo(f"{name} is in {folder}" + ("" if from_input else f"; {file} is still there: remove it"))


@vault_group.command("rekey", short_help="Lock the vault by another passphrase or key.")
@_of_vault
@vault_key_option
@_key_option
@_plain_option
@json_option
@click.pass_context
def rekey_command(
    ctx: click.Context,
    folder: Path,
    cluster: Cluster | None,
    vault_key: Path | None,
    key: Path | None,
    plain: bool,
    as_json: bool,
) -> None:
    """Lock the vault by a new passphrase, or by a key file; every secret is sealed
    anew. Copies made before are still opened by what opened them then.

    \b
    Examples:
      imagesmith vault rekey
      imagesmith vault rekey --key /media/stick/rack.key
    """
    opening = work.Opening(passphrase_asker(as_json), vault_key, listener_for(ctx))
    opening.vault(folder)
    new = work.Opening(passphrase_asker(as_json), key, listener_for(ctx), work.NEW_PASSPHRASE_FILE)
    work.lock_anew(folder, opening, work.new_key(new, _kind(key, plain), f"New passphrase for {folder}"))
    if as_json:
        answer({"vault": str(folder), "lock": _kind(key, plain)})
        return
    click.echo(f"{folder} is locked anew. Older copies and backups are still opened by the old way: make a new backup,")
    click.echo("and if the old way became known, rotate what is in the vault too.")


@vault_group.command("backup", short_help="Write all of the vault into one sealed file.")
@click.argument("directory", metavar="[DIR]", default=".", type=_FILE)
@_of_vault
@json_option
@click.pass_context
def backup_command(ctx: click.Context, directory: Path, folder: Path, cluster: Cluster | None, as_json: bool) -> None:
    """Write all of the vault into one sealed file in DIR, with the date in its
    name. age and tar alone bring it back.

    \b
    Example:
      imagesmith vault backup /media/stick
    """
    path = work.backup(folder, directory, work.Opening(passphrase_asker(as_json), None, listener_for(ctx)))
    key = " -i KEYFILE" if read_index(folder).lock == "key-file" else ""
    restore = f"age -d{key} {path.name} | tar -x"
    if as_json:
        answer({"backup": str(path), "restore": restore})
        return
    click.echo(f"{path}\nto bring it back, where the inventory is: {restore}")


@click.command("known-hosts", short_help="Print the nodes' host keys for ~/.ssh/known_hosts.")
@_of_vault
@json_option
def known_hosts_command(folder: Path, cluster: Cluster | None, as_json: bool) -> None:
    """Print the nodes' host keys for ~/.ssh/known_hosts, before any of them was
    switched on. The vault is not opened.

    \b
    Example (>> ~/.ssh/known_hosts adds them there):
      imagesmith known-hosts
    """
    if cluster is None:
        raise UsageError("there is no inventory, so there are no nodes", hint="imagesmith init writes one")
    missing = not_drawn(folder, [node.name for node in cluster.nodes])
    work.draw_missing(folder, work.names_for([node.name for node in cluster.nodes], cluster=has_k3s(cluster)))
    lines = known_hosts(cluster, folder)
    if as_json:
        answer({"nodes": {name: list(own) for name, own in lines.items()}})
        return
    for own in lines.values():
        for line in own:
            click.echo(line)
    if missing:
        click.echo(f"drawn now: the host keys of {', '.join(missing)}", err=True)


def _kind(key: Path | None, plain: bool) -> LockKind:
    if key and plain:
        raise UsageError("--key and --plain contradict each other", hint="give one of them")
    return "plain" if plain else "key-file" if key else "passphrase"
