"""The question before a device is overwritten, asked at the terminal and nowhere else.

Called by the commands that write to devices; they hand it to `workflow`.
"""

from __future__ import annotations

import os
import sys

import click

from imagesmith.errors import UsageError
from imagesmith.workflow.asking import Ask, Question


def asker(as_json: bool, *, piped: bool = False) -> Ask:
    """A question on the terminal. Answers from a pipe are not taken: nobody saw what they would confirm.

    `piped`: standard input brings the image, so that the terminal itself is asked.
    """

    def ask(question: Question) -> str:
        terminal = None if as_json else _terminal() if piped else _standard_input()
        if terminal is None:
            raise UsageError(
                "there is no terminal to ask at",
                where=question.where,
                hint="use --yes with the device's name in /dev/disk/by-id (see `imagesmith devices`)",
            )
        for line in question.facts:
            click.echo(line, err=True)
        words = f"Type {question.expected} to {question.doing}"
        if not piped:
            return str(click.prompt(words, default="", show_default=False, err=True))
        with os.fdopen(terminal, "rb", buffering=0) as lines:
            click.echo(f"{words}: ", nl=False, err=True)
            return lines.readline().decode("utf-8", "replace")

    return ask


def _standard_input() -> int | None:
    """Where it is a terminal; it is None when it was closed before we started."""
    return sys.stdin.fileno() if sys.stdin and sys.stdin.isatty() else None


def _terminal() -> int | None:
    """The one that this process belongs to, to be closed."""
    try:
        return os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
