"""Follows a publisher's index to what its newest file is, as an entry for the lock, without fetching the image.

Called by `workflow.locking`. Who vouches for the digest is told with it: a checksum list that a pinned key signed, or
nobody yet (`unchecked`), and then `obtain` asks for the signature before the first use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from imagesmith.errors import ContentMalformed, ImagesmithError
from imagesmith.formats import checksums
from imagesmith.formats.indexes import armbian, raspberrypi, sums
from imagesmith.formats.indexes.newest import Newest, file_name, text_of
from imagesmith.model import Base, Follow, HttpSource, Signature
from imagesmith.sources.asking import Asking
from imagesmith.sources.cache import Cache
from imagesmith.sources.keys import Keys
from imagesmith.sources.lock_entry import NO_ENTRY, LockEntry
from imagesmith.sources.verify import Signed


def asking_for(bases: Sequence[Base]) -> tuple[list[str], list[str]]:
    """The indexes that these bases need, and the signatures of checksum lists among them: for an `Asking`."""
    followed = [base.source for base in bases if isinstance(base.source, HttpSource) and base.source.follow]
    needed = [source.follow.index for source in followed if source.follow]
    return needed, [signature.url for source in followed if (signature := _over_list(source))]


def newest(
    base: Base,
    asking: Asking,
    keys: Keys,
    cache: Cache,
    *,
    today: str,
    known: LockEntry = NO_ENTRY,
    insecure: bool = False,
) -> LockEntry:
    """What to lock of a base that follows an index; `today` like `2026-11-23`, `known` = what is locked.

    `insecure` (--insecure-unverified) takes a digest that nobody vouched for as good. Raises SourceUnreachable,
    ContentMalformed for an index that is not what it should be, SignatureInvalid for a list that nobody pinned signed.
    """
    source = base.source
    assert isinstance(source, HttpSource) and source.follow is not None
    follow = source.follow
    try:
        if follow.publisher in ("raspberrypi", "armbian"):
            found, signed = _listed(source, follow, asking), None
        else:
            found, signed = _summed(source, follow, known, asking, keys, cache)
    except ImagesmithError as error:
        error.where = error.where or follow.index
        clause = f"while looking for the newest {base.name}"
        if clause in error.context:  # the same failure, of a file that several boards need
            raise
        raise error.within(clause) from error
    if _over_list(source) and signed is None and known.fingerprint and found.digest != known.digest:
        # Its server was asked enough, and what was vouched for is not given up for what nobody vouched for: next time.
        return known
    return _entry(source, found, signed, today, insecure)


def _listed(source: HttpSource, follow: Follow, asking: Asking) -> Newest:
    """Out of an index that describes images; the digest, where it is not in there, lies beside the image."""
    index = asking.need(follow.index)
    if follow.publisher == "armbian":
        found = armbian.newest(index, follow.choose)
    else:
        found = raspberrypi.newest(index, _without(follow.choose, "init_format"))
        _expect_setup(found, follow.choose.get("init_format", ""))
    if found.digest or not found.checksums_url:
        return found
    listed = asking.courtesy(found.checksums_url)
    if listed is None:
        return found
    try:
        digest = checksums.digest_for(text_of(listed, "the checksum file"), file_name(found.url))
    except ContentMalformed as error:
        error.where = error.where or found.checksums_url
        raise
    said = f"{found.checksums_url.rpartition('.')[2]} file beside it, unsigned"
    return replace(found, digest=digest, origin={**found.origin, "digest": said})


def _summed(
    source: HttpSource, follow: Follow, known: LockEntry, asking: Asking, keys: Keys, cache: Cache
) -> tuple[Newest, Signed | None]:
    """Out of a folder's checksum list, whose signature, where there is one, is checked before a word of it counts."""
    index = asking.need(follow.index)
    signature, name = _over_list(source), file_name(follow.index)
    signed = None
    if signature and not _is_checked(index, follow, known):
        signed = _signed(index, signature, follow.index, asking, keys, cache)
    origin = f"{name} signed by {signed.fingerprint}" if signed else f"{name} over https, unsigned"
    found = sums.newest(index, follow.index, follow.choose, origin)
    if signed and signed.at:
        said = {**found.origin, "released": f"the signature of {name}"}
        found = replace(found, released=signed.at, origin=said)
    dated = _dated(found, follow, asking)
    if signed and 0 < signed.at < dated.released:  # nobody signs the serial: it makes no list newer than it was signed
        return found, signed
    return dated, signed


def _is_checked(index: bytes, follow: Follow, known: LockEntry) -> bool:
    """Whether the list names what is locked, and that was found signed before: then it is not asked again."""
    found = sums.newest(index, follow.index, follow.choose, "")
    return bool(known.fingerprint) and not known.unchecked and found.digest == known.digest


def _signed(index: bytes, signature: Signature, where: str, asking: Asking, keys: Keys, cache: Cache) -> Signed | None:
    """Who signed the list; None where that is left to the first use. Raises SignatureInvalid."""
    detached = asking.wish(signature.url)
    if detached is None:
        return None
    ring = keys.ring(signature, where)
    with cache.scratch("list", "followed") as folder:
        path = folder / "checksums"
        path.write_bytes(index)
        return keys.signed(path, detached, signature, ring, where)


def _dated(found: Newest, follow: Follow, asking: Asking) -> Newest:
    """Under the address that stays, if the publisher tells it; the moving one with its digest is good, too."""
    url = sums.serial_url(follow.publisher, found.url, follow.choose)
    body = asking.courtesy(url) if url else None
    if body is None:
        return found
    try:
        return sums.dated(found, sums.serial_of(follow.publisher, body), follow.choose)
    except ContentMalformed:
        return found


def _entry(source: HttpSource, found: Newest, signed: Signed | None, today: str, insecure: bool) -> LockEntry:
    over_list = _over_list(source)
    vouched = signed is not None
    origin = dict(found.origin)
    if insecure and found.digest and not vouched:
        origin["digest"] += ", taken unverified (--insecure-unverified)"
    return LockEntry(
        url=found.url,
        size=found.size,
        digest=found.digest,
        raw_size=found.raw_size,
        raw_digest=found.raw_digest,
        released=found.released,
        address=source.url,
        mirror=found.mirror,
        checksums_url=found.checksums_url if over_list else "",
        signature_url="" if source.signature is None else over_list.url if over_list else found.signature_url,
        fingerprint=signed.fingerprint if signed else "",
        version=found.version,
        resolved=today,
        unchecked=found.digest is not None and not vouched and not insecure,
        origin=origin,
    )


def _expect_setup(found: Newest, expected: str) -> None:
    """The image's way of being set up must be one that the base's family knows, where the index tells it."""
    if expected and found.hint and found.hint not in expected.split():
        raise ContentMalformed(
            f"its publisher's newest image is set up by {found.hint!r} at its first boot, not by {expected!r}",
            hint="stay with the image that is locked, and look for a newer imagesmith, which may know how",
        )


def _over_list(source: HttpSource) -> Signature | None:
    """The signature, where it is one of the checksum list and not of the image."""
    return source.signature if source.signature and source.signature.covers == "checksums" else None


def _without(choose: Mapping[str, str], word: str) -> dict[str, str]:
    return {key: said for key, said in choose.items() if key != word}
