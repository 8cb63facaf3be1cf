"""For all tests: in CI nothing is skipped silently, since a lane that skips proves nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

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
