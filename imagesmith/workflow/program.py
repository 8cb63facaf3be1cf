"""k3s of a version and its container images, for nodes that run: looked up, pinned in the lock as for images of
nodes, and fetched into the cache.

Called by `cli.cluster`, for what `upgrade` sends to nodes. Asks the network only for what is not here yet.
"""

from __future__ import annotations

from pathlib import Path

from imagesmith.cluster.k3s import PROGRAM
from imagesmith.errors import ContentMalformed
from imagesmith.events import Listener, unheard
from imagesmith.model import Architecture, Supply
from imagesmith.planning.upgrading import IMAGES
from imagesmith.sources import lock
from imagesmith.sources.asking import Asking
from imagesmith.workflow.bases import Bases
from imagesmith.workflow.locking import Options
from imagesmith.workflow.planned import shipped_lock
from imagesmith.workflow.resolving import looked_up
from imagesmith.workflow.supplies import Kind, ReleaseFile, entry_for, release_source


def release_file(
    kind: Kind,
    inventory: str,
    version: str,
    architecture: Architecture,
    lock_path: Path,
    bases: Bases,
    listener: Listener = unheard,
    options: Options | None = None,
) -> Path:
    """The program or the images, of the digest that the lock has, or that its publisher gives and the lock has then.

    It stays in the cache as long as `bases` is open. Raises SourceUnreachable, DigestMismatch, DocumentInvalid.
    """
    chosen, source = options or Options(), release_source(inventory)
    path, mode = (PROGRAM, 0o755) if kind == "program" else (f"{IMAGES}/{source.images[architecture]}", 0o644)
    file = ReleaseFile(kind, version, architecture, path, mode, source.folder_url(version))
    entry = entry_for(file, lock.read(lock_path), shipped_lock())
    if entry is None:
        asking = Asking(patience=chosen.patience, listener=listener)
        entry = looked_up(file, inventory, {}, asking, chosen)
        lock.put_file(lock_path, file.key, entry)
    if entry.digest is None:
        raise ContentMalformed(
            f"it has no digest for {file.key}", where=str(lock_path), hint="take the entry out of it"
        )
    supply = Supply(file.words(file.asked), file.path, entry.url, entry.digest, entry.size, file.mode)
    return bases.supply(supply).path
