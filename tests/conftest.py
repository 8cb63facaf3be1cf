"""For all tests: in CI nothing is skipped silently, since a lane that skips proves nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Started in the background of a script, or by nohup, we and our children would inherit that signals are ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

ACCEPTED = ("growing mounted file systems is denied here", "the archive changed in between")
"""The reasons that CI takes: a sandbox without CAP_SYS_RESOURCE (the boot lane's guests show it then), and two looks at
Debian's archive with a change between them."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    if os.environ.get("CI") and report.skipped and not _accepted(report):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not take: {report.longrepr}"
    return report


def _accepted(report: Any) -> bool:
    return hasattr(report, "wasxfail") or any(reason in str(report.longrepr) for reason in ACCEPTED)


class Together(LoadScopeScheduling):
    """Tests of one lane, that look at what it booted, or at one wheel, go to one worker; all others to whoever is free.

    By their path: the groups of pytest-xdist 3.8 are lost on pytest 9.2, whose nodes have their names for good.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        if path.startswith("tests/lanes/whole_rack/"):
            return "tests/lanes/whole_rack"
        return path if path.startswith(("tests/lanes/", "tests/test_wheel")) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together | None:
    return Together(config, log) if config.getvalue("dist") == "loadgroup" else None
