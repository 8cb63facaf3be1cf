"""The question before a device is overwritten, asked at the terminal and nowhere else.

Called by the commands that write to devices; they hand it to `workflow`.
"""

from __future__ import annotations

import sys

import click

from imagesmith.errors import UsageError
from imagesmith.workflow.asking import Ask, Question


def asker(as_json: bool) -> Ask:
    """A question on the terminal. Answers from a pipe are not taken: nobody saw what they would confirm."""

    def ask(question: Question) -> str:
        if as_json or not sys.stdin.isatty():
            raise UsageError(
                "there is no terminal to ask at",
                where=question.where,
                hint="use --yes with the device's name in /dev/disk/by-id (see `imagesmith devices`)",
            )
        for line in question.facts:
            click.echo(line, err=True)
        answer = click.prompt(f"Type {question.expected} to {question.doing}", default="", show_default=False, err=True)
        return str(answer)

    return ask
