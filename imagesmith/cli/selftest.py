"""The command `selftest`: prove a base of a board end to end, and say what to send back.

It prints; what it does is in `workflow.selftest`.
"""

from __future__ import annotations

import json

import click
from click.shell_completion import CompletionItem

from imagesmith.cli.options import answer, json_option
from imagesmith.cli.progress import listener_for
from imagesmith.errors import ImagesmithError
from imagesmith.planning.trial import lines_to_send, table
from imagesmith.sources.cache import Cache
from imagesmith.workflow.selftest import Request, selftest
from imagesmith.workflow.target import catalogue_here


def _complete_board(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For the shell's TAB: the boards that a profile uses."""
    try:
        boards = {profile.board.name: profile.board.title for profile in catalogue_here().profiles.values()}
    except ImagesmithError:
        return []  # TAB is no place to complain
    return [CompletionItem(name, help=title) for name, title in boards.items() if name.startswith(incomplete)]


@click.command("selftest", short_help="Prove a board's base image end to end.")
@click.argument("board", metavar="BOARD", shell_complete=_complete_board)
@click.option("--base", metavar="NAME", default="", help="Which of the board's base images; else its profile's own.")
@click.option("--no-boot", is_flag=True, help="Leave the boot in QEMU out.")
@click.option("--keep", is_flag=True, help="Keep the image, the card's file and the key that logs in.")
@json_option
@click.pass_context
def selftest_command(ctx: click.Context, board: str, base: str, no_boot: bool, keep: bool, as_json: bool) -> None:
    """Prove a board's base image end to end: fetch it from its publisher and
    verify it, recognise and check it, build a throw-away node, inspect that, run
    e2fsck and fsck.fat, flash it into a file full of 0xFF, read it back, and boot
    it where QEMU has a machine for it.

    Needs no root, no card and no inventory; with the base in the cache no network.
    It takes the room of three images, in $TMPDIR or /var/tmp and in the cache.

    At the end: a table of the steps, and five lines to send back, as docs/boards.md
    asks. The exit code is that of the first step that failed.

    \b
    Examples:
      imagesmith selftest rpi4
      imagesmith selftest qemu-x86 --base debian --no-boot
    """
    trial = selftest(Request(board, base, boot=not no_boot, keep=keep), Cache.default(), listener_for(ctx))
    if not as_json:
        click.echo(f"\n{table(trial)}\nSend these five lines back (docs/boards.md says where):\n")
        for line in lines_to_send(trial):
            click.echo(line)
        if trial.kept:
            click.echo(f"\nkept: {trial.kept}")
    if trial.failure:
        if as_json:
            click.echo(json.dumps({"selftest": trial.facts()}))
        raise trial.failure
    if as_json:
        answer(trial.facts())
