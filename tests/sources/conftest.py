"""What the tests of sources share: the loopback server, a cache of their own, disk images of random bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources.server import Server
from sources.signing import Signer

from imagesmith.sources.cache import Cache


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@pytest.fixture
def server(listening: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, trusted as a private CA is; requests go to it directly whatever proxy the machine has."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(listening.ca))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    listening.seen.clear()
    return listening


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    """Makes OpenPGP keys and signs with them; the tests that use it need gpg."""
    made = Signer(tmp_path_factory.mktemp("gpg"))
    yield made
    made.close()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def image() -> bytes:
    """A raw disk image: random bytes that pack to about half, runs of zeros, an odd size, a partition table's mark."""
    chance = random.Random(7)
    out = bytearray()
    for _ in range(5):
        out += chance.randbytes(90_000) + bytes(chance.choice((0, 4096, 70_000)))
        out += bytes(chance.choices(b"abcdefgh\x00\x01", k=90_000))
    out += chance.randbytes(1234)
    out[0:3] = b"\xeb\x63\x90"
    out[510:512] = b"\x55\xaa"
    return bytes(out)
