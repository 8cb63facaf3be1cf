"""The policy of getting a base: which bytes are trusted and why, what the cache already has, what must be fetched.

Why a published file is trusted is decided in `promise`. Download, digest, expansion and the digest of the raw image run
side by side; nothing gets its name in the cache before all checks are done. Called by `workflow`.
"""

from __future__ import annotations

import os
from pathlib import Path

from imagesmith import resources
from imagesmith.errors import (
    DigestMismatch,
    ImagesmithError,
    SourceUnreachable,
    UsageError,
)
from imagesmith.events import Listener, Noted, Progress, StepFinished, StepStarted, unheard
from imagesmith.model import Base, Digest, FileSource, HttpSource, ObtainedBase
from imagesmith.sources.cache import Cache, CacheEntry
from imagesmith.sources.decompress import MOST, Expanded, expand
from imagesmith.sources.disk import CHUNK, failures
from imagesmith.sources.fetch import PATIENT, Patience, fetch
from imagesmith.sources.keys import Keys
from imagesmith.sources.part import Part
from imagesmith.sources.pipeline import Expansion
from imagesmith.sources.promise import (
    KIND,
    REPLACED,
    Promise,
    Way,
    check_file,
    promise_of,
    reference_of,
    referred,
    vouched,
)
from imagesmith.streams import Hashing, pieces
from imagesmith.units import show_size


def obtain_http(
    base: Base,
    *,
    cache: Cache,
    insecure: bool = False,
    refresh: bool = False,
    listener: Listener = unheard,
    patience: Patience = PATIENT,
    keyrings: Path | None = None,
) -> ObtainedBase:
    """The verified raw image of a base whose source is an HttpSource, out of the cache or fetched into it.

    `insecure` (--insecure-unverified) takes a file that nothing vouches for. `refresh` asks the publisher what the file
    is now, where no digest is pinned; without it what is in the cache is good. `keyrings` = the project's own folder.
    `epoch` is the source's `released`, else when the server says it was last modified, else 0.
    Raises SourceUnreachable, DigestMismatch and its kinds, NoSpace, IOFailed.
    """
    source = base.source
    if not isinstance(source, HttpSource):
        raise UsageError(f"base {base.name} is not fetched over https")
    keys = Keys(lambda: keyrings or resources.folder("keyrings"), cache, patience, listener)
    way = Way(cache, listener, patience, keys, refresh)
    try:
        promise = promise_of(source, insecure, way)
        entry = _cached(promise, way)
        if entry is None:
            with cache.hold(KIND, _key(promise), listener):
                # Another process may have made it while we waited.
                entry = _cached(promise, way) or _bring(source, promise, way)
    except ImagesmithError as error:
        raise error.within(f"while getting base {base.name}") from error
    _check_raw(source, entry)
    # Where the file's own signature had to be asked, the entry says what came of it.
    return _obtained(entry, "" if promise.signature else promise.trust, source.released)


def in_cache(source: HttpSource, cache: Cache) -> bool:
    """Whether the image is in the cache, so that a build fetches nothing, or just a checksum list to compare it with.

    Looks only: no byte is compared, no network asked.
    """
    signature = source.signature
    if source.digest and source.unchecked and signature and signature.covers == "file":
        return bool(vouched(source.digest, signature, cache)) and cache.has(KIND, source.digest.hex)
    # What nobody vouches for is only ever there as taken with `insecure`.
    reference = reference_of(source, insecure=source.signature is None)
    key = source.digest.hex if source.digest else cache.referred(reference)
    return bool(key) and cache.has(KIND, key or "")


def obtain_file(base: Base, *, cache: Cache, listener: Listener = unheard) -> ObtainedBase:
    """The raw image of a base whose source is a FileSource: a local file, compressed or not.

    `epoch` is 0. Raises DigestMismatch, ContentMalformed, UsageError when it is not there, NoSpace, IOFailed.
    """
    source = base.source
    if not isinstance(source, FileSource):
        raise UsageError(f"base {base.name} is not a local file")
    path = _local(source.path)
    trust = "local file of pinned digest" if source.digest else "local file, taken as it is"
    try:
        with failures(path, "reading"):
            before = path.stat()
        published = _digest_file(path, source.digest.algorithm if source.digest else "sha256", listener)
        if source.digest and published != source.digest:
            raise _mismatch(published, source.digest, str(path))
        with cache.hold(KIND, published.hex, listener):
            entry = cache.get(KIND, published.hex, listener) or _expand_file(
                path, before, published, trust, cache, listener
            )
    except ImagesmithError as error:
        raise error.within(f"while getting base {base.name}") from error
    return _obtained(entry, trust, 0)


# -- what is there --------------------------------------------------------------------------------


def _cached(promise: Promise, way: Way) -> CacheEntry | None:
    if promise.digest and promise.signature and not vouched(promise.digest, promise.signature, way.cache):
        return None
    if promise.digest:
        return way.cache.get(KIND, promise.digest.hex, way.listener)
    return referred(promise.reference, way)


def _key(promise: Promise) -> str:
    return promise.digest.hex if promise.digest else promise.reference


# -- bringing -------------------------------------------------------------------------------------


