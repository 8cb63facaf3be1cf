"""Looks up what is fetched for images beside their bases, and pins it in `imagesmith.lock`. Called by `cli`.

A build looks up only what no lock says yet; `update_beside` asks anew. Asks the network, reads bases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from imagesmith.errors import DigestMismatch, ImagesmithError, SourceUnreachable
from imagesmith.events import Listener, StepFinished, StepStarted, unheard
from imagesmith.model import Base, BuildPlan, DebianSource, FileSource, HttpSource, ObtainedBase, Part
from imagesmith.sources import lock, release
from imagesmith.sources.asking import Asking
from imagesmith.sources.bootstrap import state_key
from imagesmith.sources.cache import Cache
from imagesmith.sources.lock import Lock, LockEntry, PackageSet
from imagesmith.workflow.bases import Bases
from imagesmith.workflow.cached import base_in_cache
from imagesmith.workflow.locking import NOTHING, Change, Options, Outcome, changes_of, refuse_rollback, today
from imagesmith.workflow.packages import lacking
from imagesmith.workflow.planned import part_in_cluster, plan, shipped_lock
from imagesmith.workflow.supplies import ReleaseFile, entry_for, packages_wanted, release_files, release_source
from imagesmith.workflow.target import Wanted

Target = tuple[Wanted, BuildPlan]


def resolve(
    targets: Iterable[Target],
    lock_path: Path,
    bases: Bases,
    listener: Listener = unheard,
    options: Options | None = None,
) -> bool:
    """Pin what images need and no lock names; True when the lock changed, so that plans are to be made anew.

    Raises what asking the publishers, getting bases and asking apt raise.
    """
    chosen, before = options or Options(), lock.read(lock_path)
    asking = Asking(patience=chosen.patience, listener=listener)
    for found, build_plan in targets:
        part = part_in_cluster(found, None)
        if part is None:
            continue
        try:
            try:
                _resolve_release(part, build_plan, lock_path, asking, listener, chosen)
            except SourceUnreachable as error:
                error.hint += f". Without a network: k3s from a file, `k3s: file:` in {part.cluster.path}"
                raise
            _resolve_packages(part, build_plan, lock_path, bases, listener, chosen)
        except ImagesmithError as error:
            raise error.within(f"while looking up what {build_plan.name} needs") from error
    return lock.read(lock_path) != before


def release_keys(targets: Iterable[Wanted]) -> tuple[str, ...]:
    """What the files of k3s's releases that these nodes need are called in the lock."""
    return tuple(_release_files(targets))


def update_beside(
    targets: Sequence[Wanted],
    lock_path: Path,
    cache: Cache,
    listener: Listener = unheard,
    options: Options | None = None,
) -> Outcome:
    """Pin k3s as its publisher has it now, for all nodes alike, and what bases in the cache lack of packages.

    No file of it is fetched, no base either. An older release than the one that counts is refused. A failure leaves
    its entry, and is told in the outcome. Raises DocumentInvalid for a broken lock.
    """
    chosen = options or Options()
    asking = Asking(patience=chosen.patience, listener=listener)
    changes: list[Change] = []
    failures: dict[str, ImagesmithError] = {}
    versions: dict[str, str] = {}
    for file, inventory in _release_files(targets).values():
        try:
            entry = looked_up(file, inventory, versions, asking, chosen)
            changes += _put(file, entry, lock_path, chosen)
        except ImagesmithError as error:
            failures.setdefault(f"{error.where}: {error.what}", error)
    with Bases(cache, insecure=chosen.insecure, listener=listener) as bases:
        for found in targets:
            try:
                changes += _update_packages(found, lock_path, bases, listener, chosen)
            except ImagesmithError as error:
                failures.setdefault(f"{error.where}: {error.what}", error)
    return Outcome(tuple(changes), tuple(failures.values()), (), dict(asking.asked))


def base_bytes(base: Base, build_plan: BuildPlan, obtained: ObtainedBase, cache: Cache) -> str:
    """What `supplies.bytes_of` tells of the base once it is there."""
    if isinstance(base.source, DebianSource):
        return base.source.state or state_key(base.source, build_plan.architecture, cache)
    if isinstance(base.source, HttpSource) and base.source.digest:
        return str(base.source.digest)
    return str(obtained.published or obtained.digest)


# -- k3s ------------------------------------------------------------------------------------------


def _release_files(targets: Iterable[Wanted]) -> dict[str, tuple[ReleaseFile, str]]:
    """By their names in the lock, each with the inventory that asks for it."""
    files = {}
    for found in targets:
        if part := part_in_cluster(found, None):
            for file in release_files(part, found.profile.board.architecture):
                files[file.key] = (file, part.cluster.path)
    return files


