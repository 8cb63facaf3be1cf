"""The argv of ssh and the file of known hosts: nothing is asked, forwarded or taken on trust."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from imagesmith.remote.way import Way, command_line, known_hosts, ssh_argv

WAY = Way("node-1", "192.0.2.7", "ann", 2222, ("ssh-ed25519 AAAA root@node-1",))


def options(way: Way) -> dict[str, str]:
    """What ssh itself makes of the options."""
    argv = ssh_argv(way, Path("/keys"), "true")
    told = subprocess.run(["ssh", "-F", "none", "-G", *argv[1:]], check=True, capture_output=True, text=True).stdout
    return dict(line.split(" ", 1) for line in told.splitlines() if " " in line)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("batchmode", "yes"),
        ("stricthostkeychecking", "true"),
        ("userknownhostsfile", "/keys"),
        ("globalknownhostsfile", "/dev/null"),
        ("hostkeyalias", "node-1"),
        ("forwardagent", "no"),
        ("forwardx11", "no"),
        ("clearallforwardings", "yes"),
        ("updatehostkeys", "false"),
        ("user", "ann"),
        ("port", "2222"),
        ("hostname", "192.0.2.7"),
        ("connecttimeout", "10"),
    ],
)
def test_ssh_is_held_to(option: str, value: str) -> None:
    assert options(WAY)[option] == value


def test_a_node_that_no_vault_knows_is_known_by_the_users_own_files() -> None:
    found = options(Way("node-1", "192.0.2.7", "ann"))
    assert "/.ssh/known_hosts" in found["userknownhostsfile"]
    assert "hostkeyalias" not in found
    assert found["stricthostkeychecking"] == "true"


def test_a_node_is_known_by_its_name_alone_and_by_every_key() -> None:
    two = Way("node-2", "192.0.2.8", "ann", 22, ("ssh-ed25519 BBBB", "ecdsa-sha2-nistp256 CCCC root@node-2"))
    assert known_hosts([WAY, two]) == (
        "node-1 ssh-ed25519 AAAA\nnode-2 ssh-ed25519 BBBB\nnode-2 ecdsa-sha2-nistp256 CCCC\n"
    )


def test_words_reach_the_program_as_they_are() -> None:
    words = ("printf", "%s|", "a b", "$HOME", "it's", 'say "x"', "", "two\nlines", "*")
    shown = subprocess.run(["sh", "-c", command_line(words, root=False)], check=True, capture_output=True, text=True)
    assert shown.stdout == "".join(f"{word}|" for word in words[2:])


def test_root_is_by_sudo_that_may_not_ask() -> None:
    assert shlex.split(command_line(("k3s", "x"), root=True)) == ["env", "LC_ALL=C", "sudo", "-n", "--", "k3s", "x"]
