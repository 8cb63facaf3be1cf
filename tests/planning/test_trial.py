"""What a self-test found, in words: a line for each step, five lines to send back, the first failure's exit code."""

from __future__ import annotations

from imagesmith.errors import DigestMismatch, NoSpace
from imagesmith.planning.trial import STEPS, Step, Trial, lines_to_send, table

FULL = NoSpace("no space left while making the card", where="/var/tmp/x")
WRONG = DigestMismatch("its digest\nis another")


def trial(*steps: Step, hardware: tuple[str, ...] = ("its firmware", "its network")) -> Trial:
    return Trial(
        board="rpi4",
        title="Raspberry Pi 4",
        base="raspios",
        version="Debian 13",
        digest="sha256:ab",
        origin="https://example.org/a.img",
        made_on="imagesmith 1 on a PC",
        steps=steps,
        hardware=hardware,
    )


def failed(name: str, error: NoSpace | DigestMismatch) -> Step:
    return Step(name, "failed", f"{type(error).__name__}: {error}", 1.5, error)


def test_the_first_step_that_failed_decides() -> None:
    assert trial(Step("tools", "passed", "all here"), failed("fetch", WRONG), failed("flash", FULL)).failure is WRONG
    assert trial(Step("tools", "passed", "all here")).failure is None


def test_five_lines_tell_board_base_machine_steps_and_what_is_left() -> None:
    steps = (Step("fetch", "passed", "x"), failed("flash", FULL), Step("verify", "not tried", "since flash failed"))
    assert lines_to_send(trial(*steps)) == (
        "board:    rpi4, Raspberry Pi 4",
        "base:     raspios, Debian 13, https://example.org/a.img, sha256:ab",
        "made by:  imagesmith 1 on a PC",
        "steps:    passed: fetch; failed: flash (NoSpace: /var/tmp/x: no space left while making the card); "
        "not tried: verify",
        "hardware: not proven here: its firmware; its network",
    )


def test_a_base_that_never_came_is_told_without_version_and_digest() -> None:
    facts = trial(failed("fetch", FULL), hardware=()).facts()
    assert facts["passed"] is False
    assert "not proven here: nothing" in str(facts["send"])


def test_the_table_has_a_line_for_each_step_and_lines_up() -> None:
    told = table(trial(*(Step(name, "passed", "well", 2.0) for name in STEPS)))
    assert [line.split()[0] for line in told.splitlines()] == list(STEPS)
    assert len({line.index("well") for line in told.splitlines()}) == 1
