"""What is told of one card while it is written or read: its steps, how far they are, its silences.

Called by `flash.conduct`, `flash.writing` and `flash.check`. Touches nothing but the listener.
"""

from __future__ import annotations

from imagesmith.events import Listener, Noted, Progress, StepFinished, StepStarted, Warned


class Voice:
    """The events of one card, named by it where there are several."""

    def __init__(self, listener: Listener, path: str, several: bool) -> None:
        self._listener = listener
        self._path = path
        self._of = self._path if several else ""
        self._step = ""
        self._done = 0
        self._total = 0
        self._told = 0.0
        """Seconds of silence that were told last."""

    def begin(self, step: str, detail: str = "", total: int = 0) -> None:
        self._step, self._done, self._total = step, 0, total
        self._listener(StepStarted(step, detail, self._of))

    def tick(self, size: int) -> None:
        self._done += size
        if self._total or self._step == "write":
            self._listener(Progress(self._step, min(self._done, self._total or self._done), self._total, of=self._of))

    def end(self) -> None:
        self._listener(StepFinished(self._step, of=self._of))

    def silence(self, seconds: float) -> None:
        """Told at first, and then each time it has become twice as long."""
        if self._told < seconds < 2 * self._told:
            return
        self._told = seconds
        self._listener(
            Warned(f"{self._path} has not answered for {seconds:.0f} s ({self._step})", "Ctrl-C ends the waiting")
        )

    def note(self, words: str) -> None:
        self._listener(Noted(f"{self._path}: {words}"))
