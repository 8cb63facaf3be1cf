"""Receipts of flashes as files: `receipts/<UTC time>.json` and `.txt` in the output folder, and those of earlier runs.

Called by `workflow.flash`. Touches that folder only. A receipt never decides whether a flash succeeded: what can't be
written or read is told as a warning.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from imagesmith.disk import failures
from imagesmith.errors import ContentMalformed, ImagesmithError, Interrupted
from imagesmith.events import Listener, Noted, Warned
from imagesmith.flash.writing import Receipt
from imagesmith.formats.canonical import to_plain
from imagesmith.formats.plain import from_plain
from imagesmith.invoker import give
from imagesmith.planning.flash import FlashPlan
from imagesmith.planning.receipt import SCHEMA, CardRecord, FlashReceipt, Stretch, text
from imagesmith.workflow.beside import Beside

FOLDER = "receipts"
_LARGEST = 1024 * 1024


def time_now() -> str:
    """The time as receipts tell it, in UTC: 2026-01-31T12:00:00Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def record_of(result: Receipt | ImagesmithError, plan: FlashPlan, node: str, beside: Beside, at: str) -> CardRecord:
    """What became of the card that `plan` was for, whose image is `node`'s."""
    device, image = plan.device, plan.image
    done = result if isinstance(result, Receipt) else None
    error = None if isinstance(result, Receipt) else result
    checked = f"sha256:{done.sha256}" if done and done.sha256 else ""
    return CardRecord(
        at=at,
        node=node,
        outcome="verified" if done else "interrupted" if isinstance(error, Interrupted) else "failed",
        device=device.path,
        by_id=next(iter(device.by_id), ""),
        model=device.model,
        serial=device.serial,
        size=device.size,
        image=str(image.path),
        plan_id=beside.manifest.plan_id if beside.manifest else "",
        digest=checked or (str(image.digest) if image.digest else ""),
        written=done.written if done else 0,
        read_back=done.written if done else 0,
        mended=tuple(Stretch(*place) for place in done.mended) if done else (),
        settled=done.settled if done else "",
        error=str(error) if error else "",
        state=error.hint if error else "",
        digest_checked=bool(checked),
    )


def keep(cards: Sequence[CardRecord], output_dir: Path, listener: Listener) -> None:
    """Write the receipt of a run under names that were free, 0644. Never raises an ImagesmithError."""
    receipt = FlashReceipt(tuple(cards))
    folder = output_dir / FOLDER
    try:
        with failures(folder, "writing the receipt"):
            folder.mkdir(parents=True, exist_ok=True)
            name = cards[0].at.replace(":", "")
            path = _write_new(folder, name, ".json", json.dumps(to_plain(receipt), indent=2) + "\n")
            _write_new(folder, path.stem, ".txt", f"{text(receipt)}\n")
        listener(Noted(f"receipt: {path}"))
    except ImagesmithError as error:
        listener(Warned(f"there is no receipt of this on disk: {error}", error.hint))


def earlier(output_dir: Path, listener: Listener) -> tuple[FlashReceipt, ...]:
    """The receipts of earlier runs, oldest first; what is no receipt is told and left out."""
    found = []
    for path in sorted((output_dir / FOLDER).glob("*.json")):
        if not path.is_file():
            continue
        try:
            found.append(_read(path))
        except ImagesmithError as error:
            listener(Warned(f"an earlier receipt can't be read: {error}", "look at it, or move it away"))
    return tuple(found)


def _read(path: Path) -> FlashReceipt:
    with failures(path, "reading it"), path.open("rb") as file:
        data = file.read(_LARGEST + 1)
    try:
        document = json.loads(data.decode("utf-8")) if len(data) <= _LARGEST else None
    except (ValueError, RecursionError) as error:
        raise ContentMalformed("is no JSON", where=str(path)) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ContentMalformed(f"is no receipt of schema {SCHEMA}", where=str(path))
    return from_plain(FlashReceipt, document, str(path))


def _write_new(folder: Path, name: str, ending: str, content: str) -> Path:
    """The whole file or none, under `name` or, where that is taken, with a number after it. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(prefix=".receipt.", dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, 0o644)
            give(descriptor)
            os.fsync(descriptor)
        return _named(Path(temporary), folder, name, ending)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _named(temporary: Path, folder: Path, name: str, ending: str) -> Path:
    number = 1
    while True:
        path = folder / (f"{name}-{number}{ending}" if number > 1 else f"{name}{ending}")
        try:
            # Unlike a rename, a link replaces nothing; a file system without links (FAT) has no such promise.
            os.link(temporary, path)
            return path
        except FileExistsError:
            number += 1
        except PermissionError:
            if not os.path.lexists(path):
                temporary.rename(path)
                return path
            number += 1