def _bring(source: HttpSource, promise: Promise, way: Way) -> CacheEntry:
    """Fetch from the URL, else from its mirrors in order, and file the raw image in the cache."""
    # Before the download of minutes, and not when the image is in the cache.
    ring = way.keys.ring(promise.signature, source.url, fresh=way.refresh) if promise.signature else None
    first: ImagesmithError | None = None
    with way.cache.scratch(KIND, _key(promise)) as folder, Part(way.cache.part(_key(promise))) as part:
        for url in (source.url, *source.mirrors):
            try:
                return _bring_from(url, source, promise, ring, part, folder / "raw", way)
            except (SourceUnreachable, DigestMismatch) as error:
                if isinstance(error, DigestMismatch):
                    part.discard()
                way.listener(Noted(f"{error}"))
                first = first or error
    assert first is not None
    raise first


def _bring_from(
    url: str, source: HttpSource, promise: Promise, ring: Path | None, part: Part, raw: Path, way: Way
) -> CacheEntry:
    algorithm = promise.digest.algorithm if promise.digest else "sha256"
    way.listener(StepStarted("fetch", url))
    expansion = Expansion(part, raw, algorithm, source.raw_size or MOST, url)
    with expansion:
        fetch(url, part, size=source.size, patience=way.patience, listener=way.listener)
    published, expanded = expansion.result(lambda done: way.listener(Progress("expand", done, source.raw_size)))
    if promise.digest and published != promise.digest:
        raise _mismatch(published, promise.digest, url)
    _check_expanded(source, expanded, url)
    trust = check_file(promise, ring, part.path, url, way)
    facts = {**_facts(published, part.size, expanded, trust, url), "modified": part.modified}
    entry = way.cache.publish(KIND, published.hex, raw, expanded.digest, facts)
    way.cache.refer(promise.reference, published.hex)
    way.listener(StepFinished("fetch", f"{show_size(part.size)}, expanded to {show_size(expanded.size)}; {trust}"))
    part.discard()
    return entry


def _check_expanded(source: HttpSource, expanded: Expanded, url: str) -> None:
    if source.raw_size and expanded.size != source.raw_size:
        raise DigestMismatch(
            f"expands to {expanded.size} bytes, {source.raw_size} were promised", where=url, hint=REPLACED
        )
    if source.raw_digest and source.raw_digest.algorithm == "sha256" and expanded.digest != source.raw_digest:
        raise _mismatch(expanded.digest, source.raw_digest, f"{url} (expanded)")


def _check_raw(source: HttpSource, entry: CacheEntry) -> None:
    """The profile's word about the raw image holds for what comes out of the cache too."""
    _check_expanded(source, Expanded(entry.size, entry.digest, "raw"), source.url)


def _local(written: str) -> Path:
    """The file that a path means. Raises UsageError when there is none."""
    try:
        path = Path(written).expanduser()
    except RuntimeError as error:
        user = written.partition("/")[0]
        raise UsageError(f"there is no user for {user}", where=written, hint="correct the path of the image") from error
    if not path.is_file():
        raise UsageError("there is no such file", where=str(path), hint="correct the path of the image")
    return path


def _expand_file(
    path: Path, before: os.stat_result, published: Digest, trust: str, cache: Cache, listener: Listener
) -> CacheEntry:
    """`before` was asked before the file was digested: what changes after that is noticed."""
    listener(StepStarted("expand", str(path)))
    with cache.scratch(KIND, published.hex) as folder:
        expanded = expand(path, folder / "raw", listener=listener)
        after = path.stat()
        if (before.st_mtime_ns, before.st_size, before.st_ino) != (after.st_mtime_ns, after.st_size, after.st_ino):
            raise DigestMismatch("was changed while it was read", where=str(path), hint="run the same command again")
        facts = _facts(published, before.st_size, expanded, trust, "")
        entry = cache.publish(KIND, published.hex, folder / "raw", expanded.digest, facts)
    listener(StepFinished("expand", show_size(expanded.size)))
    return entry


def _digest_file(path: Path, algorithm: str, listener: Listener) -> Digest:
    total, done = path.stat().st_size, 0
    with failures(path, "reading"), path.open("rb") as file:
        hashing = Hashing(file, "sha512" if algorithm == "sha512" else "sha256")
        for piece in pieces(hashing, CHUNK):
            done += len(piece)
            listener(Progress("digest", done, total))
        return hashing.digest()


def _facts(published: Digest, size: int, expanded: Expanded, trust: str, url: str) -> dict[str, object]:
    return {
        "published": str(published),
        "published_size": size,
        "format": expanded.format,
        "trust": trust,
        "url": url,
    }


def _obtained(entry: CacheEntry, trust: str, epoch: int) -> ObtainedBase:
    published = Digest.parse(str(entry.facts["published"]))
    modified = entry.facts.get("modified")
    epoch = epoch or (modified if isinstance(modified, int) else 0)
    return ObtainedBase(
        entry.path,
        entry.size,
        entry.digest,
        published,
        epoch,
        trust or str(entry.facts["trust"]),
        published_size=int(str(entry.facts.get("published_size", 0))),
    )


def _mismatch(found: Digest, promised: Digest, where: str) -> DigestMismatch:
    return DigestMismatch(f"its digest is {found}, not {promised} as promised", where=where, hint=REPLACED)
