"""For the fault lane: its ground, made once for each worker, and the count of what was tried."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faults.lane import Lane, lane_in

_TRIED, _SILENT = "faults tried", "silent successes"


@pytest.fixture(scope="session")
def _ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    with lane_in(tmp_path_factory.mktemp("lane")) as lane:
        yield lane


@pytest.fixture
def lane(_ground: Lane, record_property: object) -> Iterator[Lane]:
    """A good card full of other data; afterwards the canary must be unchanged."""
    _ground.restore()
    _ground.tried = _ground.silent = 0
    yield _ground
    _ground.card.wake()
    record_property(_TRIED, _ground.tried)  # type: ignore[operator]
    record_property(_SILENT, _ground.silent)  # type: ignore[operator]
    assert _ground.canary_is_unchanged(), "a disk that nobody named was written"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        one for many in terminalreporter.stats.values() for one in many if getattr(one, "when", "") == "teardown"
    ]
    found = [value for one in reports for value in one.user_properties]
    tried, silent = (sum(int(count) for name, count in found if name == wanted) for wanted in (_TRIED, _SILENT))
    if tried:
        terminalreporter.write_line(f"faults tried: {tried}, {_SILENT}: {silent}")
