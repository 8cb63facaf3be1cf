"""The self-test of a board that QEMU is: every step passes, the boot too."""

from __future__ import annotations

import pytest
from lanes.conftest import Program

from imagesmith.planning.trial import STEPS

pytestmark = [pytest.mark.boot, pytest.mark.archive]


def test_every_step_of_a_selftest_passes_and_nothing_is_left_to_hardware(imagesmith: Program) -> None:
    trial = imagesmith("selftest", "qemu-x86", "--json").result
    assert [(step["step"], step["state"]) for step in trial["steps"]] == [(name, "passed") for name in STEPS]
    assert trial["hardware"] == []
    assert trial["kept"] == ""
