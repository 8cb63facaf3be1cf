"""The fixtures of everybody who needs a publisher: a server on loopback, a maker of keys, a key that publishes.

A conftest.py takes those it wants: `from publishers.fixtures import key, listening, publisher, server, signer`.
Where things lie on a server, and how they are signed, is in `publishers.houses`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from publishers.houses import Key
from publishers.server import Server
from publishers.signing import Signer


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@pytest.fixture
def server(listening: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, trusted as a private CA is; requests go to it directly whatever proxy the machine has.

    A module's tests share it: what it answers stays, what it was asked begins anew.
    """
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(listening.ca))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    listening.seen.clear()
    return listening


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    """Makes OpenPGP keys and signs with them, in a home of its own."""
    if not shutil.which("gpg"):
        pytest.skip("gpg makes the tests' keys")
    made = Signer(tmp_path_factory.mktemp("gpg"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def publisher(signer: Signer) -> str:
    """The fingerprint of the key that publishes."""
    return signer.make("publisher")


@pytest.fixture
def key(signer: Signer, publisher: str) -> Key:
    """The publisher's key, with the maker of keys."""
    return Key(signer, publisher)
