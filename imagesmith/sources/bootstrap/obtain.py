"""The policy: take a Debian base from the cache, or make it and put it there. Called by `workflow`.

What a recipe last became is remembered by a reference, so that a base in the cache needs no network. Only a
refresh (`imagesmith update`) asks the archive again, and makes a new base only where the packages have changed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from imagesmith import tools
from imagesmith.errors import DigestMismatch, ImagesmithError, UsageError
from imagesmith.events import Listener, Noted, StepFinished, StepStarted, unheard
from imagesmith.model import Architecture, Base, DebianSource, Digest, ObtainedBase, Package
from imagesmith.sources.bootstrap import tree
from imagesmith.sources.bootstrap.assemble import Disk, assemble
from imagesmith.sources.bootstrap.packages import PackageState
from imagesmith.sources.bootstrap.recipe import Identity, Recipe
from imagesmith.sources.cache import Cache, CacheEntry
from imagesmith.sources.disk import digest_of

KIND = "debian"
_TRUST = "made here from Debian packages that apt checked against the archive's signed Release files"


def obtain_debian(
    base: Base, architecture: Architecture, *, cache: Cache, refresh: bool = False, listener: Listener = unheard
) -> ObtainedBase:
    """The raw image of a base that is made from Debian's packages; `base.source` is a DebianSource.

    Without `refresh` the state that the lock pins is taken, else whatever the cache has for the recipe. Raises
    DigestMismatch when the pinned state is not in the cache and the archive has another by now; UsageError,
    ToolMissing, SourceUnreachable, NoSpace, EditFailed.
    """
    if not isinstance(base.source, DebianSource):
        raise UsageError(f"base {base.name} is not made from Debian's packages")
    recipe = Recipe.of(base.source, architecture)
    try:
        entry = None if refresh else _remembered(cache, recipe, listener)
        with cache.hold(KIND, recipe.digest, listener):
            # Another process may have made it while we waited.
            entry = entry or (None if refresh else _remembered(cache, recipe, listener))
            entry = entry or _current(cache, recipe, listener, pinned="" if refresh else recipe.source.state)
    except ImagesmithError as error:
        raise error.within(f"while getting base {base.name} for {architecture}") from error
    return _obtained(entry)


def state_key(source: DebianSource, architecture: Architecture, cache: Cache) -> str:
    """sha256 (hex) of the package state that the cache has for this source now; empty when it has none."""
    return cache.referred(reference(Recipe.of(source, architecture))) or ""


def in_cache(source: DebianSource, architecture: Architecture, cache: Cache) -> bool:
    """Whether the cache has the base that a build would take, so that nothing is fetched. Looks only."""
    key = source.state or state_key(source, architecture, cache)
    return bool(key) and cache.has(KIND, key)


def reference(recipe: Recipe) -> str:
    """The name in the cache that points at what a recipe last became."""
    return f"debian-{recipe.digest}"


def _remembered(cache: Cache, recipe: Recipe, listener: Listener) -> CacheEntry | None:
    key = recipe.source.state or cache.referred(reference(recipe))
    return cache.get(KIND, key, listener) if key else None


def _current(cache: Cache, recipe: Recipe, listener: Listener, *, pinned: str) -> CacheEntry:
    """The base for the archive's state of now, made if it is not there; refused when another state is `pinned`."""
    with cache.scratch(KIND, recipe.digest) as scratch:
        state = tree.resolve(recipe, scratch, listener)
        if pinned and state.key != pinned:
            raise DigestMismatch(
                f"the archive's packages have changed since {recipe.source.suite} was locked"
                f" (state {pinned[:12]}, now {state.key[:12]}), and the locked base is not in the cache",
                hint="take the new packages with `imagesmith update TARGET`, or bring the cache of the machine that"
                " made the lock",
            )
        entry = cache.get(KIND, state.key, listener)
        if entry:
            listener(Noted(f"the packages of {recipe.source.suite} have not changed; the base in the cache is current"))
        else:
            entry = _make(cache, recipe, state, scratch, listener)
        cache.refer(reference(recipe), state.key)
        return entry


def _make(cache: Cache, recipe: Recipe, state: PackageState, scratch: Path, listener: Listener) -> CacheEntry:
    source, image = recipe.source, scratch / "disk.raw"
    with tools.taking_part() as programs:
        made = tree.make(recipe, state, scratch, listener)
        listener(StepStarted("assemble the base"))
        disk = Disk(source.layout, recipe.architecture, Identity(state.key), state.epoch, made.root, made.boot)
        size = assemble(disk, image, scratch)
    descriptor = os.open(image, os.O_RDONLY)
    try:
        digest = digest_of(descriptor, size)
    finally:
        os.close(descriptor)
    listener(StepFinished("assemble the base"))
    facts = {
        "recipe": recipe.digest,
        "suite": source.suite,
        "architecture": recipe.architecture,
        "epoch": state.epoch,
        "packages": [[package.name, package.version, package.architecture] for package in made.packages],
        "tools": {program: tools.version(program) for program in sorted(programs)},
    }
    return cache.publish(KIND, state.key, image, digest, facts)


def _obtained(entry: CacheEntry) -> ObtainedBase:
    facts: Mapping[str, object] = entry.facts
    epoch = cast(int, facts["epoch"])
    packages = tuple(Package(*row) for row in cast("list[list[str]]", facts["packages"]))
    made_by = cast("dict[str, str]", facts.get("tools", {}))
    digest: Digest = entry.digest
    return ObtainedBase(entry.path, entry.size, digest, None, epoch, _TRUST, packages, made_by)
