"""Cards that are slow, or stand still: progress is honest, memory stays free, and Ctrl-C is answered."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from faults.disks import BLOCK, dirty_disk, listed, loop_device
from faults.killing import children, wait_until_free
from faults.lane import CARD_SIZE, IMAGE_SIZE, Lane, needs_lane
from faults.slow import bytes_written, needs_throttle, slowed
from faults.writing import flash

from imagesmith.errors import ImagesmithError, Interrupted, IOFailed
from imagesmith.events import Event, Progress, StepStarted, Warned
from imagesmith.flash.cards import Patience
from imagesmith.flash.writing import Receipt
from imagesmith.planning.flash import HEAD_SIZE, plan_flash
from imagesmith.units import MiB

pytestmark = needs_lane
RATE = 4 * MiB
BODY, BOOT, BACKUP = (1100 * BLOCK, 1101 * BLOCK), (0, 512), (CARD_SIZE - BLOCK, CARD_SIZE)


@needs_throttle
@pytest.mark.slow
def test_on_a_slow_card_progress_is_honest_and_nothing_piles_up_in_memory(lane: Lane, tmp_path: Path) -> None:
    done: dict[str, list[int]] = {"write": [], "read back": []}
    claimed_early: list[int] = []
    waiting: list[int] = []
    begun: dict[str, tuple[float, int]] = {}
    with loop_device(dirty_disk(tmp_path / "card", CARD_SIZE), direct=True) as device:
        plan = plan_flash(listed(device), lane.images["whole"])
        with slowed(device, RATE) as waits:

            def listener(event: Event) -> None:
                if isinstance(event, StepStarted):
                    begun[event.step] = (time.monotonic(), bytes_written(device))
                if isinstance(event, Progress) and event.step in done:
                    done[event.step].append(event.done)
                    waiting.append(waits())
                    if event.step == "write":
                        # The head counts when it was read from the image; it is held back, so it is not there yet.
                        there = bytes_written(device) - begun["write"][1]
                        claimed_early.append(event.done - HEAD_SIZE - there)

            assert isinstance(flash(plan, listener), Receipt)
    for counts in done.values():
        assert counts == sorted(counts)
        assert len(counts) > 2
    assert max(claimed_early) <= 0
    assert max(waiting) < MiB
    took_s = begun["finish"][0] - begun["write"][0]
    expected_s = 2 * (IMAGE_SIZE - HEAD_SIZE) / RATE
    assert took_s > 0.8 * expected_s  # so it was slow
    lane.tried += 1


class Standstill:
    """Presses Ctrl-C when the silence is told."""

    def __init__(self) -> None:
        self.told_s = self.pressed = 0.0
        self.states: list[str] = []
        self.last = time.monotonic()

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, Warned):
            self.told_s = now - self.last
            self.states = [Path("/proc", str(pid), "stat").read_text().split()[2] for pid in children("card writer")]
            self.pressed = now
            os.kill(os.getpid(), signal.SIGINT)
        self.last = now


@pytest.mark.slow
@pytest.mark.parametrize(("step", "at"), [("write", BODY), ("finish", BOOT), ("finish", BACKUP)])
def test_a_standstill_is_told_within_5_s_and_ctrl_c_is_answered_within_2_s(
    lane: Lane, step: str, at: tuple[int, int]
) -> None:
    heard = Standstill()

    def listener(event: Event) -> None:
        if isinstance(event, StepStarted) and event.step == step:
            lane.card.arm("hang", *at)
        heard(event)

    with pytest.raises(Interrupted) as caught:
        flash(lane.plan(), listener)
    answered_s = time.monotonic() - heard.pressed
    assert heard.told_s < 5
    assert heard.states == ["D"]  # so not even SIGKILL would have ended it
    assert answered_s < 2
    lane.card.wake()
    wait_until_free(lane.card.device)
    assert not lane.boots()
    lane.judge(lambda: caught.value)


@pytest.mark.parametrize("at", [BODY, BOOT, BACKUP])
@pytest.mark.parametrize("step", ["blank", "write", "finish"])
def test_a_card_that_is_given_up_does_not_boot_when_it_comes_back(lane: Lane, step: str, at: tuple[int, int]) -> None:
    def listener(event: Event) -> None:
        if isinstance(event, StepStarted) and event.step == step:
            lane.card.arm("hang", *at)

    try:
        end: object = flash(lane.plan(), listener, patience=Patience(told_s=0.2, given_up_s=0.6))
    except ImagesmithError as error:
        end = error
    lane.card.wake()
    wait_until_free(lane.card.device)
    if isinstance(end, ImagesmithError):
        assert isinstance(end, IOFailed)
        assert "has not answered" in end.what
        assert not lane.boots()
    else:
        # What hangs in the body is not touched at the end.
        assert (step, at) == ("finish", BODY)
    lane.judge(lambda: end)
    lane.card.heal()
    assert isinstance(lane.judge(lambda: flash(lane.plan())), Receipt)
