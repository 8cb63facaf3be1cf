"""Codecs are tried with drawn values; how long one takes on a busy machine proves nothing."""

from __future__ import annotations

from hypothesis import settings
from publishers.fixtures import signer  # noqa: F401

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
