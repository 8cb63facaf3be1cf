"""The commands about nodes that run: `status`, `replace`, `add`, `upgrade`.

They ask and print; what they do is in `workflow.status`, `workflow.replace` and `workflow.upgrade`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from imagesmith.cli.options import (
    Command,
    answer,
    cluster_option,
    complete_target,
    identity_option,
    json_option,
    vault_option,
    yes_option,
)
from imagesmith.cli.progress import listener_for
from imagesmith.errors import NodeUnreachable, UsageError
from imagesmith.model import Architecture
from imagesmith.planning.health import State
from imagesmith.planning.receipt import columns
from imagesmith.planning.ups_health import ups_word
from imagesmith.planning.vpn_health import vpn_word
from imagesmith.sources.cache import Cache
from imagesmith.workflow.bases import Bases
from imagesmith.workflow.doing import Agree
from imagesmith.workflow.nodes import Rack, rack
from imagesmith.workflow.planned import LOCK
from imagesmith.workflow.program import release_file
from imagesmith.workflow.replace import add, replace
from imagesmith.workflow.status import Status, status
from imagesmith.workflow.supplies import Kind
from imagesmith.workflow.upgrade import Given, Release, upgrade_nodes


def of_rack(command: Command) -> Command:
    """The options that say which nodes, and how they are reached. The command gets them as one `of: Rack`."""

    @functools.wraps(command)
    def found(cluster: Path | None, vault: Path | None, identity: Path | None, **others: Any) -> Any:
        return command(of=rack(cluster, vault, identity), **others)

    wrapped: Command = cluster_option(vault_option(identity_option(found)))
    return wrapped


def agreement(yes: bool, as_json: bool) -> Agree:
    """Shows what will be done and asks; with --yes it is shown alone. Answers from a pipe are not taken."""

    def agree(lines: Sequence[str]) -> bool:
        for line in lines:
            click.echo(line, err=True)
        if yes:
            return True
        if as_json or not sys.stdin or not sys.stdin.isatty():
            raise UsageError("there is no terminal to ask at, nothing was changed", hint="--yes does what was shown")
        return click.confirm("Do this?", default=False, err=True)

    return agree


@click.command("status", short_help="Tell how the nodes are, over SSH.")
@click.argument("names", metavar="[NODE]...", nargs=-1, shell_complete=complete_target)
@of_rack
@json_option
def status_command(names: tuple[str, ...], of: Rack, as_json: bool) -> None:
    """Tell how the nodes are: gates, k3s, certificates, clocks. All of them are
    asked over SSH, side by side. Exit code 13 when something is wrong.

    \b
    Examples:
      imagesmith status
      imagesmith status node-1 --json
    """
    found = status(of, names)
    now = datetime.now(UTC)
    if as_json:
        answer(_plain(found))
    else:
        rows: list[tuple[str, ...]] = [
            ("NODE", "DUTY", "ANSWERS", "WAITS FOR", "K3S", "VERSION", "READY", "CERTIFICATES", "CLOCK")
        ]
        rows += [_row(state, now) for state in found.states]
        # Only where a node has it.
        for head, word in (("VPN", vpn_word), ("UPS", ups_word)):
            words = [head, *(word(state.facts.told) if state.facts else "" for state in found.states)]
            if any(words[1:]):
                rows = [(*row, one or "-") for row, one in zip(rows, words, strict=True)]
        for line in columns(rows):
            click.echo(line.rstrip())
    if found.wrong:
        many = "1 thing is wrong" if len(found.wrong) == 1 else f"{len(found.wrong)} things are wrong"
        raise NodeUnreachable("\n".join([f"{many}:", *(f"  {line}" for line in found.wrong)]), hint="see docs/life.md")


@click.command("replace", short_help="Make room for a node's new card.")
@click.argument("node", metavar="NODE", shell_complete=complete_target)
@of_rack
@click.option("--empty", is_flag=True, help="The cluster is lost: found it anew, with nothing in it.")
@click.option("--no-drain", is_flag=True, help="Don't move the node's pods elsewhere first.")
@yes_option
@json_option
@click.pass_context
def replace_command(
    ctx: click.Context, node: str, of: Rack, empty: bool, no_drain: bool, yes: bool, as_json: bool
) -> None:
    """Make room in the cluster for a node's new card: move its pods, take it out
    of etcd, forget it. Its image is built with the same identity, and joins.

    Nothing of this is needed for a node that is reflashed while it is off and
    is no server.

    \b
    Example:
      imagesmith replace node-2
    """
    left = replace(of, node, agreement(yes, as_json), listener_for(ctx), empty=empty, drain=not no_drain)
    tell_left({"replaced": node}, left, as_json)


@click.command("add", short_help="Ready the vault for a node that is new.")
@click.argument("node", metavar="NODE", shell_complete=complete_target)
@of_rack
@json_option
@click.pass_context
def add_command(ctx: click.Context, node: str, of: Rack, as_json: bool) -> None:
    """Ready the vault for a node that was written into the inventory, and say
    what is next. The nodes that run are not changed.

    \b
    Example:
      imagesmith add node-6
    """
    drawn, left = add(of, node, listener_for(ctx))
    tell_left({"added": node, "drawn": list(drawn)}, left, as_json)


@click.command("upgrade", short_help="Bring another version of k3s to the nodes.")
@click.option("--k3s", "version", metavar="VERSION", required=True, help="As v1.36.3+k3s1.")
@click.option("--file", "files", metavar="[ARCH=]FILE", multiple=True, help="k3s of that version; else it is fetched.")
@click.option("--images", metavar="[ARCH=]FILE", multiple=True, help="With airgap: its container images; else fetched.")
@click.option("--without", metavar="NODE", multiple=True, help="Leave this agent as it is; can be repeated.")
@of_rack
@yes_option
@json_option
@click.pass_context
def upgrade_command(
    ctx: click.Context,
    version: str,
    files: tuple[str, ...],
    images: tuple[str, ...],
    without: tuple[str, ...],
    of: Rack,
    yes: bool,
    as_json: bool,
) -> None:
    """Bring another version of k3s to the nodes: a snapshot first, then the
    servers one by one, then the agents. It stops at a node that does not come
    back, and goes on there when it is run again.

    \b
    Example:
      imagesmith upgrade --k3s v1.37.1+k3s1
    """
    listener = listener_for(ctx)
    lock_path = Path(of.cluster.path).parent / LOCK
    with Bases(Cache.default(), insecure=False, listener=listener) as bases:

        def obtain(kind: Kind, architecture: Architecture) -> Path:
            return release_file(kind, of.cluster.path, version, architecture, lock_path, bases, listener)

        given = Release([_given(one) for one in files], [_given(one) for one in images], obtain)
        done = upgrade_nodes(of, version, given, agreement(yes, as_json), listener, without=without)
    if as_json:
        answer({"version": version, "changed": list(done.changed), "before": list(done.before)})
        return
    click.echo(f"{len(done.changed)} nodes got {version}" + (f", {len(done.before)} had it" if done.before else ""))
    click.echo(f"images of now on: set k3s: version: {version} in {of.cluster.path}")


def _given(text: str) -> Given:
    """`amd64=k3s`, or a file whose header or name says what it is for."""
    kind, equals, path = text.partition("=")
    return (kind, Path(path)) if equals and kind in ("amd64", "arm64") else ("", Path(text))


def tell_left(result: dict[str, object], left: Sequence[str], as_json: bool) -> None:
    """What was done, and what a person does next."""
    if as_json:
        answer({**result, "left": list(left)})
        return
    click.echo("what is left to you:")
    for number, line in enumerate(left, 1):
        click.echo(f"  {number}. {line}")


def _row(state: State, now: datetime) -> tuple[str, ...]:
    duty = state.duty or "-"
    ready = {True: "yes", False: "no"}[state.kube.ready] if state.kube else "-"
    if state.facts is None:
        return (state.node, duty, "no", "-", "-", state.kube.version if state.kube else "-", ready, "-", "-")
    facts = state.facts
    end = facts.first_end
    return (
        state.node,
        duty,
        "yes",
        facts.gate or "nothing",
        facts.get("unit.ActiveState") or "-",
        facts.get("k3s_version") or "-",
        ready,
        f"{(end - now).days} days" if end else "-",
        {"yes": "in step", "no": "not in step"}.get(facts.get("clock_synchronized"), "-"),
    )


def _plain(found: Status) -> dict[str, object]:
    return {
        "nodes": [_node(state) for state in found.states],
        "asked": found.server,
        "wrong": list(found.wrong),
    }


def _node(state: State) -> dict[str, object]:
    facts = state.facts
    ends = facts.certificates if facts else {}
    return {
        "node": state.node,
        "duty": state.duty,
        "answers": facts is not None,
        "silence": state.silence,
        "facts": dict(facts.told) if facts else {},
        "certificates": {name: f"{end:%Y-%m-%dT%H:%M:%SZ}" for name, end in ends.items()},
        "unreadable_certificates": list(facts.unreadable) if facts else [],
        "cluster": asdict(state.kube) if state.kube else None,
    }
