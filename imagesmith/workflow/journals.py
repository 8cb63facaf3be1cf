"""What interrupted runs wrote, kept from one run to the next: a small file per image and card, in the user's cache.

Called by `workflow.flash`. A record only spares writing (see `planning.resume`), so a lost or broken one is no failure.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from imagesmith.planning.resume import Written
from imagesmith.sources.owner import default_cache_folder

_KEPT_S = 14 * 24 * 3600
"""A card that was not flashed again for so long was used for something else."""
_MOST = 4 << 20


def journal(key: str) -> tuple[Written, Callable[[Written], None]]:
    """What is known of a card under `planning.resume.resume_key`, and the function that keeps it; "" keeps nothing."""
    if not key:
        return Written(), lambda written: None
    path = default_cache_folder() / "interrupted" / f"{key[:40]}.json"
    return _read(path), lambda written: _keep(path, written)


def _read(path: Path) -> Written:
    try:
        status = path.stat()
        if status.st_uid != os.getuid() or status.st_size > _MOST or status.st_mtime < time.time() - _KEPT_S:
            return Written()
        places = json.loads(path.read_bytes())["places"]
        return Written((int(offset), int(size)) for offset, size in places if int(offset) >= 0 and int(size) > 0)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Written()


def _keep(path: Path, written: Written) -> None:
    with contextlib.suppress(OSError):
        if not written.places:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps({"places": written.places}).encode())
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)  # a full disk
