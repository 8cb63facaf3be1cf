"""Writes docs/commands.md from the commands themselves. Called by `make docs`; tests/test_docs.py checks the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from imagesmith.cli.main import group

PAGE = Path(__file__).resolve().parent / "commands.md"
_HEADER = """\
# Commands

Made from the commands themselves by `make docs`: what stands here is what `-h` says. How scripts use them is told in
[scripting.md](scripting.md).

TARGET is one of, in this order: a node of the inventory (`./cluster.yaml`, or `--cluster FILE`), the name of a profile
(`rpi4-worker`), the path of a profile's file (`./mine.yaml`). A profile that one node of the inventory uses means that
node.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEADER]
    for words, command in every_command(("imagesmith",), group):
        level = "#" * min(len(words) + 1, 3)
        parts.append(f"{level} {' '.join(words)}\n\n```\n{_help(words, command)}\n```\n")
    return "\n".join(parts)


def every_command(words: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all below it, each with the words that call it."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                yield from every_command((*words, name), child)


def _help(words: tuple[str, ...], command: click.Command) -> str:
    settings = {"help_option_names": ["-h", "--help"], "terminal_width": 78}
    context = click.Context(command, info_name=" ".join(words), **settings)
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
