"""For all tests: in CI nothing is skipped silently, since a lane that skips proves nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

DENIED = "growing mounted file systems is denied here"
"""The one reason that CI takes: a sandbox without CAP_SYS_RESOURCE. The same is then proven in a guest (boot lane)."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if (
        os.environ.get("CI")
        and report.skipped
        and not hasattr(report, "wasxfail")
        and DENIED not in str(report.longrepr)
    ):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not take: {report.longrepr}"
    return report
