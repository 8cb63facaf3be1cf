"""The commands that look after base images: `cache list`, `cache prune` and `update`."""

from __future__ import annotations

import time

import click

from imagesmith.cli.options import answer, json_option, target_argument, target_options
from imagesmith.cli.progress import listener_for
from imagesmith.errors import UsageError
from imagesmith.sources.cache import Cache, CacheEntry
from imagesmith.units import show_size
from imagesmith.workflow.locking import update
from imagesmith.workflow.planned import lock_file
from imagesmith.workflow.target import TargetChoice, wanted

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


@click.command("update", short_help="Look for a newer base image and lock it.")
@target_argument
@target_options
@click.option(
    "--insecure-unverified",
    "insecure",
    is_flag=True,
    help="Trust on first use: pin what comes, though no digest or signature vouches for it.",
)
@json_option
@click.pass_context
def update_command(ctx: click.Context, choice: TargetChoice, insecure: bool, as_json: bool) -> None:
    """Look for a newer base image of TARGET and write what it is to
    imagesmith.lock; a build never goes past the lock by itself.

    A base that has neither digest nor signature is refused, unless
    --insecure-unverified is given once: later builds want the same bytes.

    \b
    Examples:
      imagesmith update rpi4-worker
      imagesmith update ./mine.yaml --insecure-unverified
    """
    changes = update(wanted(choice), lock_file(choice), Cache.default(), listener_for(ctx), insecure=insecure)
    if as_json:
        answer({"changes": list(changes)})
        return
    for change in changes or ("nothing has changed",):
        click.echo(change)


def _plain(entry: CacheEntry) -> dict[str, object]:
    return {"kind": entry.kind, "key": entry.key, "path": str(entry.path), "size": entry.size,
            "digest": str(entry.digest), "used": int(entry.used)}  # fmt: skip


def _about(entry: CacheEntry) -> str:
    told = [str(entry.facts[key]) for key in ("suite", "architecture", "url", "name") if key in entry.facts]
    return " ".join(told) or "-"


def _ago(entry: CacheEntry) -> str:
    days = int((time.time() - entry.used) / _DAY_S)
    return f"{days} days ago" if days else "today"
