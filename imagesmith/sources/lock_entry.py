"""What a lock says of bases, as values, and what that makes of a base. Pure; `lock` reads and writes the file.

Two locks count: the user's own, whose entry stands whatever the profile says, and under it the one that ships with
imagesmith, which only fills in what a shipped base leaves open.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from imagesmith.model import Base, DebianSource, Digest, HttpSource, ObtainedBase

KEPT = 4
"""How many earlier entries stay beside the one that counts."""


@dataclass(frozen=True, slots=True)
class LockEntry:
    """One base as it was found. Empty or 0 = not known, or not a thing of this kind of base."""

    url: str = ""
    size: int = 0
    """Of the published file, bytes."""
    digest: Digest | None = None
    """Of the published file."""
    raw_size: int = 0
    raw_digest: Digest | None = None
    released: int = 0
    packages: str = ""
    """Key of the package state, for a base made from Debian's packages."""
    address: str = ""
    """The address in the base's document when this was found. A shipped entry counts for that address alone."""
    mirror: str = ""
    """Another address of the same bytes, for as long as it does not move on."""
    checksums_url: str = ""
    signature_url: str = ""
    fingerprint: str = ""
    """The primary key that vouched for the digest; empty where none did."""
    version: str = ""
    """The publisher's word for the release."""
    resolved: str = ""
    """The day on which this was found, like `2026-11-23`."""
    unchecked: bool = False
    """Nobody vouched for the digest: where there is a signature it must hold too before the first use."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """Where each value comes from, by its name here."""
    earlier: tuple[LockEntry, ...] = ()
    """What stood here before, newest first; these have no earlier ones themselves."""


NO_ENTRY = LockEntry()


@dataclass(frozen=True, slots=True)
class PinnedPackage:
    """A package of Debian's kind as its archive has it."""

    name: str
    version: str
    architecture: str
    url: str
    size: int
    digest: Digest

    @property
    def file_name(self) -> str:
        """As archives name it; a version's colon is written as %3a."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


@dataclass(frozen=True, slots=True)
class PackageSet:
    """What a base lacks of some packages, those included that they need."""

    wanted: tuple[str, ...]
    """The names that were asked for, sorted."""
    base: str
    """The bytes that it lacks them in: the digest of the base's published file, or the state that it was made of."""
    packages: tuple[PinnedPackage, ...] = ()
    """Sorted; none where the base has all of them."""
    resolved: str = ""
    """The day on which this was found."""


@dataclass(frozen=True, slots=True)
class Lock:
    entries: Mapping[str, LockEntry] = field(default_factory=dict)
    """Bases, by `<board>/<base>`."""
    files: Mapping[str, LockEntry] = field(default_factory=dict)
    """Other published files, by `<what>/<version or channel>/<architecture>`."""
    packages: Mapping[str, tuple[PackageSet, ...]] = field(default_factory=dict)
    """By `<board>/<base>`; one for each set of names."""

    def with_entry(self, board: str, base: str, entry: LockEntry) -> Lock:
        return replace(self, entries={**self.entries, f"{board}/{base}": entry})

    def with_file(self, name: str, entry: LockEntry) -> Lock:
        return replace(self, files={**self.files, name: entry})

    def with_packages(self, board: str, base: str, found: PackageSet) -> Lock:
        """In the place of what was found for the same names."""
        name = f"{board}/{base}"
        others = [one for one in self.packages.get(name, ()) if one.wanted != found.wanted]
        sets = tuple(sorted((*others, found), key=lambda one: one.wanted))
        return replace(self, packages={**self.packages, name: sets})

    def packages_for(self, board: str, base: str, wanted: Collection[str]) -> PackageSet | None:
        """What was found for these names, on whatever bytes of the base."""
        asked = tuple(sorted(set(wanted)))
        return next((one for one in self.packages.get(f"{board}/{base}", ()) if one.wanted == asked), None)


NO_LOCK = Lock()


def counting(base: Base, lock: Lock, board: str, shipped: Lock = NO_LOCK) -> tuple[LockEntry | None, bool]:
    """The entry that says what `board`/`base` is, and whether it is the shipped one; None when nothing is locked."""
    name = f"{board}/{base.name}"
    own, entry = lock.entries.get(name), shipped.entries.get(name)
    if own is not None:
        return own, False
    if entry is None or not isinstance(base.source, HttpSource):
        return None, False
    # Somebody's own base of a shipped one's name is not what was locked here.
    fits = entry.address == base.source.url and base.source.digest is None
    return (entry, True) if fits else (None, False)


