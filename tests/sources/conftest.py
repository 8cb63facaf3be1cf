"""What the tests of sources share: a publisher, a cache of their own, disk images of random bytes."""

from __future__ import annotations

import lzma
import random
from pathlib import Path

import pytest
from publishers.fixtures import key, listening, publisher, server, signer

from imagesmith.sources.cache import Cache

__all__ = ["cache", "image", "key", "listening", "packed", "publisher", "server", "signer"]


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


@pytest.fixture
def packed(image: bytes) -> bytes:
    """The image as xz."""
    return lzma.compress(image, preset=0)
