"""The commands that only tell and prepare: `init`, `profiles` and `plan`. None of them fetches or builds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from imagesmith.cli.options import answer, complete_target, json_option, source_date_epoch, target_options, vault_option
from imagesmith.errors import UsageError
from imagesmith.formats.canonical import to_plain
from imagesmith.model import Profile
from imagesmith.planning.explain import describe, explain, explain_profile
from imagesmith.planning.overview import overview
from imagesmith.planning.proof import proven
from imagesmith.profile.schema import did_you_mean
from imagesmith.sources.cache import Cache
from imagesmith.workflow.cached import base_in_cache
from imagesmith.workflow.pinned import pinned
from imagesmith.workflow.planned import LOCK, lock_file, plan, unresolved
from imagesmith.workflow.sealed import beside, has_k3s, not_drawn, vault_of
from imagesmith.workflow.starter import write_starter
from imagesmith.workflow.target import TargetChoice, all_wanted, catalogue_here, wanted


@click.command("init", short_help="Write a commented starter inventory, cluster.yaml.")
@click.argument("directory", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@click.option("--vault", "with_vault", is_flag=True, help="Make a vault beside it too; asks for a new passphrase.")
@json_option
def init_command(directory: Path, with_vault: bool, as_json: bool) -> None:
    """Write a commented starter inventory, cluster.yaml.

    Your public keys from ~/.ssh are put into it. A file that is there already
    is never overwritten.

    \b
    Example:
      imagesmith init my-cluster
    """
    path, keys = write_starter(directory, Path.home())
    if with_vault:
        # Here, since cryptography takes long to import.
        from imagesmith.cli.passphrase import passphrase_asker
        from imagesmith.workflow.vault import Opening, create

        # Its nodes are examples: what they need is drawn once they have their names.
        create(beside(path), Opening(passphrase_asker(as_json)), "passphrase")
    if as_json:
        answer({"inventory": str(path), "ssh_keys": keys, **({"vault": str(beside(path))} if with_vault else {})})
        return
    then = "" if with_vault else "imagesmith vault create, and "
    click.echo(f"{path} is written. Edit it, then: {then}imagesmith plan node-1")
    if with_vault:
        click.echo(f"{beside(path)} is made: build and known-hosts draw what the nodes need.")
    if not keys:
        click.echo("No public key was found in ~/.ssh: add one, or nobody can log in.", err=True)


@click.group(
    "profiles", invoke_without_command=True, short_help="List the profiles: a board, in a role, with its bases."
)
@json_option
@click.pass_context
def profiles_group(context: click.Context, as_json: bool) -> None:
    """List the profiles: a board, in a role, with its bases.

    \b
    Examples:
      imagesmith profiles
      imagesmith profiles show rpi4-worker
    """
    if context.invoked_subcommand is not None:
        context.obj = {"as_json": as_json}  # of `profiles --json show NAME`
        return
    profiles = list(catalogue_here().profiles.values())
    if as_json:
        answer({"profiles": [_profile_facts(profile) for profile in profiles]})
        return
    rows = [("PROFILE", "ROLE", "BASES", "BOOT TEST", "BOARD"), *(_row(profile) for profile in profiles)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


@profiles_group.command("show", short_help="Tell all about one profile.")
@click.argument("name", metavar="NAME")
@json_option
@click.pass_context
def show_command(context: click.Context, name: str, as_json: bool) -> None:
    """Tell all about one profile: board, bases, boot test.

    \b
    Example:
      imagesmith profiles show rpi4-worker
    """
    profiles = catalogue_here().profiles
    profile = profiles.get(name)
    if profile is None:
        known = f"there are: {', '.join(sorted(profiles))}"
        raise UsageError(f"there is no profile {name[:80]!r}{did_you_mean(name, profiles)}", hint=known)
    if as_json or (context.obj or {}).get("as_json"):
        answer(_profile_facts(profile))
        return
    told = {base.name: proven(profile.board, base) for base in profile.board.bases}
    click.echo(explain_profile(profile, told), nl=False)
    click.echo("\nThe bytes of its bases:")
    for base in profile.board.bases:
        if pin := pinned(profile.board.name, base, Path(LOCK)):
            click.echo("\n".join([f"  {base.name}", *(f"    {line}" for line in pin.lines)]))


@click.command("plan", short_help="Tell what a build would do, without doing any of it.")
@click.argument("target", metavar="[TARGET]", required=False, shell_complete=complete_target)
@target_options
@click.option("--all", "everything", is_flag=True, help="Every node of the inventory, a line each.")
@vault_option
@json_option
def plan_command(choice: TargetChoice, everything: bool, vault: Path | None, as_json: bool) -> None:
    """Tell what a build would do, without doing any of it.

    TARGET is a node of the inventory, a profile's name, or a profile's file.

    \b
    Examples:
      imagesmith plan node-1
      imagesmith plan --all
      imagesmith plan rpi4-worker --base debian --ssh-key ~/.ssh/id_ed25519.pub
      imagesmith plan qemu-x86-worker --set timezone=Europe/Berlin --json
    """
    if bool(choice.target) == everything:
        raise UsageError("give one TARGET, or --all for every node of the inventory", hint="see imagesmith plan -h")
    choice = replace(choice, vault=vault)
    epoch, lock_path, vault = source_date_epoch(), lock_file(choice), vault_of(choice)
    targets = all_wanted(choice) if everything else (wanted(choice),)
    plans = [plan(one, lock_path, epoch=epoch, vault=vault) for one in targets]
    if vault and (missing := not_drawn(vault, [one.node.name for one in targets])):
        names = ", ".join(missing)
        click.echo(f"{vault} has no host keys for {names} yet: build draws them, and the plan then has them", err=True)
    if vault is None and everything and any(has_k3s(one.cluster) for one in targets):
        click.echo("there is no vault yet, which a build of these nodes needs: imagesmith vault create", err=True)
    cached = {one.name for one in plans if base_in_cache(one, Cache.default())}
    pins = [pinned(one.profile.board.name, one.base, lock_path) for one in targets]
    still_open = [unresolved(one, lock_path) for one in targets]
    facts = [
        {**describe(one, cached=one.name in cached), "pinned": pin.facts if pin else None, "unresolved": list(open_)}
        for one, pin, open_ in zip(plans, pins, still_open, strict=True)
    ]
    if as_json:
        answer({"plans": facts} if everything else facts[0])
    elif everything:
        click.echo(overview(plans, cached), nl=False)
    else:
        click.echo(explain(plans[0], facts[0]["id"], cached=bool(cached)), nl=False)
        if pins[0]:
            click.echo("\n".join(["", "The base's bytes:", *(f"  {line}" for line in pins[0].lines)]))
        if still_open[0]:
            what = "Looked up and pinned by the first build, so that the plan then has it:"
            click.echo("\n".join(["", what, *(f"  {line}" for line in still_open[0])]))


def _row(profile: Profile) -> tuple[str, str, str, str, str]:
    default = profile.base_named(profile.base)
    machine = profile.board.machine_for(default) if default else None
    # All of them would not fit beside each other; `profiles show` tells each with what was shown to work.
    others = len(profile.board.bases) - 1
    bases = f"{profile.base} and {others} more" if others else profile.base
    return profile.name, profile.role, bases, machine.machine if machine else "-", profile.board.title


def _profile_facts(profile: Profile) -> dict[str, Any]:
    facts: Any = to_plain(profile)
    return dict(facts)
