"""The command `inspect`: what is in an image, without changing it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from imagesmith.cli.options import answer, json_option
from imagesmith.cli.progress import listener_for
from imagesmith.image.inspect import ImageReport, inspect
from imagesmith.units import show_size
from imagesmith.workflow.unpack import raw_image


@click.command("inspect", short_help="Show what is in an image.")
@click.argument("image", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def inspect_command(ctx: click.Context, image: Path, as_json: bool) -> None:
    """Show an image's partitions, file systems, operating system, and how much
    of it must be written to a card. Any raw or compressed image will do.

    \b
    Example:
      imagesmith inspect out/node-1/node-1.img
    """
    with raw_image(image, listener_for(ctx)) as raw:
        report = inspect(raw.path)
    if as_json:
        answer(asdict(report))
        return
    for line in _told(report):
        click.echo(line)


def _told(report: ImageReport) -> list[str]:
    lines = [f"{report.path}: {show_size(report.size)}, {report.table.upper()} {report.disk_id}"]
    if report.medium:
        lines.append(f"  an installer's medium (ISO 9660): {report.medium}")
    if report.os_name:
        lines.append(f"  {report.os_name}")
    for volume in report.volumes:
        role = f", the {volume.role} partition" if volume.role else ""
        label = f" {volume.label!r}" if volume.label else ""
        lines.append(
            f"  {volume.number}: at {show_size(volume.start)}, {show_size(volume.size)},"
            f" {volume.filesystem}{label}{role}"
        )
        if volume.trouble:
            lines.append(f"     can't be edited: {volume.trouble}")
    lines.append(f"  {show_size(report.mapped)} of {show_size(report.size)} must be written to a card")
    return lines + [f"  {note}" for note in report.notes]
