"""The raw image behind a path: the file itself, or the raw one that lies beside a packed one.

Called by `workflow.flash` and `workflow.verify`. What a file is, is told by its content.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imagesmith.errors import IOFailed, UsageError
from imagesmith.events import Listener, Noted
from imagesmith.sources import content
from imagesmith.workflow.beside import raw_beside


@dataclass(frozen=True, slots=True)
class Raw:
    """A raw image file, and a word about it for the user (its name and age)."""

    path: Path
    note: str = ""


def raw_image(path: Path, listener: Listener) -> Raw:
    """Find the raw image. Raises IOFailed, ContentMalformed on what is no disk image, UsageError on a packed one."""
    kind = content.detect(_head(path), str(path))
    if kind == "raw":
        return Raw(path)
    raw = raw_beside(path)
    if raw and content.detect(_head(raw), str(raw)) == "raw":
        listener(Noted(f"{path.name} is packed ({kind}); the raw {raw.name} beside it is used"))
        return Raw(raw)
    # Here is the place for expanding while writing, with the blocks that nothing maps left out.
    raise UsageError(
        f"is packed ({kind}) and the raw image is not beside it",
        where=str(path),
        hint="unpack it first, in the same folder, so that its block map and manifest are found",
    )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(content.HEAD)
    except OSError as error:
        raise IOFailed(
            f"can't be read: {error.strerror}", where=str(path), hint="is the path right? Is it readable for you?"
        ) from error
