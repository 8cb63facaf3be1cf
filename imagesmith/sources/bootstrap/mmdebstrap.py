"""The adapter to mmdebstrap: its command lines (pure), and a run of it with progress, failures and a clean end.

Called by `tree`. Every run has a folder of its own as current directory; what goes in and out of the chroot lies
there under plain names, because in unshare mode nothing but mmdebstrap's own `upload` and `tar-in` reaches it.
"""

from __future__ import annotations

import os
import re
import signal
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from imagesmith import tools
from imagesmith.errors import ImagesmithError, NoSpace, SourceUnreachable
from imagesmith.events import Listener, StepStarted
from imagesmith.model import Architecture, DebianSource
from imagesmith.sources.bootstrap.recipe import Recipe

# What mmdebstrap says when it begins something, and what we call that.
_STEPS = {
    "running apt-get update": "read package lists",
    "downloading packages with apt": "download packages",
    "extracting archives": "unpack the essential packages",
    "installing essential packages": "install the essential packages",
    "installing remaining packages": "install the other packages",
    "creating tarball": "pack the tree",
}
_UNREACHABLE = re.compile(
    r"Could not (?:resolve|connect)|Temporary failure|Connection (?:failed|refused|timed out|reset)|Network is unreach"
    r"|Failed to fetch|Unable to connect|Cannot initiate the connection|404 +Not Found"
)
_NOT_FOUND = re.compile(r"(?:Unable to locate package|has no installation candidate|Couldn't find any package).*")
_SPEAKING = 200
"""How many of the last lines are kept for an error message."""
_TIDYING = ("I: removing tempdir", "I: main()", "umount:", "W: umount", "W: cannot unlink", "W: hooklistener")
_PATIENCE_S = 60

