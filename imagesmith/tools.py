"""The one place that runs programs. A missing one is named together with the package that brings it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from imagesmith.errors import ImagesmithError, ToolMissing

Process = subprocess.Popen[bytes]
"""A running program, as `spawn` gives it."""
PIPE = subprocess.PIPE
DEVNULL = subprocess.DEVNULL
TimeoutExpired = subprocess.TimeoutExpired


@dataclass(frozen=True, slots=True)
class Tool:
    """A program we call: the Debian package that brings it, and what it is for."""

    name: str
    package: str
    purpose: str
    minimum: tuple[int, ...] = ()
    version_argv: tuple[str, ...] = ("--version",)


TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool("mmdebstrap", "mmdebstrap", "makes base images from Debian's packages"),
        Tool("mke2fs", "e2fsprogs", "makes ext4 from an archive", (1, 47, 1), ("-V",)),
        Tool("debugfs", "e2fsprogs", "edits ext4 without mounting it", (), ("-V",)),
        Tool("dumpe2fs", "e2fsprogs", "tells which ext4 blocks are free", (), ("-V",)),
        Tool("resize2fs", "e2fsprogs", "grows ext4 without mounting it", (), ("-V",)),
        Tool("e2fsck", "e2fsprogs", "checks ext4", (), ("-V",)),
        Tool("mkfs.fat", "dosfstools", "makes FAT", (), ("--help",)),
        # It tells its version only when it is given something to check.
        Tool("fsck.fat", "dosfstools", "checks FAT", (), ("-n", "/dev/null")),
        Tool("mcopy", "mtools", "reads and writes files on FAT without mounting it"),
        Tool("mdir", "mtools", "lists files on FAT"),
        Tool("mtype", "mtools", "reads small files on FAT"),
        Tool("mmd", "mtools", "makes directories on FAT"),
        Tool("mdel", "mtools", "removes files on FAT"),
        Tool("xorriso", "xorriso", "reads and rewrites installers' ISO images", (1, 5, 4), ("-version",)),
        Tool("xz", "xz-utils", "compresses images as .xz", (5, 2)),
        Tool("gpgv", "gpgv", "checks publishers' OpenPGP signatures"),
        Tool("ssh", "openssh-client", "reaches nodes that run", (), ("-V",)),
        Tool("lsblk", "util-linux", "lists disks and cards"),
        Tool("blkid", "util-linux", "tells what is on cards where udev does not run"),
        Tool("umount", "mount", "unmounts cards before they are written"),
        Tool("qemu-system-x86_64", "qemu-system-x86", "boots x86 images", (10,)),
        Tool("qemu-system-aarch64", "qemu-system-arm", "boots ARM images", (10,)),
        Tool("qemu-img", "qemu-utils", "makes overlays, reads qcow2"),
        Tool("newuidmap", "uidmap", "makes bases without being root"),
        Tool("qemu-aarch64-static", "qemu-user-static", "runs ARM programs while an ARM base is made"),
    )
}


@dataclass(frozen=True, slots=True)
class Completed:
    """What a program left behind."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", "replace")

    @property
    def complaint(self) -> str:
        """The last lines of stderr, for an error message."""
        lines = [line for line in self.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        return "\n".join(lines[-5:])


class ToolFailed(ImagesmithError):
    """A program ended with an exit code that its caller did not expect; callers turn it into their own class."""

    def __init__(self, completed: Completed) -> None:
        self.completed = completed
        name = Path(completed.argv[0]).name
        super().__init__(f"{name} ended with exit code {completed.returncode}: {completed.complaint or 'no message'}")


_listening: ContextVar[tuple[set[str], ...]] = ContextVar("listening", default=())


@contextmanager
def taking_part() -> Iterator[set[str]]:
    """A set that gathers the names of TOOLS that this thread finds in the block, as it does to run them."""
    names: set[str] = set()
    before = _listening.set((*_listening.get(), names))
    try:
        yield names
    finally:
        _listening.reset(before)


def find(name: str) -> str:
    """The program's path; /sbin is looked into too, since users' PATH often lacks it. Raises ToolMissing."""
    for names in _listening.get():
        names.update({name} & TOOLS.keys())
    path = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
    found = shutil.which(name, path=path)
    if found:
        return found
    tool = TOOLS.get(name)
    package = tool.package if tool else name
    purpose = f", which {tool.purpose}," if tool else ""
    raise ToolMissing(f"{name}{purpose} is not installed", hint=f"apt-get install {package}")


def run(
    argv: Sequence[str],
    *,
    stdin: bytes | IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    expect: Sequence[int] | None = (0,),
    timeout_s: float | None = None,
) -> Completed:
    """Run a program to its end.

    `env` is added to ours. `expect` lists the exit codes that are fine, None accepts all. `stdout` sends the
    output to an open file instead of `Completed.stdout`. Raises ToolMissing, ToolFailed; TimeoutExpired.
    """
    feed = stdin if isinstance(stdin, bytes) else None
    source: int | IO[bytes] | None = None
    if not isinstance(stdin, bytes):
        source = subprocess.DEVNULL if stdin is None else stdin
    done = subprocess.run(
        [find(argv[0]), *argv[1:]],
        input=feed,
        stdin=source,
        stdout=stdout if stdout is not None else subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(env),
        cwd=cwd,
        timeout=timeout_s,
        check=False,
    )
    completed = Completed(tuple(argv), done.returncode, done.stdout or b"", done.stderr or b"")
    if expect is not None and done.returncode not in expect:
        raise ToolFailed(completed)
    return completed


def spawn(
    argv: Sequence[str],
    *,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = subprocess.PIPE,
    stderr: int | IO[bytes] | None = subprocess.PIPE,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    new_session: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program that runs beside us; the caller ends and reaps it. Raises ToolMissing."""
    return subprocess.Popen(
        [find(argv[0]), *argv[1:]],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=_environment(env),
        cwd=cwd,
        pass_fds=tuple(pass_fds),
        start_new_session=new_session,
    )


def run_together(argvs: Sequence[Sequence[str]], within_s: float) -> list[bytes | None]:
    """Run short programs side by side; the output of each, None of those that did not end in time.

    They are told to end, but not waited for: one that the kernel holds (a disk that hangs) can't be ended at all.
    Raises ToolMissing. What they print must fit a pipe (64 KiB).
    """
    started = [spawn(argv, stderr=subprocess.DEVNULL) for argv in argvs]
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and any(process.poll() is None for process in started):
        time.sleep(0.005)
    found: list[bytes | None] = []
    for process in started:
        assert process.stdout
        with process.stdout:
            late = process.poll() is None
            found.append(None if late else process.stdout.read())
            if late:
                process.kill()
    return found


def own_argv(module: str, *words: str) -> list[str]:
    """The command that runs a module of ours as a child, whatever folder we are in and whoever set PYTHONPATH.

    Isolated (-I): a root process must not import what lies in the current folder.
    """
    root = str(Path(__file__).parents[1])
    start = f"import runpy, sys; sys.path.insert(0, {root!r}); runpy.run_module({module!r}, run_name='__main__')"
    return [sys.executable, "-I", "-c", start, *words]


def version(name: str) -> str:
    """The version that a program tells of itself, as `1.47.2`; `unknown` when it tells none. Raises ToolMissing."""
    tool = TOOLS.get(name)
    done = run([name, *(tool.version_argv if tool else ("--version",))], expect=None, timeout_s=20)
    found = re.search(r"\d+(\.\d+)+", (done.stdout + done.stderr).decode("utf-8", "replace"))
    return found[0] if found else "unknown"


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    # A fixed locale keeps messages parseable.
    return {**os.environ, "LC_ALL": "C.UTF-8", **(extra or {})}
