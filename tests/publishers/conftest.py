"""A publisher, and a cache to fetch into."""

from publishers.fixtures import key, listening, publisher, server, signer
from sources.conftest import cache, image, packed

__all__ = ["cache", "image", "key", "listening", "packed", "publisher", "server", "signer"]
