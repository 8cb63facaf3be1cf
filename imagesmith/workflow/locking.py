"""Look for newer bases and write what they are to `imagesmith.lock`. Called by `cli.cache` (the `update` command).

Only this looks past the lock; a build takes what the lock says.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from imagesmith.events import Listener, unheard
from imagesmith.model import Base, DebianSource, FileSource, HttpSource
from imagesmith.sources import lock
from imagesmith.sources.bootstrap import obtain_debian, state_key
from imagesmith.sources.cache import Cache
from imagesmith.sources.lock import LockEntry
from imagesmith.sources.obtain import obtain_http
from imagesmith.units import show_size
from imagesmith.workflow.target import Wanted


def update(
    found: Wanted, lock_path: Path, cache: Cache, listener: Listener = unheard, *, insecure: bool = False
) -> tuple[str, ...]:
    """Bring the base into the cache as its publisher has it now, and lock that; the changes, one line each.

    `insecure` (--insecure-unverified) is trust on first use: what nothing vouches for is taken and pinned as it came.
    Raises what getting a base raises; the lock then stays as it was.
    """
    board = found.profile.board
    lock.read(lock_path)  # a broken lock is told before a download of minutes
    now = _current(found.base, found, cache, insecure, listener)
    if now is None:
        return ()
    before = lock.put(lock_path, board.name, found.base.name, now)
    return tuple(
        f"{board.name}/{found.base.name}: {field.name} {_told(before, field.name)} -> {_told(now, field.name)}"
        for field in fields(LockEntry)
        if getattr(before, field.name) != getattr(now, field.name)
    )


def _current(base: Base, found: Wanted, cache: Cache, insecure: bool, listener: Listener) -> LockEntry | None:
    """What the base is now; None for a local file, which has no publisher to ask."""
    match base.source:
        case HttpSource():
            obtained = obtain_http(base, cache=cache, insecure=insecure, refresh=True, listener=listener)
            return lock.entry_of(base, obtained)
        case DebianSource():
            architecture = found.profile.board.architecture
            obtained = obtain_debian(base, architecture, cache=cache, refresh=True, listener=listener)
            state = state_key(base.source, architecture, cache)
            return replace(lock.entry_of(base, obtained), packages=state)
        case FileSource():
            return None


def _told(entry: LockEntry, name: str) -> str:
    value = getattr(entry, name)
    if not value:
        return "nothing"
    return show_size(value) if name in ("size", "raw_size") else str(value)
