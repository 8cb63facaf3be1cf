"""How a node is reached: its address, who logs in, and by which keys it is known. Pure; `session` runs what it makes.

Whatever the user's own ~/.ssh/config says of names, keys and jump hosts counts; what is security here does not come
from it: the node must show a key of the inventory's vault, nobody is asked anything, nothing is forwarded.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

CONNECT_S = 10
"""For the connection alone; a node that is switched off answers nothing at all."""
_ALIVE_S, _ALIVE_TIMES = 5, 3
"""A node that goes away in between is noticed after this many silent seconds, so many times."""


@dataclass(frozen=True, slots=True)
class Way:
    node: str
    host: str
    """An address, or a name that the network knows."""
    user: str
    port: int = 22
    known: tuple[str, ...] = ()
    """Its public host keys, `ssh-ed25519 AAAA...`; empty = the user's own known_hosts must have one."""
    identity: Path | None = None
    """The private key to log in with; None = as ssh finds it (agent, ~/.ssh)."""


def known_hosts(ways: Iterable[Way]) -> str:
    """The file by which nodes are known: every key under its node's name alone, which `ssh_argv` asks for."""
    return "".join(f"{way.node} {' '.join(key.split()[:2])}\n" for way in ways for key in way.known)


def ssh_argv(way: Way, known: Path, command: str) -> list[str]:
    """Runs a command line on the node. `known` is the file of `known_hosts`."""
    options = [
        "BatchMode=yes",
        f"ConnectTimeout={CONNECT_S}",
        f"ServerAliveInterval={_ALIVE_S}",
        f"ServerAliveCountMax={_ALIVE_TIMES}",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        "VerifyHostKeyDNS=no",
        "CheckHostIP=no",
        "ForwardAgent=no",
        "ForwardX11=no",
        "ClearAllForwardings=yes",
        "PermitLocalCommand=no",
        "ControlMaster=no",
        "ControlPath=none",
        "RequestTTY=no",
        "LogLevel=ERROR",
    ]
    if way.known:
        options += [f"HostKeyAlias={way.node}", f"UserKnownHostsFile={known}", "GlobalKnownHostsFile=/dev/null"]
        options += ["KnownHostsCommand=none"]
    words = [word for option in options for word in ("-o", option)]
    if way.identity:
        words += ["-i", str(way.identity), "-o", "IdentitiesOnly=yes"]
    return ["ssh", *words, "-p", str(way.port), "-l", way.user, "--", way.host, command]


def command_line(argv: Sequence[str], *, root: bool) -> str:
    """A program with its words, quoted once for the node's shell; as root by sudo, which may not ask.

    Messages come in English, since `verdict` reads them.
    """
    by_sudo = ("sudo", "-n", "--") if root else ()
    return shlex.join(("env", "LC_ALL=C", *by_sudo, *argv))
