"""The commands that help with the machine itself: `doctor` and `completion`."""

from __future__ import annotations

from dataclasses import asdict

import click
from click.shell_completion import get_completion_class

from imagesmith.cli.options import answer, json_option
from imagesmith.errors import ToolMissing
from imagesmith.workflow.doctor import findings, install_line, install_script, release_here


@click.command("doctor", short_help="Check this machine for the tools that are needed.")
@json_option
def doctor_command(as_json: bool) -> None:
    """Check this machine: which tools are here, what each is for, and the one
    line that installs what is missing. Exit code 9 when something is.

    \b
    Example:
      imagesmith doctor
    """
    found = findings()
    line = install_line(found, release=release_here(), script=install_script())
    if as_json:
        answer({"findings": [asdict(one) for one in found], "install": line})
    else:
        for one in found:
            mark = click.style("ok", fg="green")
            if one.trouble:
                mark = click.style("??", fg="yellow") if one.optional else click.style("--", fg="red")
            click.echo(f"{mark}  {one.name:<20} {one.version or '-':<10}  {one.purpose}")
            if one.trouble:
                click.echo(f"      {one.trouble}")
    troubled = [one.name for one in found if one.trouble and not one.optional]
    if troubled:
        raise ToolMissing(f"{len(troubled)} missing or too old: {', '.join(troubled)}", hint=line)


@click.command("completion", short_help="Print the shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the script with which SHELL completes commands, nodes and profiles.

    \b
    Example, in ~/.bashrc:
      eval "$(imagesmith completion bash)"
    """
    from imagesmith.cli.main import group

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(group, {}, "imagesmith", "_IMAGESMITH_COMPLETE").source())
