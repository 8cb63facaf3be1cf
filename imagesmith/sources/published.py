"""A published file as it is, held to its digest: out of the cache, or fetched into it.

Called by `workflow.bases` for what is put into an image beside its base: k3s, its container images, packages.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from imagesmith.errors import DigestMismatch, ImagesmithError, SourceUnreachable
from imagesmith.events import Listener, Noted, StepFinished, StepStarted, unheard
from imagesmith.model import Digest
from imagesmith.sources.cache import PART_KIND, Cache, CacheEntry
from imagesmith.sources.disk import CHUNK, digest_of, failures
from imagesmith.sources.fetch import MOST, PATIENT, Patience, fetch
from imagesmith.sources.part import Part
from imagesmith.streams import Hashing, pieces
from imagesmith.units import show_size

KIND = "files"
CHANGED = "it was altered, or the publisher replaced it: see the publisher's page, or run `imagesmith update`"


def obtain_published(
    urls: Sequence[str],
    digest: Digest,
    size: int = 0,
    *,
    cache: Cache,
    listener: Listener = unheard,
    patience: Patience = PATIENT,
    plain: bool = False,
) -> CacheEntry:
    """The file of that digest, whatever address it came from; `urls` are asked in their order.

    `size` is what it must have, 0 = not known. `plain` lets it come over http: its digest holds it. Raises
    SourceUnreachable, DigestMismatch and its kinds, NoSpace, IOFailed.
    """
    with cache.hold(PART_KIND, digest.hex, listener):
        return cache.get(KIND, digest.hex, listener) or _bring(urls, digest, size, cache, listener, patience, plain)


def in_cache(digest: Digest, cache: Cache) -> bool:
    """Whether the file is in the cache, so that nothing is fetched. Looks only: no byte is compared."""
    return cache.has(KIND, digest.hex)


def _bring(
    urls: Sequence[str],
    digest: Digest,
    size: int,
    cache: Cache,
    listener: Listener,
    patience: Patience,
    plain: bool,
) -> CacheEntry:
    first: ImagesmithError | None = None
    with cache.scratch(KIND, digest.hex) as folder, Part(cache.part(digest.hex)) as part:
        for url in urls:
            try:
                listener(StepStarted("fetch", url))
                fetch(url, part, size=size, limit=size or MOST, patience=patience, listener=listener, plain=plain)
                made, heard = _copied(part, folder / "data", digest)
                if heard != digest:
                    raise DigestMismatch(f"its digest is {heard}, not {digest} as promised", where=url, hint=CHANGED)
                entry = cache.publish(KIND, digest.hex, folder / "data", made, {"url": url})
                part.discard()
                listener(StepFinished("fetch", f"{show_size(entry.size)}, {digest.algorithm} as pinned"))
                return entry
            except (SourceUnreachable, DigestMismatch) as error:
                if isinstance(error, DigestMismatch):
                    part.discard()
                listener(Noted(f"{error}"))
                first = first or error
    raise first or SourceUnreachable("no address is known for it", where=str(digest))


def _copied(part: Part, target: Path, promised: Digest) -> tuple[Digest, Digest]:
    """The whole download, copied to `target`: its sha256, and its digest of the algorithm that was promised."""
    with failures(target), part.path.open("rb") as source, target.open("wb") as copy:
        hashing = Hashing(source, promised.algorithm)
        for piece in pieces(hashing, CHUNK):
            copy.write(piece)
    heard = hashing.digest()
    if promised.algorithm == "sha256":
        return heard, heard
    descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        return digest_of(descriptor, os.fstat(descriptor).st_size), heard
    finally:
        os.close(descriptor)
