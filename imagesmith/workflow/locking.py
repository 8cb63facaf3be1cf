"""Look for newer bases and write what they are to `imagesmith.lock`. Called by `cli.cache` (the `update` command).

Only this looks past the lock; a build takes what the lock says. A base that follows its publisher's index is looked up
there, without its image; any other is got as it is now.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from imagesmith import resources
from imagesmith.errors import DigestMismatch, ImagesmithError
from imagesmith.events import Listener, unheard
from imagesmith.formats.indexes.newest import version_key
from imagesmith.model import Base, Board, DebianSource, FileSource, HttpSource
from imagesmith.sources import follow, lock
from imagesmith.sources.asking import Asking
from imagesmith.sources.bootstrap import obtain_debian, state_key
from imagesmith.sources.cache import Cache
from imagesmith.sources.fetch import PATIENT, Patience
from imagesmith.sources.keys import Keys
from imagesmith.sources.lock import Lock, LockEntry
from imagesmith.sources.lock_entry import same_release
from imagesmith.sources.obtain import obtain_http
from imagesmith.units import show_size
from imagesmith.workflow.planned import shipped_lock

NOTHING = "nothing"
"""What a value is that is not known."""
_DAY_S = 86400
_UNTOLD = ("address", "resolved", "origin", "earlier")
"""What is no news about the bytes themselves."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person decided beforehand, and what tests put in the place of the world."""

    insecure: bool = False
    """--insecure-unverified: trust on first use. What nothing vouches for is taken and pinned as it came."""
    rollbacks: Collection[str] = ()
    """--allow-rollback: the bases, as `<board>/<base>`, that may become older."""
    patience: Patience = PATIENT
    keyrings: Path | None = None
    """None = the project's own."""
    today: str = ""
    """Like `2026-11-23`; "" asks the clock."""


