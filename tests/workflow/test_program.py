"""k3s for nodes that run: held to its publisher's digest, pinned, and from then on taken from the cache."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from publishers.server import Server

from imagesmith.errors import DigestMismatch
from imagesmith.sources import lock
from imagesmith.sources.cache import Cache
from imagesmith.workflow.bases import Bases
from imagesmith.workflow.program import release_file

VERSION, FOLDER = "v1.37.1+k3s1", "/download/v1.37.1%2Bk3s1"
CONTENT = b"\x7fELF" + b"program" * 3000


@pytest.fixture
def inventory(server: Server, tmp_path: Path) -> Path:
    """With a publisher of its own beside it."""
    server.forget()
    server.file(f"{FOLDER}/k3s-arm64", CONTENT)
    server.file(f"{FOLDER}/sums.txt", f"{hashlib.sha256(CONTENT).hexdigest()}  k3s-arm64\n".encode())
    releases = tmp_path / "profiles" / "releases"
    releases.mkdir(parents=True)
    names = "{amd64: k3s, arm64: k3s-arm64}"
    (releases / "k3s.yaml").write_text(
        f"schema: 1\nchannels: {server.url('/channels/{channel}')}\nfiles: {server.url('/download/{version}/')}\n"
        f"sums: {{amd64: sums.txt, arm64: sums.txt}}\nprogram: {names}\nimages: {names}\n"
    )
    return tmp_path / "cluster.yaml"


def got(inventory: Path) -> bytes:
    folder = inventory.parent
    with Bases(Cache(folder / "cache"), insecure=False, listener=lambda event: None) as bases:
        return release_file("program", str(inventory), VERSION, "arm64", folder / "imagesmith.lock", bases).read_bytes()


def test_it_is_fetched_and_pinned_by_its_version(inventory: Path) -> None:
    assert got(inventory) == CONTENT
    entry = lock.read(inventory.parent / "imagesmith.lock").files[f"k3s/{VERSION}/arm64"]
    assert entry.digest and entry.digest.hex == hashlib.sha256(CONTENT).hexdigest()


def test_its_container_images_are_pinned_by_the_same_release(inventory: Path) -> None:
    folder = inventory.parent
    with Bases(Cache(folder / "cache"), insecure=False, listener=lambda event: None) as bases:
        path = release_file("images", str(inventory), VERSION, "arm64", folder / "imagesmith.lock", bases)
        assert path.read_bytes() == CONTENT
    assert list(lock.read(folder / "imagesmith.lock").files) == [f"k3s-images/{VERSION}/arm64"]


def test_a_second_time_nobody_is_asked(inventory: Path, server: Server) -> None:
    got(inventory)
    asked = len(server.seen)
    assert got(inventory) == CONTENT
    assert len(server.seen) == asked


def test_other_bytes_than_the_pinned_ones_are_refused(inventory: Path, server: Server) -> None:
    got(inventory)
    for path in (inventory.parent / "cache").rglob("*"):
        if path.is_file():
            path.unlink()
    server.file(f"{FOLDER}/k3s-arm64", CONTENT[:-1] + b"X")
    with pytest.raises(DigestMismatch):
        got(inventory)
