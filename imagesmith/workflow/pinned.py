"""Which lock says what a base's bytes are, since when, and what of it nobody has checked yet. Called by `cli.plan`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imagesmith.model import Base, FileSource, HttpSource
from imagesmith.sources import lock
from imagesmith.sources.lock import LockEntry
from imagesmith.workflow.planned import shipped_lock


@dataclass(frozen=True, slots=True)
class Pinned:
    """What the locks say of one base."""

    lock: str
    """The lock's file; "shipped" for the one that comes with imagesmith, "" when neither names the base."""
    entry: LockEntry
    unchecked: str
    """What has to be found right before the first use, in words; "" when nothing has."""

    @property
    def lines(self) -> tuple[str, ...]:
        """In words, for a person."""
        entry, told = self.entry, []
        if entry.digest or entry.packages:
            which = "the lock that comes with imagesmith" if self.lock == "shipped" else self.lock
            since = f" since {entry.resolved}" if entry.resolved else ""
            told.append(f"pinned by {which}{since}{f', version {entry.version}' if entry.version else ''}")
        else:
            why = entry.origin.get("digest") or "a build takes what its source has that day"
            told.append(f"pinned by no lock yet: {why.removeprefix('open: ')}")
        if self.unchecked:
            told.append(f"unchecked: {self.unchecked}")
        return tuple(told)

    @property
    def facts(self) -> dict[str, object]:
        """As plain data."""
        entry = self.entry
        return {
            "lock": self.lock, "since": entry.resolved, "version": entry.version, "unchecked": self.unchecked,
            "origin": dict(entry.origin),
        }  # fmt: skip


def pinned(board: str, base: Base, lock_path: Path) -> Pinned | None:
    """What pins `base`, as its document gives it, on `board`; None for a local file.

    Raises DocumentInvalid for a broken lock, IOFailed.
    """
    if isinstance(base.source, FileSource):
        return None
    entry, is_shipped = lock.counting(base, lock.read(lock_path), board, shipped_lock())
    if entry is None:
        return Pinned("", lock.NO_ENTRY, "")
    return Pinned("shipped" if is_shipped else str(lock_path), entry, _unchecked(base, entry))


def _unchecked(base: Base, entry: LockEntry) -> str:
    if not entry.unchecked or not isinstance(base.source, HttpSource):
        return ""
    where = f"its digest ({entry.origin.get('digest', 'of unknown origin')})"
    if base.source.signature is None:
        return f"{where}, which nobody signs"
    return f"{where}; the publisher's signature must hold too before the first use"