@dataclass(frozen=True, slots=True)
class Change:
    """One value of one base that became another."""

    base: str
    """`<board>/<base>`."""
    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.base}: {self.name} {self.before} -> {self.after}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a look at the publishers."""

    changes: tuple[Change, ...] = ()
    failures: tuple[ImagesmithError, ...] = ()
    """One for each thing that went wrong; the entries of its bases are as they were."""
    left: tuple[str, ...] = ()
    """`<board>/<base>` of those that follow no index, and so were not looked up."""
    asked: dict[str, int] = field(default_factory=dict)
    """How many files each server was asked for."""

    def joined(self, other: Outcome) -> Outcome:
        """What became of both looks."""
        asked = dict(Counter(self.asked) + Counter(other.asked))
        return Outcome(self.changes + other.changes, self.failures + other.failures, self.left + other.left, asked)


def update(
    board: Board,
    base: Base,
    lock_path: Path,
    cache: Cache,
    listener: Listener = unheard,
    options: Options | None = None,
) -> Outcome:
    """Lock one base as its publisher has it now; without an index to follow that means to get it into the cache.

    Raises what looking up and getting a base raise; the lock then stays as it was.
    """
    chosen = options or Options()
    if _follows(base):
        outcome = update_all([(board, base)], lock_path, cache, listener, chosen)
        for failure in outcome.failures:
            raise failure
        return outcome
    known = lock.read(lock_path)  # a broken lock is told before a download of minutes
    now = _got(board, base, cache, listener, chosen)
    if now is None:
        return Outcome()
    return Outcome(_put(board, base, now, known, lock_path, chosen))


def update_all(
    bases: Sequence[tuple[Board, Base]],
    lock_path: Path,
    cache: Cache,
    listener: Listener = unheard,
    options: Options | None = None,
) -> Outcome:
    """Lock every one of `bases` that follows an index, as that has it now. No image is fetched.

    A failure leaves the entries of its bases, and is told in the outcome; the other bases are locked nevertheless.
    Raises DocumentInvalid for a broken lock, before anybody is asked.
    """
    chosen = options or Options()
    known = lock.read(lock_path)
    followed = [(board, base) for board, base in bases if _follows(base)]
    needed, wished = follow.asking_for([base for _, base in followed])
    asking = Asking(needed, wished, patience=chosen.patience, listener=listener)
    keys = Keys(lambda: chosen.keyrings or resources.folder("keyrings"), cache, chosen.patience, listener)
    changes: list[Change] = []
    failures: dict[str, ImagesmithError] = {}
    for board, base in followed:
        before = known.entries.get(f"{board.name}/{base.name}", lock.NO_ENTRY)
        try:
            now = follow.newest(base, asking, keys, cache, today=today(chosen), known=before, insecure=chosen.insecure)
            changes += _put(board, base, now, known, lock_path, chosen)
        except ImagesmithError as error:
            failures.setdefault(f"{error.where}: {error.what}", error)
    left = tuple(f"{board.name}/{base.name}" for board, base in bases if not _follows(base))
    return Outcome(tuple(changes), tuple(failures.values()), left, dict(asking.asked))


def _follows(base: Base) -> bool:
    return isinstance(base.source, HttpSource) and base.source.follow is not None


def _got(board: Board, base: Base, cache: Cache, listener: Listener, options: Options) -> LockEntry | None:
    """What the base is now; None for a local file, which has no publisher to ask."""
    match base.source:
        case HttpSource():
            obtained = obtain_http(
                base, cache=cache, insecure=options.insecure, refresh=True, listener=listener,
                patience=options.patience, keyrings=options.keyrings,
            )  # fmt: skip
            return lock.entry_of(base, obtained, today(options))
        case DebianSource() as source:
            obtained = obtain_debian(base, board.architecture, cache=cache, refresh=True, listener=listener)
            state = state_key(source, board.architecture, cache)
            return lock.entry_of(base, obtained, today(options), packages=state)
        case FileSource():
            return None


def _put(
    board: Board, base: Base, now: LockEntry, known: Lock, lock_path: Path, options: Options
) -> tuple[Change, ...]:
    """Lock it; what changed. Raises DigestMismatch for a release that is older than the one that counts."""
    name = f"{board.name}/{base.name}"
    counts, _ = lock.counting(base, known, board.name, shipped_lock())
    if counts and name not in options.rollbacks:
        refuse_rollback(name, now, counts)
    now = lock.merged(now, known.entries.get(name, lock.NO_ENTRY))
    return changes_of(name, lock.put(lock_path, board.name, base.name, now), now)


def changes_of(name: str, before: LockEntry, now: LockEntry) -> tuple[Change, ...]:
    """What is told of an entry that became another."""
    return tuple(
        Change(name, one.name, _told(before, one.name), _told(now, one.name))
        for one in fields(LockEntry)
        if one.name not in _UNTOLD and getattr(before, one.name) != getattr(now, one.name)
    )


def refuse_rollback(name: str, now: LockEntry, before: LockEntry) -> None:
    """Raise DigestMismatch where `now` is of an older release than `before`."""
    if same_release(now, before):
        return
    # Of a list that was signed anew only the day counts: the same release may be listed twice a day.
    earlier = 0 < now.released // _DAY_S < before.released // _DAY_S
    older = _comparable(now.version, before.version) and version_key(now.version) < version_key(before.version)
    if not earlier and not older:
        return
    offered, has = (entry.version or _day(entry.released) for entry in (now, before))
    raise DigestMismatch(
        f"its publisher offers an older release ({offered}) than the one that is locked ({has})",
        where=name,
        hint="a publisher who took a release back, or somebody who wants an old one in: see the publisher's page; "
        f"if it is meant: imagesmith update --allow-rollback {name}",
    )


def _comparable(one: str, other: str) -> bool:
    """Whether two versions are of one scheme: `26.8.1` and a serial like `20261006` are not."""
    first, second = version_key(one)[0], version_key(other)[0]
    return bool(one and other) and len(str(first[1])) == len(str(second[1]))


def _told(entry: LockEntry, name: str) -> str:
    value = getattr(entry, name)
    if not value:
        return NOTHING
    if name == "released":
        return _day(value)
    if name == "unchecked":
        return "nobody vouched for the digest yet"
    return show_size(value) if name in ("size", "raw_size") else str(value)


def _day(moment: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))


def today(options: Options) -> str:
    """Like `2026-11-23`."""
    return options.today or _day(int(time.time()))
