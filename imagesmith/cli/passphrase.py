"""A vault's passphrase, asked at the terminal and never shown. Called by the commands that open one."""

from __future__ import annotations

import os

import click

from imagesmith.errors import UsageError, VaultLocked
from imagesmith.secret import Secret
from imagesmith.workflow.vault import Ask


def passphrase_asker(as_json: bool) -> Ask:
    """Asks at the process's own terminal, so that standard input can be a pipe."""

    def ask(what: str, new: bool) -> Secret:
        if as_json or not _has_terminal():
            raise VaultLocked(f"a passphrase is needed ({what}), and there is no terminal to ask at")
        typed = click.prompt(what, hide_input=True, err=True, default="", show_default=False)
        if new and click.prompt("Once more", hide_input=True, err=True, default="", show_default=False) != typed:
            raise UsageError("the two were not the same", hint="run it again")
        return Secret(typed.encode())

    return ask


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True
