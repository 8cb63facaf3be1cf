"""The command line: the group of commands, and the one place where a failure is shown and becomes an exit code.

Commands are imported when they are called, so that `--help` and completion answer at once.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import TextIO

import click

from imagesmith import __version__
from imagesmith.disk import FULL
from imagesmith.errors import ImagesmithError, Interrupted, IOFailed, NoSpace, UsageError
from imagesmith.profile.schema import did_you_mean

_COMMANDS = {
    "init": ("plan:init_command", "Write a commented starter inventory, cluster.yaml."),
    "profiles": ("plan:profiles_group", "List the profiles: a board, in a role, with its bases."),
    "plan": ("plan:plan_command", "Tell what a build would do, without doing any of it."),
    "fetch": ("build:fetch_command", "Get all that a build fetches, verified, into the cache."),
    "build": ("build:build_command", "Make the image of a node, or of all nodes."),
    "inspect": ("image:inspect_command", "Show what is in an image."),
    "verify": ("flash:verify_command", "Check an image, or a card against its image."),
    "devices": ("devices:devices_command", "List disks and cards, and which may be flashed."),
    "flash": ("flash:flash_command", "Write an image to cards and read it back."),
    "probe": ("cards:probe_command", "Test a card: fake size, lost writes, bad bits."),
    "wipe": ("cards:wipe_command", "Blank a card's tables, or all of it."),
    "boot": ("boot:boot_command", "Boot an image in QEMU and check its promises."),
    "selftest": ("selftest:selftest_command", "Prove a board's base image end to end."),
    "vault": ("vault:vault_group", "Keep keys and passwords, drawn once and sealed."),
    "known-hosts": ("access:known_hosts_command", "Print the nodes' host keys for ~/.ssh/known_hosts."),
    "kubeconfig": ("access:kubeconfig_command", "Write a kubeconfig for the cluster's admin."),
    "vpn": ("vpn:vpn_group", "Tell who is in the VPN, and let the nodes in."),
    "status": ("cluster:status_command", "Tell how the nodes are, over SSH."),
    "replace": ("cluster:replace_command", "Make room for a node's new card."),
    "add": ("cluster:add_command", "Ready the vault for a node that is new."),
    "backup": ("backup:backup_group", "Back nodes up, and tell how their backups are."),
    "restore": ("backup:restore_command", "Lay a backup back onto a node's fresh card."),
    "upgrade": ("cluster:upgrade_command", "Bring another version of k3s to the nodes."),
    "addons": ("addons:addons_group", "What runs on the cluster: list, show, apply."),
    "token": ("addons:token_command", "Ask the cluster for a token, as headlamp wants one."),
    "cache": ("cache:cache_group", "List or prune the base images kept here."),
    "update": ("cache:update_command", "Look for newer base images and lock them."),
    "doctor": ("doctor:doctor_command", "Check this machine for the tools that are needed."),
    "completion": ("doctor:completion_command", "Print the shell's completion script."),
}
"""Command to `module:object` in this package and its one line of help, in the order in which a person needs them."""


class _Commands(click.Group):
    """A group that imports a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        place, _ = _COMMANDS[cmd_name]
        module, _, name = place.partition(":")
        command: click.Command = getattr(importlib.import_module(f"imagesmith.cli.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            raise UsageError(
                f"there is no command {args[0][:80]!r}{did_you_mean(args[0], _COMMANDS)}", hint="see imagesmith --help"
            )
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, prog_name="imagesmith")
def group() -> None:
    """Node images for a small cluster: built, verified, flashed, and booted to
    prove it.

    \b
    From nothing to a cluster:
      imagesmith init
      imagesmith vault create
      imagesmith build --all
      imagesmith flash node-1=/dev/sdX node-2=/dev/sdY
      imagesmith kubeconfig
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code, see docs/scripting.md. The console script calls this."""
    signal.signal(signal.SIGTERM, _stop)
    return run(group, sys.argv[1:] if arguments is None else arguments)


def run(command: click.Command, words: Sequence[str]) -> int:
    """The exit code of `command` called with `words`; every failure is shown here, and nothing is raised."""
    as_json = "--json" in words
    try:
        answer = command.main(args=list(words), prog_name="imagesmith", standalone_mode=False)
        if sys.stdout:  # it is None when it was closed before we started
            sys.stdout.flush()
        _settle(sys.stderr)
        # click answers the exit code of --help and ctx.exit(), and a command's own return value.
        return answer if isinstance(answer, int) else 0
    except (KeyboardInterrupt, click.Abort):
        return _show(Interrupted("stopped; nothing half-made was left under a final name"), as_json)
    except click.ClickException as error:
        return _show(_from_click(error), as_json)
    except ImagesmithError as error:
        return _show(error, as_json)
    except (BrokenPipeError, SystemExit):
        # Whoever read our answer went away (click makes it SystemExit); nothing more shall be told there, even at exit.
        _settle(sys.stdout)
        return IOFailed.exit_code
    except OSError as error:
        return _show(_from_system(error), as_json)
    except Exception as error:
        return _show(_from_bug(error), as_json)


def _stop(signum: int, frame: FrameType | None) -> None:
    """As Ctrl-C: where asyncio runs, it has its own way to stop."""
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    if callable(on_ctrl_c):
        on_ctrl_c(signal.SIGINT, frame)
    else:
        raise KeyboardInterrupt


def _from_click(error: click.ClickException) -> UsageError:
    ctx: click.Context | None = getattr(error, "ctx", None)
    return UsageError(error.format_message(), hint=f"see {ctx.command_path if ctx else 'imagesmith'} --help")


def _from_system(error: OSError) -> ImagesmithError:
    """What the system refused, where no step could say more about it: a folder that may not be entered, a long name."""
    if os.environ.get("IMAGESMITH_DEBUG"):
        traceback.print_exception(error)
    reason, where = error.strerror or str(error), os.fsdecode(error.filename) if _is_path(error.filename) else ""
    if error.errno in FULL:
        return NoSpace(reason, where=where, hint="free some space there, then run it again")
    return IOFailed(reason, where=where, hint="check the path, and whether you may read and enter its folders")


def _is_path(filename: object) -> bool:
    return isinstance(filename, str | bytes)


def _from_bug(error: Exception) -> ImagesmithError:
    if os.environ.get("IMAGESMITH_DEBUG"):
        traceback.print_exc()
    place = traceback.extract_tb(error.__traceback__)[-1]
    return ImagesmithError(
        f"this is a bug in imagesmith: {type(error).__name__}: {error} ({place.name}, line {place.lineno})",
        hint="run it again with IMAGESMITH_DEBUG=1 and report what it prints",
    )


def _show(error: ImagesmithError, as_json: bool) -> int:
    with contextlib.suppress(OSError):
        if as_json:
            click.echo(json.dumps({"error": error.facts()}, ensure_ascii=False))
    _settle(sys.stdout)
    with contextlib.suppress(OSError):
        click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)
        if error.hint:
            click.echo(f"       {click.style('what to do:', bold=True)} {error.hint}", err=True)
    _settle(sys.stderr)
    return error.exit_code


def _settle(stream: TextIO | None) -> None:
    """Write what waits in a stream. Where that is full or gone it is dropped, or Python would complain at its end."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    sys.exit(main())
