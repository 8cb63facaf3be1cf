"""The publishers of the tests publish what sha256sum, gpg and imagesmith take for a release."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from publishers import houses
from publishers.houses import Key, Release
from publishers.server import Server

from imagesmith.errors import DigestMismatch, SignatureInvalid
from imagesmith.formats.checksums import digest_for
from imagesmith.model import Base, Digest, HttpSource, ObtainedBase
from imagesmith.sources.cache import Cache
from imagesmith.sources.fetch import Patience
from imagesmith.sources.obtain import obtain_http

QUICK = Patience(attempts=2, pause_s=0.01, connect_s=2, stall_s=0.5)
SIGNED = [houses.raspberry_pi, houses.armbian, houses.ubuntu]
Lays = Callable[[bytes, Key], Release]


def debian(packed: bytes, _: Key) -> Release:
    return houses.debian(packed)


def get(source: HttpSource, cache: Cache, key: Key) -> ObtainedBase:
    keyrings = key.signer.keyring(key.fingerprint).parent
    return obtain_http(Base("test", "debian", source), cache=cache, patience=QUICK, keyrings=keyrings)


@pytest.mark.parametrize("lays", [*SIGNED, debian])
def test_coreutils_find_the_image_as_its_list_says(lays: Lays, packed: bytes, key: Key, tmp_path: Path) -> None:
    release = lays(packed, key)
    checksums = release.redirects.get(release.checksums, release.checksums)
    name = Path(release.address if release.address in release.files else release.image).name
    text = release.files[checksums].decode()
    assert digest_for(text, name).hex in text
    # Armbian's single space is a dialect of its own; coreutils want two.
    spaced = "".join(f"{digest}  {listed.lstrip('*')}\n" for digest, listed in map(str.split, text.splitlines()))
    (tmp_path / name).write_bytes(packed)
    tool = "sha512sum" if "SHA512" in checksums else "sha256sum"
    argv = [tool, "--check", "--strict", "--ignore-missing"]
    assert subprocess.run(argv, input=spaced.encode(), cwd=tmp_path, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("lays", SIGNED)
def test_a_signed_release_is_obtained(
    lays: Lays, server: Server, cache: Cache, packed: bytes, image: bytes, key: Key
) -> None:
    release = lays(packed, key)
    release.put(server)
    got = get(release.source(server, key), cache, key)
    assert got.path.read_bytes() == image
    assert key.fingerprint in got.trust
    assert server.asked(release.image) == 1


@pytest.mark.parametrize("lays", SIGNED)
def test_a_release_that_another_key_signed_is_refused(
    lays: Lays, server: Server, cache: Cache, packed: bytes, key: Key
) -> None:
    release = lays(packed, Key(key.signer, key.signer.make(f"intruder-{lays.__name__}")))
    release.put(server)
    with pytest.raises(SignatureInvalid):
        get(release.source(server, key), cache, key)


@pytest.mark.parametrize("lays", SIGNED)
def test_an_image_that_was_changed_on_the_server_is_refused(
    lays: Lays, server: Server, cache: Cache, packed: bytes, key: Key
) -> None:
    release = lays(packed, key)
    replace(release, files={**release.files, release.image: packed[:-1] + b"?"}).put(server)
    with pytest.raises((SignatureInvalid, DigestMismatch)):
        get(release.source(server, key), cache, key)


def test_what_nobody_signed_is_taken_by_its_digest_alone(
    server: Server, cache: Cache, image: bytes, packed: bytes, key: Key
) -> None:
    release = houses.debian(packed)
    release.put(server)
    source = release.source(server)
    with pytest.raises(DigestMismatch, match="is not signed"):
        get(source, cache, key)
    got = get(replace(source, digest=Digest.of(packed)), cache, key)
    assert got.path.read_bytes() == image


def test_a_moving_address_leads_to_the_image(server: Server, cache: Cache, packed: bytes, key: Key) -> None:
    release = houses.armbian(packed, key)
    release.put(server)
    get(release.source(server, key), cache, key)
    assert [server.asked(path) for path in (release.address, release.image)] == [1, 1]


def test_a_fault_that_passes_is_got_over(server: Server, cache: Cache, packed: bytes, key: Key) -> None:
    release = houses.raspberry_pi(packed, key)
    release.put(server)
    server.at_first(release.image, lambda request: request.send_error(503))
    get(release.source(server, key), cache, key)
    assert server.asked(release.image) == 2