# Docs and manuals are left out while a tree is made: on a card they cost more than they give.
_OPTIONS = (
    "--variant=apt",
    '--aptopt=Apt::Install-Recommends "false"',
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/man/*",
)
_INSIDE = 'chroot "$1" sh /.imagesmith/'
_OUTSIDE = 'sh "$1/.imagesmith/'


def resolve_argv(recipe: Recipe, mode: str) -> tuple[str, ...]:
    """Fetch package lists into an empty chroot and ask apt what it would install.

    Needs `wanted` and `resolve.sh` in the current directory; leaves `simulated` and `lists.tar`.
    """
    hooks = (
        'mkdir -p "$1/.imagesmith"',
        "upload wanted /.imagesmith/wanted",
        "upload resolve.sh /.imagesmith/resolve.sh",
        f'{_OUTSIDE}resolve.sh" "$1"',
        "download /.imagesmith/simulated simulated",
        "tar-out /var/lib/apt/lists lists.tar",
    )
    return (
        *_common(recipe.source, recipe.architecture, mode),
        "--variant=custom",
        "--format=null",
        *(f"--customize-hook={hook}" for hook in hooks),
        recipe.source.suite,
        "-",
    )


def native_argv(suite: str, host: Architecture, packages: Sequence[str], mode: str) -> tuple[str, ...]:
    """Unpack programs for this machine, without installing them, into `native.tar`."""
    return (
        *_program(mode),
        f"--architectures={host}",
        "--variant=extract",
        "--skip=output/dev",  # they can't be unpacked again without root
        '--aptopt=Apt::Install-Recommends "false"',
        f"--include={','.join(packages)}",
        suite,
        "native.tar",
    )


def tree_argv(recipe: Recipe, mode: str, *, native: bool) -> tuple[str, ...]:
    """Make the tree out of the package lists in `lists.tar`.

    Needs besides it the scripts of hooks/, `settings.tar`, and `native.tar` when `native`. Leaves `root.tar`, with
    the boot partition's mount point empty, and `boot.tar`, that folder filled.
    """
    loader, boot = recipe.source.loader, recipe.boot.mount
    scripts = ("divert.sh", "restore.sh", "settle.sh", f"{loader}.sh")
    extract = ['mkdir -p "$1/.imagesmith/append"', *(f"upload {name} /.imagesmith/{name}" for name in scripts)]
    if native:
        extract += ['mkdir "$1/.imagesmith/native"', "tar-in native.tar /.imagesmith/native"]
    extract.append(f'{_OUTSIDE}divert.sh" "$1"')
    customize = (
        "tar-in settings.tar /",
        f'{_OUTSIDE}restore.sh" "$1" usr/sbin/update-initramfs',
        f"{_INSIDE}settle.sh",
        f"{_INSIDE}{loader}.sh {boot}",
        f'{_OUTSIDE}restore.sh" "$1"',
        f"tar-out {boot} boot.tar",
        f'chroot "$1" find {boot} -mindepth 1 -delete',
    )
    return (
        *_common(recipe.source, recipe.architecture, mode),
        *_OPTIONS,
        f"--include={','.join(recipe.source.packages)}",
        # hooks/settle.sh cleans up after apt: by apt itself it hangs on who may enter the folder above.
        "--skip=update,cleanup/apt",
        "--setup-hook=tar-in lists.tar /var/lib/apt",
        *(f"--extract-hook={hook}" for hook in extract),
        *(f"--customize-hook={hook}" for hook in customize),
        recipe.source.suite,
        "root.tar",
    )


def run(argv: Sequence[str], *, folder: Path, temporary: Path | None, epoch: int | None, listener: Listener) -> None:
    """Run mmdebstrap in `folder`, telling its steps. Its chroot lies in `temporary` (None: where it likes).

    Raises ToolMissing; SourceUnreachable, NoSpace, or ImagesmithError with the last lines of what it said.
    """
    # Byte code that Python writes of what it happens to import differs from run to run; that of packages does not.
    env = {"DEBIAN_FRONTEND": "noninteractive", "TZ": "UTC", "PYTHONDONTWRITEBYTECODE": "1"}
    if epoch is not None:
        env["SOURCE_DATE_EPOCH"] = str(epoch)
    if temporary is not None:
        env["TMPDIR"] = str(temporary)
    tools.find("mmdebstrap")
    with (folder / "mmdebstrap.out").open("wb") as out:
        # A session of its own: Ctrl-C reaches it through us only, so that it unmounts and removes its chroot.
        process = tools.spawn(argv, stdout=out, env=env, cwd=folder, new_session=True)
        assert process.stderr is not None
        try:
            said = _follow(process.stderr, listener)
            code = process.wait()
        except BaseException:
            _end(process)
            raise
        finally:
            process.stderr.close()
    if code != 0:
        raise _failure(said)


def _end(process: tools.Process) -> None:
    """Let it clean up after itself, or kill it and what it started: its mounts are in a namespace that goes with it."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=_PATIENCE_S)
    except tools.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _common(source: DebianSource, architecture: Architecture, mode: str) -> tuple[str, ...]:
    components = ",".join(source.components)
    return (*_program(mode), f"--architectures={architecture}", f"--components={components}")


def _program(mode: str) -> tuple[str, ...]:
    # As root it would mount /dev, /proc and /sys for the whole machine to see; killed, it would leave them, and who
    # then removes its folder reaches through them. In a namespace of its own they end with it.
    alone = ("unshare", "--mount") if mode == "root" else ()
    return (*alone, "mmdebstrap", f"--mode={mode}")


def _follow(stream: IO[bytes], listener: Listener) -> list[str]:
    """Tell each step as it begins; returns the last lines."""
    last: deque[str] = deque(maxlen=_SPEAKING)
    for raw in stream:
        line = raw.decode("utf-8", "replace").rstrip()
        last.append(line)
        for opening, step in _STEPS.items():
            if line.startswith(f"I: {opening}"):
                listener(StepStarted(step))
        if line.startswith("update-initramfs: Generating"):
            listener(StepStarted("make the initrd", os.path.basename(line.split()[-1])))  # noqa: PTH119
    return list(last)


def _failure(said: Sequence[str]) -> ImagesmithError:
    text = "\n".join(said)
    # Its last lines tell of its own cleaning up; what matters stands before.
    lines = [line[:300] for line in said if line and not line.startswith(_TIDYING)]
    shown = "\n  ".join(lines[-12:])
    if "No space left on device" in text:
        return NoSpace(f"no space left while the Debian base was made:\n  {shown}", hint="free some space")
    missing = _NOT_FOUND.search(text)
    if missing:
        return ImagesmithError(
            f"the Debian base cannot be made: {missing[0]}",
            hint="correct `packages`, `components` or `suite` of the base in its profile",
        )
    if _UNREACHABLE.search(text):
        return SourceUnreachable(
            f"Debian's package archive is not reachable:\n  {shown}",
            hint="look at the network (and http_proxy), then run it again; a base in the cache needs no network",
        )
    return ImagesmithError(f"mmdebstrap failed:\n  {shown}")
