"""A publisher, and a cache to fetch into."""

from publishers.fixtures import listening, publisher, server, signer
from sources.conftest import cache, image

__all__ = ["cache", "image", "listening", "publisher", "server", "signer"]
