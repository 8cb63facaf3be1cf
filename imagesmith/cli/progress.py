"""How long work is told: a bar on a terminal, plain lines in a pipe, NDJSON events with --json.

stdout is the answer, stderr the telling; with --json both are on stdout as one object a line.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from dataclasses import asdict
from typing import Any

import click
from tqdm import tqdm

from imagesmith.events import Event, Listener, Noted, Progress, StepFinished, StepStarted, Warned
from imagesmith.units import show_size

_PLAIN_EVERY_S = 5.0
_JSON_EVERY_S = 1.0


def listener_for(ctx: click.Context) -> Listener:
    """The voice that fits: the command's --json, else whether stderr is a terminal. It never raises OSError."""
    if ctx.params.get("as_json"):
        return _unfailing(_Json())
    return _unfailing(_Bars() if sys.stderr and sys.stderr.isatty() else _Lines())


def _unfailing(voice: Listener) -> Listener:
    """Work goes on when nobody can hear of it: a full disk under a log, a reader that went away."""

    def listener(event: Event) -> None:
        with contextlib.suppress(OSError):
            voice(event)

    return listener


class _Json:
    """One object a line; progress at most once a second, and always its end."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, str], float] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress):
            now = time.monotonic()
            key = (event.step, event.of)
            if event.done != event.total and now < self._next.get(key, 0):
                return
            self._next[key] = now + _JSON_EVERY_S
        told = {key: value for key, value in asdict(event).items() if key != "of" or value}
        click.echo(json.dumps({"event": type(event).__name__, **told}, ensure_ascii=False))


class _Lines:
    """Plain lines on stderr, for pipes and logs: every few seconds how far it is."""

    def __init__(self) -> None:
        self._rates: dict[tuple[str, str], _Rate] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress):
            rate = self._rates.setdefault((event.step, event.of), _Rate(event.done))
            if rate.due(event):
                click.echo(f"{_named(event)}: {rate.told(event)}", err=True)
            return
        if isinstance(event, StepStarted):
            self._rates.pop((event.step, event.of), None)
        line = _line(event)
        if line:
            click.echo(line, err=True)


class _Rate:
    """What became of a step since it was first heard of."""

    def __init__(self, done: int) -> None:
        self._first, self._since = done, time.monotonic()
        self._next = self._since + _PLAIN_EVERY_S

    def due(self, event: Progress) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + _PLAIN_EVERY_S
        return True

    def told(self, event: Progress) -> str:
        speed = (event.done - self._first) / max(time.monotonic() - self._since, 0.001)
        of = f" of {_amount(event, event.total)}" if event.total else ""
        left = f", {(event.total - event.done) / speed:.0f} s left" if event.total and speed > 0 else ""
        # Of items that take seconds each there is no such number.
        rate = f", {_amount(event, int(speed))}/s" if event.unit == "B" or speed >= 1 else ""
        return f"{_amount(event, event.done)}{of}{rate}{left}"


class _Bars:
    """One tqdm bar for each step at work (several cards have one each); lines scroll above them."""

    def __init__(self) -> None:
        self._bars: dict[str, tuple[str, Any]] = {}
        """By what the step is of; the step and its bar."""

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._advance(event)
            return
        if isinstance(event, (StepStarted, StepFinished)):
            self._close(event.of)
        line = _line(event)
        if line:
            tqdm.write(line, file=sys.stderr)

    def _advance(self, event: Progress) -> None:
        step, bar = self._bars.get(event.of, ("", None))
        if bar is None or step != event.step:
            self._close(event.of)
            in_bytes = event.unit == "B"
            bar = tqdm(
                desc=f"  {_named(event)}", total=event.total or None, initial=event.done, unit=event.unit.strip("s"),
                unit_scale=in_bytes, unit_divisor=1024, leave=False, dynamic_ncols=True, file=sys.stderr,
            )  # fmt: skip
            self._bars[event.of] = (event.step, bar)
        if event.total and bar.total != event.total:
            bar.total = event.total
        bar.update(max(event.done - bar.n, 0))

    def _close(self, of: str) -> None:
        _, bar = self._bars.pop(of, ("", None))
        if bar is not None:
            bar.close()


def _named(event: StepStarted | StepFinished | Progress) -> str:
    return f"{event.step} {event.of}" if event.of else event.step


def _line(event: StepStarted | StepFinished | Noted | Warned) -> str:
    match event:
        case StepStarted(_, detail):
            return f"{_named(event)}: {detail}" if detail else f"{_named(event)} ..."
        case StepFinished(_, detail):
            return f"{_named(event)}: {detail}" if detail else ""
        case Noted(message):
            return f"  {message}"
        case Warned(message, hint):
            return f"warning: {message}" + (f"\n         {hint}" if hint else "")


def _amount(event: Progress, value: int) -> str:
    return show_size(value) if event.unit == "B" else str(value)
