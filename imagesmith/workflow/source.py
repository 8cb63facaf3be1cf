"""The image that goes to cards, opened but not expanded: a file, what was built for a TARGET, or standard input.

Called by `workflow.flash` and `workflow.verify`. Opens files; what is in them is read by the feeder.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagesmith.errors import IOFailed, UsageError
from imagesmith.events import Listener, Noted
from imagesmith.messages import Look, Looked
from imagesmith.workflow.beside import PACKED, Beside, look_beside
from imagesmith.workflow.built import CurrentPlanId
from imagesmith.workflow.chosen import image_named

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Opened:
    """A source to be given to a feeder. `named` is the raw image's place, or would be: its side files lie there."""

    look: Look
    named: Path
    note: str = ""
    """A word for the user: its name and age."""
    path: Path | None = None
    """The file that is read; None for a pipe or an address."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (self.look.descriptor,) if self.look.descriptor >= 0 else ()

    def beside(self, looked: Looked, head: bytes) -> Beside:
        """What lies beside it; nothing does beside a pipe or an address. Raises as `look_beside` does."""
        return look_beside(self.named, self.named, (looked.size, head))


@contextlib.contextmanager
def opened(
    source: str | None, output_dir: Path, current_plan_id: CurrentPlanId, listener: Listener, digest: str = ""
) -> Iterator[Opened]:
    """The source that a word on the command line means; None = the image built last. `digest`: promised of the file.

    Raises UsageError (no such image, a stale one, a folder ...), IOFailed.
    """
    if source == STDIN:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("nothing comes through standard input", hint="pipe an image in: xz -dc IMAGE.xz | ...")
        yield Opened(Look("standard input", descriptor=0, digest=digest), Path("standard input"))
        return
    path, note = image_named(source, output_dir, current_plan_id)
    with opened_file(path, listener, note, digest) as found:
        yield found


@contextlib.contextmanager
def opened_file(path: Path, listener: Listener, note: str = "", digest: str = "") -> Iterator[Opened]:
    """An image file, packed or not; the raw one beside a packed one is preferred. Raises UsageError, IOFailed."""
    named = path.with_suffix("") if path.suffix in PACKED else path
    if named != path and path.is_file() and named.is_file() and not digest:
        listener(Noted(f"{path.name} is packed; the raw {named.name} beside it is used"))
        path = named
    descriptor = _open(path)
    try:
        yield Opened(Look(str(path), descriptor=descriptor, digest=digest), named, note, path)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        # Without O_NONBLOCK a named pipe would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise IOFailed(
            f"can't be read: {error.strerror}",
            where=str(path),
            hint="is the path right? Under sudo, too, it must be readable for the user who called",
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(
            "is no regular file", where=str(path), hint="give an image file as the source, or - for a pipe"
        )
    os.set_blocking(descriptor, True)
    return descriptor
