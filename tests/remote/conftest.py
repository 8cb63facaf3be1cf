"""One machine that is reached over SSH, for tests that look only at the way there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from remote.machines import SSHD, Machine, machines


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    if not SSHD:
        pytest.skip("sshd is not installed")
    with machines(tmp_path, {"node-1": "server"}) as found:
        yield found["node-1"]
