"""The files that are fetched for an image beside its base: k3s, its container images, packages.

Called by `workflow.planned`; what they are is pinned by the locks, see docs/supplies.md. Reads locks, and the files
that an inventory names; what gets them is in `workflow.bases`.
"""

from __future__ import annotations

import os
from pathlib import Path

from imagesmith.errors import UsageError
from imagesmith.model import Base, Part, Supply
from imagesmith.sources.disk import digest_of, failures
from imagesmith.workflow.target import Wanted

PROGRAM = "/usr/local/bin/k3s"


def supplies_of(found: Wanted, part: Part | None, base: Base, lock_path: Path) -> tuple[Supply, ...]:
    """What the locks pin for the image of what is wanted. Raises DocumentInvalid for a broken lock."""
    if part is None or part.sealed is None:
        return ()
    return tuple(_program(part, found))


def _program(part: Part, found: Wanted) -> list[Supply]:
    """k3s itself, where the image carries it."""
    k3s, architecture = part.cluster.k3s, found.profile.board.architecture
    if k3s is None or k3s.delivery != "baked":
        return []
    if written := k3s.files.get(architecture):
        path = Path(part.cluster.path).parent / Path(written).expanduser()
        return [_local(path, f"k3s for {architecture}, the file {path.name}", PROGRAM, 0o755)]
    return []


def _local(path: Path, name: str, target: str, mode: int) -> Supply:
    """A file of this machine, digested now. Raises UsageError where there is none, IOFailed."""
    if not path.is_file():
        raise UsageError("there is no such file", where=str(path), hint="correct the path in the inventory: k3s: file:")
    with failures(path, "reading"):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            digest = digest_of(descriptor, size)
        finally:
            os.close(descriptor)
    return Supply(name, target, "", digest, size, mode, str(path.absolute()))
