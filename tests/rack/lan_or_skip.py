"""A network for guests, in a test that is skipped where this machine makes none. For fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rack.network import Lan, NoNetwork


@contextmanager
def lan_or_skip(*, tells_time: bool = True) -> Iterator[Lan]:
    try:
        with Lan(tells_time=tells_time) as made:
            yield made
    except NoNetwork as error:
        pytest.skip(str(error))
