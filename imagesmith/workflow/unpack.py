"""The raw image behind a path: the file itself, the raw one that stands for a packed one, or a packed one expanded.

Called by `workflow.verify`, `workflow.chosen` (for `boot`) and `inspect`; `flash` expands nothing (`workflow.source`),
but chooses the file by the same rule, `beside.preferred`. Expands into a temporary folder that only its owner may enter
(an image may hold secrets), and removes it. What a file is, is told by its content.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagesmith.disk import failures, room_for_large_files
from imagesmith.errors import DigestMismatch, IOFailed, UsageError
from imagesmith.events import Listener, StepFinished, StepStarted
from imagesmith.sources import content
from imagesmith.sources.decompress import expand
from imagesmith.workflow.beside import SUMS, Beside, digest_in, look_beside, of_packed, preferred, raw_name, sums_beside

_CHECK = "check file"


@dataclass(frozen=True, slots=True)
class Raw:
    """A raw image file. `named` is its place, or would be: beside it the map and manifest are looked for."""

    path: Path
    named: Path
    source: Path
    """The file that was read for it: `path` itself, or the packed one."""
    note: str = ""
    """A word for the user: its name and age."""

    def beside(self) -> Beside:
        """What lies beside it. Raises as `look_beside` does."""
        found = look_beside(self.path, self.named)
        return of_packed(found) if self.path != self.source == self.named else found


@contextlib.contextmanager
def raw_image(path: Path, listener: Listener, note: str = "") -> Iterator[Raw]:
    """The raw image; a packed one is expanded to $TMPDIR or /var/tmp unless the raw one beside it stands for it.

    Either must be what SHA256SUMS says, where that names it; a raw image that was asked for itself is not read here.
    Raises UsageError, IOFailed, NoSpace, DigestMismatch, ContentMalformed on what is damaged or no disk image.
    """
    used = preferred(path, listener)
    kind = content.detect(_head(used), str(used))
    if kind == "raw":
        if used != path:
            listener(StepStarted(_CHECK, f"{used} against {SUMS}"))
            agrees_with_list(used, f"it is not what {path.name} holds: remove it, and {path.name} itself is used")
            listener(StepFinished(_CHECK))
        yield Raw(used, used, used, note)
        return
    agrees_with_list(used, "it was altered, or the list is of another build: build or fetch both again")
    named = raw_name(used)
    with tempfile.TemporaryDirectory(prefix="imagesmith-", dir=room_for_large_files()) as folder:
        target = Path(folder) / named.name
        listener(StepStarted("expand", f"{used} ({kind}) to {target}, which is removed afterwards"))
        expand(used, target, listener=listener)
        listener(StepFinished("expand"))
        yield Raw(target, named, used, note or f"expanded from {used}")


def agrees_with_list(path: Path, hint: str) -> bool:
    """Whether SHA256SUMS beside a file names it. Reads it whole then, and raises DigestMismatch where it is another."""
    promised = digest_in(sums_beside(path), path)
    if promised is None:
        return False
    with failures(path, "reading"), path.open("rb", buffering=0) as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != promised.hex:
        raise DigestMismatch(f"its sha256 is {found}, promised is {promised.hex}", where=str(path), hint=hint)
    return True


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