def _resolve_release(
    part: Part, build_plan: BuildPlan, lock_path: Path, asking: Asking, listener: Listener, options: Options
) -> None:
    for file in release_files(part, build_plan.architecture):
        known, shipped = lock.read(lock_path), shipped_lock()
        if entry_for(file, known, shipped):
            continue
        # What other architectures have of the same channel: a cluster is of one version.
        versions = _known_versions(known, shipped)
        listener(StepStarted("look up", file.words(file.asked)))
        entry = looked_up(file, part.cluster.path, versions, asking, options)
        lock.put_file(lock_path, file.key, entry)
        listener(StepFinished("look up", f"{file.words(entry.version)}, locked"))


def _known_versions(known: Lock, shipped: Lock) -> dict[str, str]:
    return {
        key.split("/")[1]: entry.version
        for each in (shipped, known)
        for key, entry in each.files.items()
        if key.startswith("k3s") and key.count("/") == 2
    }


def looked_up(
    file: ReleaseFile, inventory: str, versions: dict[str, str], asking: Asking, options: Options
) -> LockEntry:
    """The file as its publisher has it; `versions` = what channels mean, asked once each."""
    source = release_source(inventory)
    if file.asked not in versions:
        is_channel = file.address == source.channel_url(file.asked)
        versions[file.asked] = (
            release.version_of(source, file.asked, patience=options.patience) if is_channel else file.asked
        )
    return release.find(
        source, file.kind, file.architecture, versions[file.asked], asking,
        address=file.address, today=today(options), patience=options.patience,
    )  # fmt: skip


def _put(file: ReleaseFile, now: LockEntry, lock_path: Path, options: Options) -> tuple[Change, ...]:
    """Raises DigestMismatch for an older release than the one that counts, and for other bytes of the same one."""
    counts = entry_for(file, lock.read(lock_path), shipped_lock())
    if counts and file.key not in options.rollbacks:
        refuse_rollback(file.key, now, counts)
        if counts.version == now.version and counts.digest != now.digest:
            raise DigestMismatch(
                f"its publisher has other bytes for {now.version} than those that are locked",
                where=file.key,
                hint="a release does not change: see the publisher's page; if it is meant: "
                f"imagesmith update --allow-rollback {file.key}",
            )
    return changes_of(file.key, lock.put_file(lock_path, file.key, now), now)


# -- packages -------------------------------------------------------------------------------------


def _resolve_packages(
    part: Part, build_plan: BuildPlan, lock_path: Path, bases: Bases, listener: Listener, options: Options
) -> None:
    base, board = build_plan.base, build_plan.board
    wanted = packages_wanted(part, base, build_plan.architecture)
    if not wanted:
        return
    obtained = bases.of(build_plan)
    identity = base_bytes(base, build_plan, obtained, bases.cache)
    for each in (lock.read(lock_path), shipped_lock()):
        known = each.packages_for(board, base.name, wanted)
        if known and known.base == identity:
            return
    found = lacking(obtained, build_plan, wanted, part.cluster, bases.cache, listener)
    lock.put_packages(lock_path, board, base.name, PackageSet(wanted, identity, found, today(options)))


def _update_packages(
    found: Wanted, lock_path: Path, bases: Bases, listener: Listener, options: Options
) -> tuple[Change, ...]:
    """As the archives have them now; nothing where the base would have to be fetched for it."""
    part, build_plan = part_in_cluster(found, None), plan(found, lock_path)
    wanted = packages_wanted(part, build_plan.base, build_plan.architecture) if part else ()
    at_hand = isinstance(build_plan.base.source, FileSource) or base_in_cache(build_plan, bases.cache)
    if part is None or not wanted or not at_hand:
        return ()
    obtained = bases.of(build_plan)
    identity = base_bytes(build_plan.base, build_plan, obtained, bases.cache)
    packages = lacking(obtained, build_plan, wanted, part.cluster, bases.cache, listener)
    now = PackageSet(wanted, identity, packages, today(options))
    before = lock.put_packages(lock_path, build_plan.board, build_plan.base.name, now)
    return _package_changes(f"{build_plan.board}/{build_plan.base.name}", before, now)


def _package_changes(name: str, before: PackageSet | None, now: PackageSet) -> tuple[Change, ...]:
    old = {one.name: one.version for one in before.packages} if before else {}
    new = {one.name: one.version for one in now.packages}
    return tuple(
        Change(name, package, old.get(package, NOTHING), new.get(package, NOTHING))
        for package in sorted(old | new)
        if old.get(package) != new.get(package)
    )
