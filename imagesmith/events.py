"""What a long job tells while it runs. Effects emit, the voice (`cli`) shows; nobody else prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A named step of the job began: `fetch`, `grow`, `edit`, `seal` ..."""

    step: str
    detail: str = ""
    of: str = ""
    """Which of several things that go on side by side: a card's path; "" where there is but one."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the step is. `total` 0 means unknown. `unit` is `B` (bytes) or `items`."""

    step: str
    done: int
    total: int = 0
    unit: Literal["B", "items"] = "B"
    of: str = ""


@dataclass(frozen=True, slots=True)
class StepFinished:
    step: str
    detail: str = ""
    of: str = ""


@dataclass(frozen=True, slots=True)
class Noted:
    """Something worth a line: which image was chosen, what was found in the cache."""

    message: str


@dataclass(frozen=True, slots=True)
class Warned:
    message: str
    hint: str = ""


Event = StepStarted | Progress | StepFinished | Noted | Warned


class Listener(Protocol):
    """Anything callable with an event. Must be quick and must not raise."""

    def __call__(self, event: Event, /) -> None: ...


def unheard(event: Event) -> None:
    """The listener for callers that do not care."""
