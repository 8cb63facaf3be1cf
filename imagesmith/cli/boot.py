"""The command `boot`: start an image in QEMU and say whether its first boot did what was promised.

It prints; what it does is in `workflow.boot`.
"""

from __future__ import annotations

from pathlib import Path

import click

from imagesmith.boot.report import as_facts, show
from imagesmith.cli.options import answer, built_option, complete_target, json_option
from imagesmith.cli.progress import listener_for
from imagesmith.workflow.boot import Request, boot_named
from imagesmith.workflow.planned import current_plan_id


@click.command("boot", short_help="Boot an image in QEMU and check its promises.")
@click.argument("source", metavar="IMAGE|TARGET", shell_complete=complete_target)
@built_option
@click.option(
    "--transcript",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where the console is kept; else beside the image. A file that is there is replaced only if it is a .log.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    default=None,
    help="For the whole first boot; else as the board says.",
)
@json_option
@click.pass_context
def boot_command(
    ctx: click.Context,
    source: str,
    output_dir: Path,
    transcript: Path | None,
    deadline: float | None,
    as_json: bool,
) -> None:
    """Boot an image in QEMU and check what its first boot promised.

    The image itself is never changed. A TARGET means the image built for it, and
    is refused when its profile changed since. Exit code 10: it did not boot, or
    did not keep its promises.

    \b
    Examples:
      imagesmith boot qemu-x86-worker
      imagesmith boot out/node-1/node-1.img --transcript console.log
    """
    request = Request(source, output_dir, transcript, deadline or 0)
    report = boot_named(request, current_plan_id=current_plan_id, listener=listener_for(ctx))
    if as_json:
        answer(as_facts(report))
    else:
        click.echo(show(report))
