"""The commands that look after base images: `cache list`, `cache prune` and `update`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict

import click

from imagesmith.cli.options import answer, complete_target, json_option, target_options
from imagesmith.cli.progress import listener_for
from imagesmith.errors import UsageError
from imagesmith.profile.schema import did_you_mean
from imagesmith.sources.cache import Cache, CacheEntry
from imagesmith.units import show_size
from imagesmith.workflow.locking import NOTHING, Options, Outcome, update, update_all
from imagesmith.workflow.planned import lock_file
from imagesmith.workflow.resolving import release_keys, update_beside
from imagesmith.workflow.target import TargetChoice, wanted
from imagesmith.workflow.updatable import Bases, bases_meant, nodes_meant

_DAY_S = 86400


@click.group("cache", short_help="List or prune the base images kept here.")
def cache_group() -> None:
    """Base images are kept so that the next build needs no network.

    They lie in IMAGESMITH_CACHE, else in the user's cache folder.

    \b
    Examples:
      imagesmith cache list
      imagesmith cache prune --older-than 30
    """


@cache_group.command("list", short_help="List what is in the cache.")
@json_option
def list_command(as_json: bool) -> None:
    """List what is in the cache.

    \b
    Example:
      imagesmith cache list
    """
    cache = Cache.default()
    entries = cache.entries()
    if as_json:
        answer({"folder": str(cache.root), "entries": [_plain(one) for one in entries]})
        return
    for entry in entries:
        click.echo(f"{entry.kind}/{entry.key[:24]}  {show_size(entry.size)}  {_about(entry)}  used {_ago(entry)}")
    click.echo(f"{len(entries)} in {cache.root}")


@cache_group.command("prune", short_help="Remove base images from the cache.")
@click.option("--older-than", metavar="DAYS", type=click.IntRange(0), help="Only what was not used for so long.")
@click.option("--all", "everything", is_flag=True, help="All of it.")
@json_option
def prune_command(older_than: int | None, everything: bool, as_json: bool) -> None:
    """Remove base images from the cache; what a build is using stays.

    \b
    Examples:
      imagesmith cache prune --older-than 30
      imagesmith cache prune --all
    """
    if (older_than is None) == (not everything):
        raise UsageError("say what to remove", hint="--older-than DAYS, or --all")
    age = None if older_than is None else older_than * _DAY_S
    removed = Cache.default().prune(older_than_s=age, everything=everything)
    if as_json:
        answer({"removed": [_plain(one) for one in removed]})
        return
    click.echo(f"removed {len(removed)}, {show_size(sum(one.size for one in removed))}")


@click.command("update", short_help="Look for newer base images and lock them.")
@click.argument("target", metavar="[TARGET]", default="", shell_complete=complete_target)
@target_options
@click.option(
    "--allow-rollback",
    "rollbacks",
    metavar="BOARD/BASE",
    multiple=True,
    help="Let this base become older than it is locked; can be repeated.",
)
@click.option(
    "--insecure-unverified",
    "insecure",
    is_flag=True,
    help="Trust on first use: pin what comes, though no digest or signature vouches for it.",
)
@json_option
@click.pass_context
def update_command(
    ctx: click.Context, choice: TargetChoice, rollbacks: tuple[str, ...], insecure: bool, as_json: bool
) -> None:
    """Look for newer base images and write what they are to imagesmith.lock;
    a build never goes past the lock by itself.

    TARGET is a board, or as elsewhere a node or profile; without one it is
    about every node of the inventory, else about every board. Publishers'
    indexes are asked, no image is fetched, unless the base follows none: then
    a TARGET's is got as it is now.

    For the nodes of a k3s cluster k3s is looked up too, and the packages that
    a base in the cache lacks.

    An older release than the one locked is refused. When one publisher fails,
    its bases stay as they are locked and the others are updated; the exit code
    is that of the failure.

    \b
    Examples:
      imagesmith update
      imagesmith update rpi4
      imagesmith update ./mine.yaml --insecure-unverified
    """
    options = Options(insecure, rollbacks)
    bases, cache, listener = bases_meant(choice), Cache.default(), listener_for(ctx)
    one = wanted(choice) if bases is None else None
    targets = nodes_meant(choice, one)
    _require_known(rollbacks, ((one.profile.board, one.base),) if one else bases or (), release_keys(targets))
    if one:
        outcome = update(one.profile.board, one.base, lock_file(choice), cache, listener, options)
    else:
        outcome = update_all(bases or (), lock_file(choice), cache, listener, options)
    outcome = outcome.joined(update_beside(targets, lock_file(choice), cache, listener, options))
    if as_json:
        answer(_outcome_facts(outcome))
    else:
        _tell(outcome)
    for failure in outcome.failures[1:]:
        click.echo(f"{click.style('error:', fg='red', bold=True)} {failure}", err=True)
        if failure.hint not in ("", outcome.failures[0].hint):  # that is told at the end
            click.echo(f"       {click.style('what to do:', bold=True)} {failure.hint}", err=True)
    for failure in outcome.failures[:1]:
        raise failure


def _require_known(rollbacks: tuple[str, ...], bases: Bases, others: Iterable[str]) -> None:
    """Else a slip of the pen would look like a refusal that can't be lifted. Raises UsageError."""
    names = sorted({*(f"{board.name}/{base.name}" for board, base in bases), *others})
    for unknown in [name for name in rollbacks if name not in names]:
        raise UsageError(
            f"--allow-rollback {unknown}: this update is about no such base{did_you_mean(unknown, names)}",
            hint=f"it is about {', '.join(names)}",
        )


def _tell(outcome: Outcome) -> None:
    """The changes, as a diff: the value that was, and the one that is."""
    told = ""
    for change in outcome.changes:
        if change.base != told:
            click.echo(change.base)
            told = change.base
        if change.before != NOTHING:
            click.echo(click.style(f"  - {change.name:<14} {change.before}", fg="red"))
        click.echo(click.style(f"  + {change.name:<14} {change.after}", fg="green"))
    if not outcome.changes and not outcome.failures:
        click.echo("nothing has changed")
    if outcome.left:
        click.echo(f"not looked up, as they follow no index: {', '.join(outcome.left)}")


def _outcome_facts(outcome: Outcome) -> dict[str, object]:
    return {
        "changes": [asdict(change) for change in outcome.changes],
        "failures": [failure.facts() for failure in outcome.failures],
        "left": list(outcome.left),
        "asked": dict(outcome.asked),
    }


def _plain(entry: CacheEntry) -> dict[str, object]:
    return {"kind": entry.kind, "key": entry.key, "path": str(entry.path), "size": entry.size,
            "digest": str(entry.digest), "used": int(entry.used)}  # fmt: skip


def _about(entry: CacheEntry) -> str:
    told = [str(entry.facts[key]) for key in ("suite", "architecture", "url", "name") if key in entry.facts]
    return " ".join(told) or "-"


def _ago(entry: CacheEntry) -> str:
    days = int((time.time() - entry.used) / _DAY_S)
    return f"{days} days ago" if days else "today"
