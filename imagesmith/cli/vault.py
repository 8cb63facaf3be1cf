"""The commands about an inventory's vault: `vault create|list|rotate|export|import|rekey|backup|founded`.

They ask and print; what they do is in `workflow.vault` and `workflow.foreign`. `rotate` has a module of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from imagesmith.cli.options import answer, json_option, of_vault, vault_key_option
from imagesmith.cli.passphrase import passphrase_asker
from imagesmith.cli.progress import listener_for
from imagesmith.cli.rotate import rotate_command
from imagesmith.errors import UsageError
from imagesmith.model import Cluster
from imagesmith.secret import Secret
from imagesmith.vault.files import open_to_others, write_new
from imagesmith.vault.founding import founding
from imagesmith.vault.index import LockKind, read_index
from imagesmith.vault.names import CA, UPPER
from imagesmith.vault.store import now, unnamed
from imagesmith.workflow import vault as work
from imagesmith.workflow.foreign import lay_out, take, take_authorities

_FILE = click.Path(path_type=Path)
_MOST_BYTES = 64 * 1024
_key_option = click.option(
    "--key", metavar="FILE", type=_FILE, help="An age key instead of a passphrase; made when it is not there."
)
_plain_option = click.option("--plain", is_flag=True, help="No key at all: whoever reads the files has the secrets.")


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


vault_group.add_command(rotate_command)


@vault_group.command("create", short_help="Make the vault beside the inventory.")
@of_vault
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
    drawn = work.create(folder, opening, _kind(key, plain), work.names_for(nodes, cluster))
    if as_json:
        answer({"vault": str(folder), "drawn": list(drawn)})
        return
    click.echo(f"{folder} is made, with {len(drawn)} secrets for {len(nodes)} nodes")
    if plain:
        click.echo("It is PLAIN: whoever can read these files has the cluster.", err=True)
    click.echo("Without it the nodes' identities are lost. Now: imagesmith vault backup DIR, on another disk")


@vault_group.command("list", short_help="List what is in the vault, without opening it.")
@of_vault
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
    for line in _founding(index.facts):
        click.echo(line)
    for path in open_to_others(folder):
        click.echo(f"others can get at {path}: chmod go= {path}", err=True)
    for stray in strays:
        click.echo(f"{stray} is no part of the vault: left by a command that was killed, or somebody else's", err=True)


@vault_group.command("export", short_help="Take one secret out of the vault.")
@click.argument("name", metavar="NAME")
@click.argument("file", metavar="[FILE]", required=False, type=_FILE)
@of_vault
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

    `cluster/ca` is all of a cluster's authorities, as files in a new folder.

    \b
    Examples:
      imagesmith vault export nodes/node-1/host-key.ed25519 ssh_host_ed25519_key
      imagesmith vault export cluster/ca staged/tls
    """
    if name == CA:
        _export_authorities(
            folder, file, work.Opening(passphrase_asker(as_json), vault_key, listener_for(ctx)), as_json
        )
        return
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
@of_vault
@click.option("--replace", "replacing", is_flag=True, help="In place of what is there, which is kept as NAME.old.")
@json_option
def import_command(
    name: str, file: Path, folder: Path, cluster: Cluster | None, replacing: bool, as_json: bool
) -> None:
    """Put a secret of yours into the vault, from FILE or from standard input (-).

    A node's own host key becomes the one that its next image brings. With
    `cluster/ca` FILE is a folder: the authorities of a cluster that is there.

    \b
    Examples:
      imagesmith vault import nodes/node-1/host-key.ed25519 ssh_host_ed25519_key
      imagesmith vault import cluster/ca copy-of-server/tls
    """
    if name == CA:
        _import_authorities(folder, file, replacing, as_json)
        return
    from_input = str(file) == "-"
    try:
        data = sys.stdin.buffer.read(_MOST_BYTES + 1) if from_input else file.read_bytes()
    except OSError as error:
        raise UsageError(f"it can't be read: {error.strerror}", where=str(file)) from error
    if len(data) > _MOST_BYTES:
        raise UsageError("it is far too large for a secret", where=str(file))
    take(folder, name, Secret(data), "standard input" if from_input else str(file), replace=replacing)
    if as_json:
        answer({"imported": name})
        return
    click.echo(f"{name} is in {folder}" + ("" if from_input else f"; {file} is still there: remove it"))


@vault_group.command("rekey", short_help="Lock the vault by another passphrase or key.")
@of_vault
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
@of_vault
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


@vault_group.command("founded", short_help="Say that the cluster exists, or no longer does.")
@of_vault
@click.option("--forget", is_flag=True, help="It is no more: the first server's next image founds it anew.")
@json_option
def founded_command(folder: Path, cluster: Cluster | None, forget: bool, as_json: bool) -> None:
    """Say that the cluster exists, so that no image founds it a second time; or,
    with --forget, that it does not, and that no image is about that founds it.

    Commands that meet the running cluster say it themselves.

    \b
    Examples:
      imagesmith vault founded
      imagesmith vault founded --forget
    """
    if forget:
        work.forget_founded(folder)
    else:
        work.record_founded(folder, now())
    facts = read_index(folder).facts
    if as_json:
        known = founding(facts)
        answer({"founded": known.founded, "founder": known.founder})
        return
    for line in _founding(facts) or ["the cluster is not there: its first server's next image founds it"]:
        click.echo(line)


def _founding(facts: Mapping[str, str]) -> list[str]:
    """What the vault knows of who founds the cluster, and since when it is there."""
    founded, founder = founding(facts).founded, founding(facts).founder
    told = [f"the cluster was founded by {founded}: servers that are built from now on join it"] if founded else []
    if founder:
        what = "was built to found it" if founded else "founds the cluster, whoever is the inventory's first server"
        told.append(f"{founder} {what}")
    return told


def _kind(key: Path | None, plain: bool) -> LockKind:
    if key and plain:
        raise UsageError("--key and --plain contradict each other", hint="give one of them")
    return "plain" if plain else "key-file" if key else "passphrase"


def _export_authorities(folder: Path, tls: Path | None, opening: work.Opening, as_json: bool) -> None:
    if tls is None:
        raise UsageError(
            "authorities are several files", hint=f"name a new FOLDER: imagesmith vault export {CA} FOLDER"
        )
    files = lay_out(opening.vault(folder), tls)
    if as_json:
        answer({"exported": CA, "folder": str(tls), "files": list(files)})
        return
    click.echo(f"{tls} holds {len(files)} files, as k3s has them in its folder tls, and only you can read them.")
    click.echo("Who has them is the cluster: remove them when they are where they belong.")


def _import_authorities(folder: Path, tls: Path, replacing: bool, as_json: bool) -> None:
    names = take_authorities(folder, tls, replace=replacing)
    if as_json:
        answer({"imported": list(names)})
        return
    click.echo(f"{len(names)} keys are in {folder}; {tls} is still there: remove it")
    if UPPER[0] not in names:
        click.echo("The root's key is not among them: these authorities can't be renewed from here.")
    click.echo("If their cluster runs already, say so: imagesmith vault founded")
