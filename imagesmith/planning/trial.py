"""What a self-test found, step by step, and the five lines of it that are worth sending back. Values and words.

Made by `workflow.selftest`, shown by `cli.selftest`. Opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from imagesmith.errors import ImagesmithError
from imagesmith.model import Base, DebianSource, FileSource, HttpSource, ObtainedBase

STEPS: Mapping[str, str] = {
    "tools": "the programs that the rest needs are here",
    "fetch": "the base comes from its publisher, and is what was signed",
    "recognise": "the image is of the family and release that the profile takes it for",
    "base": "its file systems are sound as they came",
    "build": "the edits are made and read back",
    "inspect": "the image shows the partitions and the system that it should",
    "image": "its file systems are sound after the edits",
    "flash": "it is written over a card that is full of 0xFF",
    "verify": "image and card hold what the block map says, and the card's file systems are sound",
    "boot": "its first boot in QEMU does what it promises",
}
"""In their order, with what it means that one passed."""
State = Literal["passed", "failed", "not tried", "left out"]
"""`not tried`: what it needs had failed. `left out`: it can't be done here, or was not wanted."""


@dataclass(frozen=True, slots=True)
class Step:
    """How one of STEPS went."""

    name: str
    state: State
    told: str
    """What was found, or why not; one line."""
    seconds: float = 0
    error: ImagesmithError | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """A self-test from its first step to its last."""

    board: str
    title: str
    """The board's."""
    base: str
    version: str
    """The operating system as its os-release tells it; empty where it was not read."""
    digest: str
    """Of the file as published, else of the raw image; empty where it was not obtained."""
    origin: str
    """Where the base comes from: an address, a local file's name, Debian's suite."""
    made_on: str
    """imagesmith's version, and the machine that this ran on."""
    steps: tuple[Step, ...]
    hardware: tuple[str, ...]
    """What only the board itself can prove."""
    kept: str = ""
    """The folder with the image, where it was kept."""

    @property
    def failure(self) -> ImagesmithError | None:
        """The error that decides the exit code: that of the first step that failed."""
        return next((step.error for step in self.steps if step.error), None)

    def facts(self) -> dict[str, object]:
        """The same as plain data, for --json."""
        return {
            **{name: getattr(self, name) for name in _FACTS},
            "passed": self.failure is None,
            "steps": [
                {"step": step.name, "state": step.state, "seconds": round(step.seconds, 1), "told": step.told,
                 "error": step.error.facts() if step.error else None}
                for step in self.steps
            ],
            "hardware": list(self.hardware),
            "send": list(lines_to_send(self)),
        }  # fmt: skip


_FACTS = ("board", "base", "version", "digest", "origin", "made_on", "kept")


def table(trial: Trial) -> str:
    """A line for each step: its name, how it went, how long it took, what was found."""
    rows = [(step.name, step.state, f"{step.seconds:.1f} s" if step.seconds else "", step.told) for step in trial.steps]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = []
    for name, state, seconds, told in rows:
        lines.append(f"{name:<{widths[0]}}  {state:<{widths[1]}}  {seconds:>{widths[2]}}  {told}".rstrip())
    return "\n".join(lines) + "\n"


def lines_to_send(trial: Trial) -> tuple[str, ...]:
    """Five lines: board, base, what it ran on, how the steps went, what only hardware can prove."""
    base = ", ".join(filter(None, (trial.base, trial.version, trial.origin, trial.digest)))
    return (
        f"board:    {trial.board}, {trial.title}",
        f"base:     {base}",
        f"made by:  {trial.made_on}",
        f"steps:    {_went(trial.steps)}",
        f"hardware: not proven here: {'; '.join(trial.hardware) or 'nothing'}",
    )


def origin_of(base: Base) -> str:
    """Where a base comes from, one clause; of a local file its name alone."""
    match base.source:
        case HttpSource(url=url):
            return url
        case FileSource(path=path):
            return f"the local file {path.rpartition('/')[2]}"
        case DebianSource(suite=suite):
            return f"made from Debian {suite}'s packages"


def digest_of(obtained: ObtainedBase) -> str:
    """The digest that tells others which file it was."""
    return str(obtained.published) if obtained.published else f"raw image {obtained.digest}"


def one_line(error: ImagesmithError) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _went(steps: Sequence[Step]) -> str:
    """`passed: fetch, build; failed: flash (NoSpace: ...); left out: boot (...)`."""
    return "; ".join(
        f"{state}: {', '.join(told)}"
        for state in ("passed", "failed", "not tried", "left out")
        if (told := list(_named(step for step in steps if step.state == state)))
    )


def _named(steps: Iterable[Step]) -> Iterable[str]:
    for step in steps:
        yield f"{step.name} ({step.told})" if step.state in ("failed", "left out") else step.name