def locked(base: Base, lock: Lock, board: str, shipped: Lock = NO_LOCK) -> Base:
    """`base` with what the locks know about `board`/`base` in its source; unchanged when they know nothing."""
    entry, _ = counting(base, lock, board, shipped)
    if entry and isinstance(base.source, DebianSource):
        return replace(base, source=replace(base.source, state=entry.packages))
    if entry is None or not isinstance(base.source, HttpSource):
        return base
    return replace(base, source=_pinned(base.source, entry))


def _pinned(source: HttpSource, entry: LockEntry) -> HttpSource:
    # Mirrors are of the profile's URL, not of another file that the lock names.
    mirrors = source.mirrors if entry.url in ("", source.url) else ()
    signature = source.signature
    if signature and entry.signature_url:
        signature = replace(signature, url=entry.signature_url)
    return replace(
        source,
        url=entry.url or source.url,
        mirrors=(*mirrors, *([entry.mirror] if entry.mirror else [])),
        digest=entry.digest or source.digest,
        size=entry.size or source.size,
        raw_digest=entry.raw_digest or source.raw_digest,
        raw_size=entry.raw_size or source.raw_size,
        checksums_url=entry.checksums_url or source.checksums_url,
        signature=signature,
        released=entry.released or source.released,
        follow=None,  # where newer ones are found changes nothing in what is made of this one
        unchecked=entry.unchecked if entry.digest else source.unchecked,
    )


def entry_of(base: Base, obtained: ObtainedBase, today: str = "", packages: str = "") -> LockEntry:
    """What to lock of a base that was just obtained, on the day `today`; `packages` = its state, where it has one."""
    url = base.source.url if isinstance(base.source, HttpSource) else ""
    origin = {"digest": obtained.trust} if url else {}
    return LockEntry(
        url=url,
        size=obtained.published_size,
        digest=obtained.published,
        raw_size=obtained.size,
        raw_digest=obtained.digest,
        released=obtained.epoch,
        packages=packages,
        address=url,
        resolved=today,
        origin=origin,
    )


def same_release(one: LockEntry, other: LockEntry) -> bool:
    """Whether both are about the same bytes, as far as they tell."""
    if one.digest and other.digest:
        return one.digest == other.digest
    return bool(one.url) and (one.url, one.version) == (other.url, other.version)


def merged(found: LockEntry, before: LockEntry) -> LockEntry:
    """`found`, with what `before` knew of the same release and `found` does not tell, or not as well."""
    if not same_release(found, before):
        return found
    better = {
        name
        for name in ("size", "digest", "raw_size", "raw_digest", "released", "fingerprint", "version", "mirror")
        if not getattr(found, name) and getattr(before, name)
    }
    if before.mirror and before.mirror == found.url:  # this time the address that stays was not looked for
        better |= {"url", "mirror", "version", "released"}
    # A digest and what is known of who vouched for it go together: an unchecked one stays unchecked.
    if before.digest and (not found.digest or (found.unchecked and not before.unchecked)):
        better |= {"digest", "fingerprint", "unchecked"}
    kept = {name: getattr(before, name) for name in better}
    origin = {**found.origin, **{name: before.origin[name] for name in better if name in before.origin}}
    return replace(found, **kept, origin=origin)


def told_anew(found: LockEntry, before: LockEntry) -> bool:
    """Whether `found` says anything that `before` does not; the day and the history are no news."""
    return replace(found, resolved="", earlier=()) != replace(before, resolved="", earlier=())


def succeeding(found: LockEntry, before: LockEntry) -> LockEntry:
    """`found` as it stands in the place of `before`: that joins the earlier ones, where it was about other bytes."""
    earlier = before.earlier
    if replace(before, earlier=()) != NO_ENTRY and (before.packages, before.url, before.digest) != (
        found.packages,
        found.url,
        found.digest,
    ):
        earlier = (replace(before, earlier=()), *earlier)
    return replace(found, earlier=earlier[:KEPT])
