"""The raw image behind a path: the file itself, the raw one beside a packed one, or a packed one expanded for now.

Called by `workflow.flash` and `workflow.verify`. Expands into a temporary folder that only its owner may enter (an
image may hold secrets), and removes it. What a file is, is told by its content.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagesmith.errors import IOFailed, UsageError
from imagesmith.events import Listener, Noted, StepFinished, StepStarted
from imagesmith.sources import content
from imagesmith.sources.decompress import expand
from imagesmith.workflow.beside import PACKED


@dataclass(frozen=True, slots=True)
class Raw:
    """A raw image file. `named` is its place, or would be: beside it the map and manifest are looked for."""

    path: Path
    named: Path
    note: str = ""
    """A word for the user: its name and age."""


@contextlib.contextmanager
def raw_image(path: Path, listener: Listener, note: str = "") -> Iterator[Raw]:
    """The raw image; a packed one is expanded to $TMPDIR or /var/tmp when the raw one is not beside it.

    Raises UsageError, IOFailed, NoSpace, ContentMalformed on what is damaged or no disk image.
    """
    kind = content.detect(_head(path), str(path))
    named = path.with_suffix("") if kind != "raw" and path.suffix in PACKED else path
    if kind == "raw":
        yield Raw(path, path, note)
    elif named != path and named.is_file() and content.detect(_head(named), str(named)) == "raw":
        listener(Noted(f"{path.name} is packed ({kind}); the raw {named.name} beside it is used"))
        yield Raw(named, named, note)
    else:
        # Here is the place for expanding while writing, leaving out the blocks that nothing maps.
        with tempfile.TemporaryDirectory(prefix="imagesmith-", dir=os.environ.get("TMPDIR") or "/var/tmp") as folder:
            target = Path(folder) / named.name
            listener(StepStarted("expand", f"{path} ({kind}) to {target}, which is removed afterwards"))
            expand(path, target, listener=listener)
            listener(StepFinished("expand"))
            yield Raw(target, named, note or f"expanded from {path}")


def _head(path: Path) -> bytes:
    # Opening a pipe would wait for ever, reading a device would never end.
    if path.exists() and not path.is_file():
        raise UsageError("is no regular file", where=str(path), hint="give an image file as the source")
    try:
        with path.open("rb") as file:
            return file.read(content.HEAD)
    except OSError as error:
        raise IOFailed(
            f"can't be read: {error.strerror}", where=str(path), hint="is the path right? Is it readable for you?"
        ) from error
