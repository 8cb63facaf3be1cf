"""What `-h` promises: every command explains itself in 80 columns, with examples that hold, and answers at once."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from imagesmith.cli.main import _COMMANDS, group

Found = tuple[tuple[str, ...], click.Command]


def every_command() -> Iterator[Found]:
    """Each command and subcommand with the words that call it; the group itself has none."""

    def below(words: tuple[str, ...], command: click.Command) -> Iterator[Found]:
        yield words, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                yield from below((*words, name), child)

    yield from below((), group)


COMMANDS = list(every_command())
NAMES = [" ".join(words) or "imagesmith" for words, _ in COMMANDS]
each_command = pytest.mark.parametrize(("words", "command"), COMMANDS, ids=NAMES)


def help_of(words: tuple[str, ...], option: str = "-h") -> str:
    # A wide terminal, so that it is we who keep to 80 columns.
    answer = CliRunner(env={"COLUMNS": "200"}).invoke(group, [*words, option], prog_name="imagesmith")
    assert answer.exit_code == 0, answer.output
    return answer.output


def examples_of(command: click.Command) -> list[list[str]]:
    """The `imagesmith ...` lines of a command's help, as words without the program's name."""
    lines = [line.strip() for line in (command.help or "").splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("imagesmith ")]


@each_command
def test_short_and_long_help_are_the_same(words: tuple[str, ...], command: click.Command) -> None:
    assert help_of(words, "-h") == help_of(words, "--help")


@each_command
def test_help_fits_80_columns(words: tuple[str, ...], command: click.Command) -> None:
    too_long = [line for line in help_of(words).splitlines() if len(line) > 80]
    assert too_long == []


@each_command
def test_help_says_what_it_is_for_and_gives_an_example(words: tuple[str, ...], command: click.Command) -> None:
    text = command.help or ""
    assert text.split("\n")[0].strip()
    assert "Example" in text or not words
    assert "imagesmith " in text


@each_command
def test_short_help_is_one_whole_line(words: tuple[str, ...], command: click.Command) -> None:
    if words:
        short = command.short_help or ""
        assert short.endswith(".")
        assert len(short) <= 60


@each_command
def test_every_example_can_be_typed(words: tuple[str, ...], command: click.Command) -> None:
    for example in examples_of(command):
        child, rest = group_member(example)
        # Parses options and arguments as the real command line does; nothing is run.
        child.make_context(example[0], rest, parent=click.Context(group, **group.context_settings))


def group_member(example: list[str]) -> tuple[click.Command, list[str]]:
    """The command that an example calls, and the words that are left for it."""
    command: click.Command = group
    rest = list(example)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        child = command.get_command(click.Context(command), rest[0])
        assert child is not None, f"no command {rest[0]}"
        command, rest = child, rest[1:]
    return command, rest


@each_command
def test_every_command_answers_in_json(words: tuple[str, ...], command: click.Command) -> None:
    options = [option for parameter in command.params for option in parameter.opts]
    # A shell's script and the list of a group's commands are no data.
    groups = (("cache",), ("vault",), ("vpn",), ("backup",), ("addons",))
    expected = words not in ((), *groups, ("backup", "receiver"), ("completion",))
    assert ("--json" in options) == expected


@each_command
def test_every_option_is_explained(words: tuple[str, ...], command: click.Command) -> None:
    silent = [one.name for one in command.params if isinstance(one, click.Option) and not one.help]
    assert silent == []


def test_the_list_of_commands_says_what_the_commands_say() -> None:
    listed = {name: about for name, (_, about) in _COMMANDS.items()}
    assert listed == {words[0]: command.short_help for words, command in COMMANDS if len(words) == 1}


def test_help_imports_nothing_that_is_slow() -> None:
    script = (
        "import sys\n"
        "from imagesmith.cli.main import main\n"
        "assert main(['-h']) == 0\n"
        "slow = {'requests', 'cryptography', 'backports.zstd', 'tqdm', 'jinja2', 'imagesmith.workflow.build'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Commands:" in done.stdout
