"""An ext4 inside an image, read and edited by `debugfs` without mounting it. One run for all edits of a volume.

Called by `image.apply`, `image.raw` (roles) and `image.grow`. `debugfs` exits 0 when a command in its script fails,
so every line it says on stderr counts as a failure, and `apply` reads every edit back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagesmith import tools
from imagesmith.errors import EditFailed, ImagesmithError, NoSpace
from imagesmith.image.tree import Entry, File, Folder, Gone, Node, Symlink

_KINDS = {"regular": "file", "directory": "folder", "symlink": "link"}
# Looked at ahead of time, a path may lead through a file or a circle of links; `draft` finds out by itself.
_ABSENT = ("File not found by ext2_lookup", "Ext2 inode is not a directory", "Too many symbolic links")
_STAT = re.compile(
    r"Inode: \d+ +Type: (?P<kind>.+?) +Mode: +(?P<mode>[0-7]+) .*?"
    r"^User: +(?P<uid>\d+) +Group: +(?P<gid>\d+) .*?Size: (?P<size>\d+)$",
    re.MULTILINE | re.DOTALL,
)


class Ext4:
    """A tree (see `tree.Tree`) in the file `image`, `offset` bytes from its start."""

    is_fat = False

    def __init__(self, image: Path, offset: int, where: str) -> None:
        self.where = where
        # Tools run in the image's folder and are given its bare name: "?" and "@@" in a path would mean something.
        self._folder = image.parent
        self._name = f"{image.name}?offset={offset}"
        self._known: dict[str, Entry | None] = {}

    def look(self, path: str) -> Entry | None:
        if path not in self._known:
            self.look_ahead({path})
        return self._known[path]

    def look_ahead(self, paths: set[str]) -> None:
        wanted = sorted(paths - self._known.keys())
        if not wanted:
            return
        for path, text in zip(wanted, self._answers([f"stat {quoted(path)}" for path in wanted]), strict=True):
            self._known[path] = self._entry(path, text)

    def read(self, path: str) -> bytes:
        done = self._run(["debugfs", "-R", f"cat {quoted(path)}", self._name])
        complaints = _complaints(done.stderr)
        if complaints:
            raise EditFailed(f"{path} can't be read: {complaints[0]}", where=self.where)
        return done.stdout

    def names(self, folder: str) -> list[str]:
        """What a folder holds, in the file system's order."""
        (listed,) = self._answers([f"ls -p {quoted(folder)}"])
        # Lines of /inode/mode/uid/gid/name/size/; what was removed has inode 0.
        rows = [line.split("/") for line in listed.splitlines() if line.startswith("/")]
        return [row[5] for row in rows if len(row) > 6 and row[1] != "0" and row[5] not in (".", "..")]

    def change(self, nodes: Mapping[str, Node], sources: Mapping[str, Path], workspace: Path, epoch: int) -> None:
        """Make all `nodes`, in one run.

        `sources` has a local file for every File, `workspace` is a private folder; both lie in the image's folder.
        Everything that is touched bears the time `epoch`. Raises EditFailed or NoSpace with debugfs's first complaint.
        """
        self.look_ahead(set(nodes))
        lines = [f"set_current_time @{max(epoch, 1)}"]
        for path, node in nodes.items():
            lines += _commands(path, node, self.look(path), self._local(sources[path]) if path in sources else "")
        script = workspace / "edits.debugfs"
        script.write_text("\n".join([*lines, ""]))
        argv = ["debugfs", "-w", "-f", self._local(script), self._name]
        # The variable is for the superblock's own dates, the command for the inodes'.
        done = self._run(argv, env={"E2FSPROGS_FAKE_TIME": str(max(epoch, 1))})
        self._known.clear()
        complaints = _complaints(done.stderr)
        if complaints:
            raise self._refusal(complaints[0])

    def read_back(self, nodes: Mapping[str, Node], into: Mapping[str, Path]) -> dict[str, Entry | None]:
        """What there is now at every path of `nodes`; the contents of files go to the local files named by `into`."""
        self._known.clear()
        dumps = [f"dump {quoted(path)} {quoted(self._local(local))}" for path, local in into.items()]
        self._answers(dumps)
        self.look_ahead(set(nodes))
        return {path: self.look(path) for path in nodes}

    def check(self) -> None:
        """Raise EditFailed unless `e2fsck -fn` finds nothing to complain about."""
        done = self._run(["e2fsck", "-fn", self._name])
        if done.returncode:
            told = [line for line in done.text.splitlines() if line and not line.startswith("Pass ")]
            raise EditFailed(
                f"e2fsck found the ext4 damaged: {'; '.join(told[:3]) or done.complaint}",
                where=self.where,
                hint="if the base image has this fault already, get it again or use another one",
            )

    def _local(self, path: Path) -> str:
        """A local file as debugfs is given it: relative, so that no strange folder name comes into its script."""
        return str(path.relative_to(self._folder))

    def _answers(self, commands: Sequence[str]) -> list[str]:
        """Run read-only commands in one process; what each of them printed. Missing paths are no failure."""
        if not commands:
            return []
        script = "".join(f"{command}\n" for command in commands)
        done = self._run(["debugfs", "-f", "/dev/stdin", self._name], stdin=script.encode())
        complaints = [line for line in _complaints(done.stderr) if not any(absent in line for absent in _ABSENT)]
        if complaints:
            raise self._refusal(complaints[0])
        answers = []
        rest = done.stdout.decode("utf-8", "surrogateescape")
        for number, command in enumerate(commands):
            _, found, rest = rest.partition(f"debugfs: {command}\n")
            following = f"debugfs: {commands[number + 1]}\n" if number + 1 < len(commands) else ""
            if not found:
                raise EditFailed(f"debugfs did not do `{command}`", where=self.where)
            answers.append(rest[: rest.index(following)] if following and following in rest else rest)
        return answers

    def _entry(self, path: str, text: str) -> Entry | None:
        match = _STAT.search(text)
        if not match:
            return None
        kind = _KINDS.get(match["kind"], "other")
        size, target = int(match["size"]), ""
        if kind == "link":
            fast = re.search(r'^Fast link dest: "(.*)"$', text, re.MULTILINE | re.DOTALL)
            target = fast[1] if fast else self.read(path).decode("utf-8", "surrogateescape")
        owner = int(match["uid"]), int(match["gid"])
        return Entry(path, kind, int(match["mode"], 8), *owner, size, target)  # type: ignore[arg-type]

    def _run(
        self, argv: list[str], *, stdin: bytes | None = None, env: Mapping[str, str] | None = None
    ) -> tools.Completed:
        return tools.run(argv, stdin=stdin, env=env, cwd=self._folder, expect=None)

    def _refusal(self, complaint: str) -> ImagesmithError:
        if "No space left on device" in complaint:
            return NoSpace(f"debugfs: {complaint}", where=self.where, hint="free some space there, then run it again")
        if "Could not allocate" in complaint:
            return EditFailed(
                f"the ext4 is full ({complaint})", where=self.where, hint="raise the base's min_root in its profile"
            )
        return EditFailed(f"debugfs: {complaint}", where=self.where)


def quoted(path: str) -> str:
    """A path as one word of a debugfs script. The caller has refused control characters (`tree.split`)."""
    doubled = path.replace('"', '""')
    return f'"{doubled}"'


def _commands(path: str, node: Node, old: Entry | None, source: str) -> list[str]:
    """What debugfs has to do for one node."""
    name = quoted(path)
    commands = [f"rm {name}"] if old and old.kind != "folder" else []
    match node:
        case Gone():
            return commands
        case Symlink():
            return [*commands, f"symlink {name} {quoted(node.target)}"]
        case Folder():
            if not old or old.kind != "folder":
                commands.append(f"mkdir {name}")
            kind = 0o040000
        case File():
            commands.append(f"write {quoted(source)} {name}")
            kind = 0o100000
    fields = (("mode", f"0{kind | node.mode:o}"), ("uid", node.uid), ("gid", node.gid))
    return [*commands, *(f"sif {name} {field} {value}" for field, value in fields)]


def _complaints(stderr: bytes) -> list[str]:
    """What debugfs said on stderr, but for the line with its version."""
    lines = stderr.decode("utf-8", "replace").splitlines()
    return [line.strip() for line in lines if line.strip() and not re.fullmatch(r"debugfs \d[\w.]* \(.*\)", line)]
