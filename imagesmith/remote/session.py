"""Commands run on nodes, and files put there. Called by `workflow.nodes`; touches nodes, and a folder of its own.

Secrets go through standard input, never into an argv or an environment.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from imagesmith import tools
from imagesmith.errors import NodeUnreachable, UsageError
from imagesmith.remote import verdict
from imagesmith.remote.way import Way, command_line, known_hosts, ssh_argv
from imagesmith.secret import Secret
from imagesmith.tools import Completed

USUAL_S = 30.0
"""A command that only looks."""
# A connection that is cut is the end of a file for who reads: only the count tells it from the whole.
_PUT = """set -eu
umask 077
path=$1 mode=$2 bytes=$3
folder=${path%/*} new=$path.imagesmith
mkdir -p "$folder"
rm -f "$new"
cat >"$new"
came=$(wc -c <"$new")
if [ "$came" -ne "$bytes" ]; then
    rm -f "$new"
    echo "$came of $bytes bytes came; $path is as it was" >&2
    exit 1
fi
chmod "$mode" "$new"
sync "$new"
mv -f "$new" "$path"
sync "$folder"
"""


@dataclass(frozen=True, slots=True)
class Session:
    """Nodes that can be asked; every call is a connection of its own. Safe in several threads."""

    ways: Mapping[str, Way]
    known: Path

    def run(
        self,
        node: str,
        argv: Sequence[str],
        *,
        root: bool = True,
        stdin: bytes | IO[bytes] = b"",
        limit_s: float = USUAL_S,
        expect: Sequence[int] | None = (0,),
        doing: str = "",
    ) -> Completed:
        """Run a program on a node to its end. Raises NodeUnreachable, told for a person; ToolMissing without ssh.

        `expect` lists the exit codes that are fine, None accepts all; `doing` names it in complaints.
        """
        way = self.ways[node]
        shown = doing or shlex.join(argv)
        command = ssh_argv(way, self.known, command_line(argv, root=root))
        try:
            done = tools.run(command, stdin=stdin, expect=None, timeout_s=limit_s)
        except tools.TimeoutExpired:
            raise verdict.of_silence(way, shown, limit_s) from None
        told = done.stderr.decode("utf-8", "replace")
        if done.returncode == verdict.SSH_FAILED:
            raise verdict.of_ssh(way, told)
        if done.returncode and root and (refused := verdict.of_sudo(way, told)):
            raise refused
        if expect is not None and done.returncode not in expect:
            raise verdict.of_command(way, shown, done.returncode, told)
        return done

    def put(self, node: str, path: str, content: bytes | Secret, mode: int, *, limit_s: float = 60) -> None:
        """A file of root's with this content, whole or as it was before; its folder is made where there is none."""
        data = content.reveal() if isinstance(content, Secret) else content
        argv = ("sh", "-c", _PUT, "sh", path, f"{mode:04o}", str(len(data)))
        self.run(node, argv, stdin=data, limit_s=limit_s, doing=f"writing {path}")

    def read(self, node: str, path: str) -> Secret:
        """A file that root alone may read; what is in it is not shown."""
        return Secret(self.run(node, ("cat", path), doing=f"reading {path}").stdout)

    def answers(self, node: str) -> NodeUnreachable | None:
        """None where commands can be run there as root, else why not."""
        try:
            self.run(node, ("true",))
        except NodeUnreachable as error:
            return error
        return None


@contextmanager
def session(ways: Iterable[Way]) -> Iterator[Session]:
    """The nodes by their names, for the length of a block. Raises UsageError for what ssh could take for an option."""
    by_name = {way.node: way for way in ways}
    for way in by_name.values():
        if way.host.startswith("-") or way.user.startswith("-"):
            raise UsageError("ssh would take this for an option", where=way.host)
    with TemporaryDirectory(prefix="imagesmith-ssh-") as folder:
        known = Path(folder) / "known_hosts"
        known.write_text(known_hosts(by_name.values()), encoding="ascii")
        yield Session(by_name, known)
