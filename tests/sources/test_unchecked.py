"""A digest that nobody vouched for: the publisher's signature must say the same before the first use, and once only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from publishers import houses
from publishers.houses import Key, Release
from publishers.server import Server

from imagesmith.errors import DigestMismatch, SignatureInvalid, SourceUnreachable
from imagesmith.model import Base, Digest, HttpSource, ObtainedBase
from imagesmith.sources.cache import Cache
from imagesmith.sources.fetch import Patience
from imagesmith.sources.obtain import in_cache, obtain_http

Lays = Callable[[bytes, Key], Release]
QUICK = Patience(attempts=1, pause_s=0.01, connect_s=2, stall_s=0.5, away_s=0)


def source_of(release: Release, server: Server, key: Key, digest: Digest) -> HttpSource:
    server.forget()
    release.put(server)
    return replace(release.source(server, key), digest=digest, unchecked=True)


def get(source: HttpSource, cache: Cache, key: Key, *, insecure: bool = False) -> ObtainedBase:
    keyrings = key.signer.keyring(key.fingerprint).parent
    base = Base("test", "debian", source)
    return obtain_http(base, cache=cache, patience=QUICK, keyrings=keyrings, insecure=insecure)


@pytest.mark.parametrize("lays", [houses.raspberry_pi, houses.armbian, houses.ubuntu])
def test_digest_and_signature_hold_and_that_is_told(
    lays: Lays, server: Server, cache: Cache, packed: bytes, image: bytes, key: Key
) -> None:
    got = get(source_of(lays(packed, key), server, key, Digest.of(packed)), cache, key)
    assert got.path.read_bytes() == image
    assert got.trust == f"sha256 pinned by the lock, and signed by {key.fingerprint}"


@pytest.mark.parametrize("lays", [houses.raspberry_pi, houses.ubuntu])
def test_the_cache_remembers_who_signed(lays: Lays, server: Server, cache: Cache, packed: bytes, key: Key) -> None:
    source = source_of(lays(packed, key), server, key, Digest.of(packed))
    first = get(source, cache, key)
    server.forget()
    assert get(source, Cache(cache.root), key).trust == first.trust
    assert server.seen == []


@pytest.mark.parametrize("lays", [houses.raspberry_pi, houses.ubuntu])
def test_a_signature_by_another_key_refuses_it(
    lays: Lays, server: Server, cache: Cache, packed: bytes, key: Key
) -> None:
    other = Key(key.signer, key.signer.make(f"stranger-{lays.__name__}"))
    source = source_of(lays(packed, other), server, key, Digest.of(packed))
    with pytest.raises(SignatureInvalid):
        get(source, cache, key)
    assert cache.entries() == ()


@pytest.mark.parametrize("lays", [houses.raspberry_pi, houses.ubuntu])
def test_a_signature_alone_is_not_enough(lays: Lays, server: Server, cache: Cache, packed: bytes, key: Key) -> None:
    source = source_of(lays(packed, key), server, key, Digest.of(b"another release"))
    with pytest.raises(DigestMismatch):
        get(source, cache, key)


def test_a_signed_list_that_says_otherwise_is_told_before_anything_is_fetched(
    server: Server, cache: Cache, packed: bytes, key: Key
) -> None:
    release = houses.ubuntu(packed, key)
    with pytest.raises(DigestMismatch, match=r"signed list has sha256:.* and the lock has"):
        get(source_of(release, server, key, Digest.of(b"x")), cache, key)
    assert server.asked(release.image) == 0


def test_without_the_signature_it_is_refused(server: Server, cache: Cache, packed: bytes, key: Key) -> None:
    release = houses.raspberry_pi(packed, key)
    source = source_of(release, server, key, Digest.of(packed))
    server.on(release.signature, lambda request: request.send_error(404))
    with pytest.raises(SourceUnreachable, match="404"):
        get(source, cache, key)


def test_it_can_be_taken_without_its_signature_by_name(server: Server, cache: Cache, packed: bytes, key: Key) -> None:
    release = houses.raspberry_pi(packed, key)
    source = source_of(release, server, key, Digest.of(packed))
    server.on(release.signature, lambda request: request.send_error(404))
    assert "not checked (--insecure-unverified)" in get(source, cache, key, insecure=True).trust


def test_what_was_taken_without_its_signature_is_not_good_enough_later(
    server: Server, cache: Cache, packed: bytes, key: Key
) -> None:
    release = houses.raspberry_pi(packed, key)
    source = source_of(release, server, key, Digest.of(packed))
    get(source, cache, key, insecure=True)
    assert not in_cache(source, cache)
    assert key.fingerprint in get(source, cache, key).trust
    assert in_cache(source, cache)
    assert server.asked(release.image) == 2


def test_a_key_that_is_pinned_no_more_vouches_no_more(server: Server, cache: Cache, packed: bytes, key: Key) -> None:
    release = houses.raspberry_pi(packed, key)
    source = source_of(release, server, key, Digest.of(packed))
    get(source, cache, key)
    assert source.signature
    other = replace(source, signature=replace(source.signature, fingerprints=("A" * 40,)))
    with pytest.raises(SignatureInvalid, match="not pinned"):
        get(other, cache, key)


def test_what_nobody_signs_is_trusted_by_its_digest_and_that_is_told(
    server: Server, cache: Cache, image: bytes, key: Key
) -> None:
    release = houses.debian(image)
    source = source_of(release, server, key, Digest.of(image))
    assert source.signature is None
    assert "which nobody signs" in get(source, cache, key).trust


def test_a_lists_digest_is_looked_up_in_the_cache_without_a_network(
    server: Server, cache: Cache, packed: bytes, key: Key, tmp_path: Path
) -> None:
    source = source_of(houses.ubuntu(packed, key), server, key, Digest.of(packed))
    get(source, cache, key)
    server.forget()
    assert in_cache(source, cache)
    assert not in_cache(source, Cache(tmp_path / "other"))
