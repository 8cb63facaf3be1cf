"""The commands about backups of nodes: `backup status|run|list|authorized-keys|receiver`, and `restore`.

They ask and print; what they do is in `workflow.backup`.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from imagesmith.cli.cluster import agreement, of_rack, tell_left
from imagesmith.cli.options import answer, complete_target, json_option, vault_key_option, yes_option
from imagesmith.cli.passphrase import passphrase_asker
from imagesmith.cli.progress import listener_for
from imagesmith.errors import NodeUnreachable
from imagesmith.planning.backing import judged, last_good
from imagesmith.planning.receipt import columns
from imagesmith.units import show_size
from imagesmith.workflow import backup as work
from imagesmith.workflow.nodes import Rack
from imagesmith.workflow.vault import Opening

_ON_NAS = "imagesmith-receive"


@click.group("backup", short_help="Back nodes up, and tell how their backups are.")
def backup_group() -> None:
    """Backups of nodes that run: each makes its own by night, as `backup:` of the
    inventory says. See docs/backup.md.

    \b
    Examples:
      imagesmith backup authorized-keys
      imagesmith backup status
      imagesmith backup run node-1
      imagesmith restore node-1
    """


@backup_group.command("status", short_help="Tell each node's last good backup.")
@click.argument("names", metavar="[NODE]...", nargs=-1, shell_complete=complete_target)
@of_rack
@json_option
def status_command(names: tuple[str, ...], of: Rack, as_json: bool) -> None:
    """Tell each node's last good backup: its age, its size, its warnings, where
    it is. Exit code 13 when something is wrong.

    \b
    Example:
      imagesmith backup status
    """
    found, now = work.told(of, names), datetime.now(UTC)
    if as_json:
        answer({"nodes": [_plain(one) for one in found]})
    else:
        rows = [("NODE", "LAST GOOD", "AGE", "SIZE", "WARNINGS", "STATE", "WHERE")]
        for line in columns([*rows, *(_row(one, now) for one in found)]):
            click.echo(line.rstrip())
    wrong = [f"{one.node}: {line}" for one in found for line in _wrong(one, now)]
    if wrong:
        raise NodeUnreachable("\n".join(["backups need a look:", *(f"  {line}" for line in wrong)]),
                              hint="see docs/backup.md; on a node: journalctl -u imagesmith-backup")  # fmt: skip


@backup_group.command("run", short_help="Back nodes up now.")
@click.argument("names", metavar="NODE...", nargs=-1, required=True, shell_complete=complete_target)
@of_rack
@json_option
@click.pass_context
def run_command(ctx: click.Context, names: tuple[str, ...], of: Rack, as_json: bool) -> None:
    """Back nodes up now, one after the other. A node whose card is fresh and
    that waits for a word begins its backups anew by this.

    \b
    Example:
      imagesmith backup run node-1
    """
    work.run(of, names, listener_for(ctx))
    if as_json:
        answer({"backed_up": list(names)})
    else:
        click.echo(f"backed up: {', '.join(names)}")


@backup_group.command("list", short_help="List a node's backups.")
@click.argument("name", metavar="NODE", shell_complete=complete_target)
@of_rack
@json_option
def list_command(name: str, of: Rack, as_json: bool) -> None:
    """List a node's backups, the oldest first, as the node sees them.

    \b
    Example:
      imagesmith backup list node-1
    """
    kept = work.listed(of, name)
    if as_json:
        answer({"node": name, "backups": [
            {"name": one.name, "when": f"{one.when:%Y-%m-%dT%H:%M:%SZ}", "bytes": one.size} for one in kept
        ]})  # fmt: skip
        return
    for line in columns([(f"{one.when:%Y-%m-%d %H:%M}", show_size(one.size), one.name) for one in kept]):
        click.echo(line.rstrip())


@backup_group.command("authorized-keys", short_help="Print the lines for the NAS.")
@click.option("--program", metavar="PATH", default="", help=f"Where {_ON_NAS} lies there; else in `folder` itself.")
@of_rack
@json_option
def authorized_keys_command(program: str, of: Rack, as_json: bool) -> None:
    """Print the lines that ~/.ssh/authorized_keys has on the NAS: with them each
    node may keep its own backups there, and do nothing else.

    \b
    Example:
      imagesmith backup authorized-keys
    """
    lines = work.authorized_keys(of, program)
    if as_json:
        answer({"lines": list(lines)})
        return
    for line in lines:
        click.echo(line)


@backup_group.command("receiver", short_help="Print the program that the NAS runs.")
def receiver_command() -> None:
    """Print the program that takes backups in, a shell script. The NAS has it in
    the folder of the backups, as imagesmith-receive.

    \b
    Example:
      imagesmith backup receiver
    """
    sys.stdout.buffer.write(work.receiver())


@click.command("restore", short_help="Lay a backup back onto a node's fresh card.")
@click.argument("node", metavar="NODE", shell_complete=complete_target)
@click.option(
    "--from", "date", metavar="DATE|NAME", default="", help="The newest of that day or before; else the newest."
)
@click.option("--snapshot", is_flag=True, help="The whole cluster begins anew from this server's snapshot of etcd.")
@of_rack
@vault_key_option
@yes_option
@json_option
@click.pass_context
def restore_command(
    ctx: click.Context, node: str, date: str, snapshot: bool, of: Rack, vault_key: Path | None, yes: bool, as_json: bool
) -> None:
    """Lay a backup back onto a node's fresh card, once that has booted: homes,
    volumes, what the inventory names, and the state of k3s where it is the only
    server. All of it is read through before anything is changed.

    \b
    Examples:
      imagesmith restore node-1
      imagesmith restore node-1 --from 2026-11-23
    """
    listener = listener_for(ctx)
    opening = Opening(passphrase_asker(as_json), vault_key, listener)
    left = work.restore(of, node, date, opening, agreement(yes, as_json), listener, snapshot=snapshot)
    if left:
        tell_left({"restored": node}, left, as_json)
    elif as_json:
        answer({"restored": node, "left": []})
    else:
        click.echo(f"{node} has its state of then; /etc as it was: /var/lib/imagesmith/backup/restored on it")


def _wrong(one: work.Told, now: datetime) -> list[str]:
    if one.facts is None:
        return [one.silence]
    if not one.facts.get("backup.asked_since"):
        return ["its image was built before `backup:` was in the inventory: build and flash it anew"]
    return list(judged(one.facts.told, now))


def _row(one: work.Told, now: datetime) -> tuple[str, ...]:
    if one.facts is None:
        return (one.node, "-", "-", "-", "-", "no answer", "-")
    get, good = one.facts.get, last_good(one.facts.told)
    size = get("backup.last_good_bytes")
    return (
        one.node,
        f"{good:%Y-%m-%d %H:%M}" if good else "never",
        _age(now - good) if good else "-",
        show_size(int(size)) if size.isdecimal() else "-",
        get("backup.warnings") or "-",
        get("backup.state") or "-",
        get("backup.where") or "-",
    )


def _age(since: timedelta) -> str:
    hours = int(since.total_seconds() // 3600)
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"


def _plain(one: work.Told) -> dict[str, object]:
    told = one.facts.told if one.facts else {}
    return {
        "node": one.node,
        "answers": one.facts is not None,
        "silence": one.silence,
        "backup": {key.removeprefix("backup."): value for key, value in told.items() if key.startswith("backup.")},
    }
