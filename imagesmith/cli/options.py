"""What commands share: which TARGET, of which inventory, with what changed; --json, its answer; SOURCE_DATE_EPOCH."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from imagesmith.errors import ImagesmithError, UsageError
from imagesmith.workflow.sealed import beside
from imagesmith.workflow.target import DEFAULT_INVENTORY, TargetChoice, catalogue_here, load_inventory

Command = Callable[..., Any]
_LATEST_EPOCH = 2**32 - 1

built_option = click.option(
    "--output", "output_dir", metavar="DIR", default="out", show_default=True,
    type=click.Path(path_type=Path), help="Where images were built.",
)  # fmt: skip
cluster_option = click.option(
    "--cluster", metavar="FILE", type=click.Path(path_type=Path),
    help="The inventory; else ./cluster.yaml when there is one.",
)  # fmt: skip
vault_option = click.option(
    "--vault", metavar="DIR", type=click.Path(path_type=Path),
    help="The vault; else the one beside the inventory, when there is one.",
)  # fmt: skip
vault_key_option = click.option(
    "--vault-key", metavar="FILE", type=click.Path(path_type=Path), help="The age key that opens the vault."
)
identity_option = click.option(
    "--identity", metavar="FILE", type=click.Path(path_type=Path),
    help="The SSH key to log in to nodes with; else as ssh finds it.",
)  # fmt: skip
yes_option = click.option("--yes", is_flag=True, help="Don't ask.")
json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for scripts.")


def complete_target(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For the shell's TAB: nodes of ./cluster.yaml, then profiles."""
    try:
        cluster = load_inventory(None)
        found = [(node.name, f"node, {node.profile}") for node in cluster.nodes] if cluster else []
        found += [(profile.name, profile.title) for profile in catalogue_here().profiles.values()]
    except ImagesmithError:
        return []  # TAB is no place to complain
    return [CompletionItem(name, help=about) for name, about in found if name.startswith(incomplete)]


def target_argument(command: Command) -> Command:
    """The argument TARGET: a node, a profile's name or a profile's file."""
    return click.argument("target", metavar="TARGET", shell_complete=complete_target)(command)


def target_options(command: Command) -> Command:
    """The options beside TARGET. The command gets them as one `choice: TargetChoice`, instead of one by one.

    A command with an argument named `target` finds it in `choice.target`; one without fills it in by `choice.named`.
    """

    @functools.wraps(command)
    def gathered(
        cluster: Path | None,
        no_cluster: bool,
        base: str,
        hostname: str,
        ssh_key: tuple[Path, ...],
        overrides: dict[str, str],
        target: str | None = None,
        **others: Any,
    ) -> Any:
        choice = TargetChoice(target or "", cluster, no_cluster, base, hostname, ssh_key, overrides)
        return command(choice=choice, **others)

    wrapped: Command = gathered
    for option in reversed(_TARGET_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def of_vault(command: Command) -> Command:
    """The options that say which vault; the command gets `folder` and `cluster`, its inventory or None."""

    @functools.wraps(command)
    def found(cluster: Path | None, vault: Path | None, **others: Any) -> Any:
        inventory = load_inventory(cluster)
        if vault is None and inventory is None:
            raise UsageError(
                "there is no inventory here, and so no vault beside it",
                hint="imagesmith init writes one; one elsewhere: --cluster FILE, or its vault: --vault DIR",
            )
        folder = vault or beside(cluster or DEFAULT_INVENTORY)
        return command(folder=folder, cluster=inventory, **others)

    wrapped: Command = cluster_option(vault_option(found))
    return wrapped


def answer(result: object) -> None:
    """The last line of a command's JSON. ASCII, so that a path that is no UTF-8 can be told, too."""
    click.echo(json.dumps({"result": result}))


def source_date_epoch() -> int:
    """The time that written files shall bear, from the environment; 0 = the base's own. Raises UsageError."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "0")
    if not text.isascii() or not text.isdecimal():
        raise UsageError(f"SOURCE_DATE_EPOCH is {text[:40]!r}, not a number of seconds", hint="unset it")
    if int(text) > _LATEST_EPOCH:
        raise UsageError(f"SOURCE_DATE_EPOCH is {text[:40]}, later than FAT can tell (2107)", hint="unset it")
    return int(text)


def _pairs(context: click.Context, parameter: click.Parameter, written: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for pair in written:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{pair!r} is not KEY=VALUE; write it like zram_percent=25")
        if key in pairs:
            raise click.BadParameter(f"{key!r} is set twice")
        pairs[key] = value
    return pairs


_FILE = click.Path(path_type=Path)
_TARGET_OPTIONS = (
    cluster_option,
    click.option("--no-cluster", is_flag=True, help="Ignore any inventory: build standalone."),
    click.option("--base", metavar="NAME", default="", help="Which of the board's base images."),
    click.option("--hostname", metavar="NAME", default="", help="The host name of a standalone image."),
    click.option(
        "--ssh-key", metavar="FILE", type=_FILE, multiple=True, help="A .pub file that may log in; can be repeated."
    ),
    click.option(
        "--set", "overrides", metavar="KEY=VALUE", multiple=True, callback=_pairs,
        help="Change one setting, as zram_percent=25; can be repeated.",
    ),
)  # fmt: skip
