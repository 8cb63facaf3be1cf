"""Why a published file will be trusted, decided before it is fetched: its digest, its signature, or nothing.

A digest that nobody vouched for yet (`HttpSource.unchecked`) is not enough where there is a signature: both must hold,
once; then the cache remembers who signed. Called by `obtain`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from imagesmith.errors import ContentMalformed, DigestMismatch, SourceUnreachable
from imagesmith.events import Listener, Noted, Warned
from imagesmith.formats import checksums
from imagesmith.formats.indexes.newest import file_name
from imagesmith.model import Digest, HttpSource, Signature
from imagesmith.sources.cache import PART_KIND, Cache, CacheEntry
from imagesmith.sources.fetch import Patience, fetch_small
from imagesmith.sources.keys import Keys

KIND = PART_KIND
REPLACED = "it was altered, or the publisher replaced it: see the publisher's page, or run `imagesmith update`"


@dataclass(frozen=True, slots=True)
class Promise:
    """What is known about a published file before it is there."""

    digest: Digest | None
    """None = only known once the file is there."""
    trust: str
    reference: str
    """Name in the cache of what this promise last became."""
    signature: Signature | None = None
    """To be checked over the file itself."""


@dataclass(frozen=True, slots=True)
class Way:
    """What every step of getting a base needs."""

    cache: Cache
    listener: Listener
    patience: Patience
    keys: Keys
    refresh: bool


def promise_of(source: HttpSource, insecure: bool, way: Way) -> Promise:
    """Why the file will be trusted; the order is the profile's digest, the publisher's signature, `insecure`.

    Raises DigestMismatch where nothing vouches for it, and what fetching and checking a signed list raise.
    """
    signature, reference = source.signature, reference_of(source, insecure)
    if source.digest and source.unchecked:
        return _unchecked(source, source.digest, reference, insecure, way)
    if source.digest:
        return Promise(source.digest, f"{source.digest.algorithm} pinned by profile or lock", reference)
    if signature and signature.covers == "file":
        return Promise(None, "", reference, signature)
    if source.checksums_url and (signature or insecure):
        return _listed(source, signature, reference, way)
    if insecure:
        way.listener(Warned(f"{source.url} is taken unverified: nobody vouches for its bytes"))
        return Promise(None, "not verified (--insecure-unverified)", reference)
    why = "its publisher's checksum list is not signed" if source.checksums_url else "no digest is known for it"
    raise DigestMismatch(
        f"cannot be verified: {why}",
        where=source.url,
        hint="give its digest in the profile; or take it unverified: --insecure-unverified, which with "
        "`imagesmith update` pins what comes now for all later builds",
    )


def check_file(promise: Promise, ring: Path | None, path: Path, url: str, way: Way) -> str:
    """Why the whole file at `path` is trusted, after its own signature, if it has one, was checked."""
    if promise.signature is None or ring is None:
        return promise.trust
    detached = fetch_small(promise.signature.url, patience=way.patience)
    signer = way.keys.signer(path, detached, promise.signature, ring, url)
    if promise.digest is None:
        return f"signed by {signer}"
    remember(promise.digest, signer, way.cache)
    return f"{promise.trust}, and signed by {signer}"


def reference_of(source: HttpSource, insecure: bool) -> str:
    """The name in the cache of what a file of this address, trusted in this way, last became."""
    signature = source.signature
    voucher = f"{signature.url} {' '.join(sorted(signature.fingerprints))}" if signature else "nobody"
    name = hashlib.sha256(f"{source.url}\n{source.checksums_url}\n{voucher}\n{insecure}".encode()).hexdigest()
    return f"url-{name}"


def referred(reference: str, way: Way) -> CacheEntry | None:
    """What a reference names in the cache; None while the publisher shall be asked again."""
    key = None if way.refresh else way.cache.referred(reference)
    return way.cache.get(KIND, key, way.listener) if key else None


def vouched(digest: Digest, signature: Signature, cache: Cache) -> str:
    """The pinned key that vouched for the digest when it was first used; "" when none did yet."""
    known = (cache.referred(_vouched_name(digest)) or "").upper()
    return known if known in {one.replace(" ", "").upper() for one in signature.fingerprints} else ""


# -- ways to a promise ----------------------------------------------------------------------------


def _unchecked(source: HttpSource, digest: Digest, reference: str, insecure: bool, way: Way) -> Promise:
    """The digest comes from where nobody vouched for it: the publisher's signature must say the same, once."""
    signature, pinned = source.signature, f"{digest.algorithm} pinned by the lock"
    if signature is None:
        return Promise(digest, f"{pinned}, as its publisher's list had it, which nobody signs", reference)
    if insecure:
        way.listener(Warned(f"{source.url} is taken without its publisher's signature: its digest alone must hold"))
        return Promise(digest, f"{pinned}, its signature not checked (--insecure-unverified)", reference)
    if known := vouched(digest, signature, way.cache):
        return Promise(digest, f"{pinned}, and signed by {known}", reference)
    if signature.covers == "file":
        return Promise(digest, pinned, reference, signature)
    listed, signer = _list(source, signature, way)
    found = _digest_in(listed, source)
    if found != digest:
        raise DigestMismatch(
            f"its publisher's signed list has {found}, and the lock has {digest}, which nobody had checked",
            where=source.checksums_url,
            hint="take what the publisher signed: run `imagesmith update`",
        )
    remember(digest, signer, way.cache)
    return Promise(digest, f"{pinned}, and signed by {signer}", reference)


def _listed(source: HttpSource, signature: Signature | None, reference: str, way: Way) -> Promise:
    """The digest out of the publisher's checksum list; offline that which it said last time."""
    try:
        listed, signer = _list(source, signature, way)
    except SourceUnreachable as error:
        entry = referred(reference, way)
        if entry is None:
            raise
        way.listener(Noted(f"{error}; the image fetched before is used"))
        return Promise(Digest.parse(str(entry.facts["published"])), str(entry.facts["trust"]), reference)
    trust = f"signed by {signer}" if signer else "not signed (--insecure-unverified)"
    return Promise(_digest_in(listed, source), f"in the publisher's checksum list, {trust}", reference)


def _list(source: HttpSource, signature: Signature | None, way: Way) -> tuple[bytes, str]:
    """The publisher's checksum list and who signed it, "" without a signature."""
    ring = way.keys.ring(signature, source.checksums_url, fresh=way.refresh) if signature else None
    text = fetch_small(source.checksums_url, patience=way.patience)
    if signature is None or ring is None:
        return text, ""
    detached = fetch_small(signature.url, patience=way.patience)
    with way.cache.scratch("list", reference_of(source, False)) as folder:
        path = folder / "checksums"
        path.write_bytes(text)
        return text, way.keys.signer(path, detached, signature, ring, source.checksums_url)


def _digest_in(listed: bytes, source: HttpSource) -> Digest:
    try:
        return checksums.digest_for(listed.decode("utf-8", "replace"), file_name(source.url))
    except ContentMalformed as error:
        error.where = error.where or source.checksums_url
        raise


# -- what the cache remembers ---------------------------------------------------------------------


def remember(digest: Digest, signer: str, cache: Cache) -> None:
    """Let `vouched` know that the key `signer` was found to vouch for the digest."""
    cache.refer(_vouched_name(digest), signer.lower())


def _vouched_name(digest: Digest) -> str:
    return f"vouched-{digest.algorithm}-{digest.hex[:96]}"
