"""What was built, remembered in the output folder, so that `flash` and `boot` find it by name or as the last one.

`workflow.build` records, `workflow.flash` and `cli` look up. Touches `last.json` in the output folder only.
The folder is the one that a build wrote to (`out/` below the working folder), so sudo finds what its user built.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from imagesmith.disk import failures
from imagesmith.errors import ContentMalformed, ImagesmithError, IOFailed, UsageError
from imagesmith.formats import manifest
from imagesmith.invoker import behind_sudo, give
from imagesmith.model import Image

RECORD = "last.json"
_SCHEMA = 1
_BUILD_FIRST = "build it first: imagesmith build TARGET"


@dataclass(frozen=True, slots=True)
class Built:
    """An image in the output folder. `target` and `options` are what `build` was called with: they make its plan."""

    name: str
    path: Path
    """The raw image."""
    plan_id: str
    built_at: int
    target: str
    options: Mapping[str, str] = field(default_factory=dict)


CurrentPlanId = Callable[[Built], str]
"""The id of the plan that `built.target` with `built.options` has now; given by `cli`, which knows planning."""


def record_build(
    output_dir: Path,
    images: Sequence[Image],
    *,
    targets: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> None:
    """Remember what one build command made; images of earlier builds stay known by their names.

    `targets` maps an image's name to the TARGET as it was typed (the name itself where it is missing), `options`
    are those of the command that change the plan (`base`, `hostname` ...). Raises IOFailed.
    """
    with _alone(output_dir):
        try:
            known, _ = _read(output_dir)
        except ContentMalformed:
            known = {}
        now = int(time.time())
        for image in images:
            target = (targets or {}).get(image.name, image.name)
            known[image.name] = Built(image.name, image.path, image.plan_id, now, target, dict(options or {}))
        document = {
            "schema": _SCHEMA,
            "last": [image.name for image in images],
            "images": {name: _plain(built, output_dir) for name, built in sorted(known.items())},
        }
        _write_whole(output_dir / RECORD, json.dumps(document, indent=2) + "\n")


def last_built(output_dir: Path) -> Built:
    """The image that the last build made. Raises UsageError when there is none, or several (`build --all`)."""
    known, last = _read(output_dir)
    found = [known[name] for name in last if name in known]
    if not found:
        raise UsageError("no image has been built here", where=str(output_dir), hint=_BUILD_FIRST)
    if len(found) > 1:
        names = ", ".join(built.name for built in found)
        raise UsageError(
            f"the last build made {len(found)} images: {names}",
            where=str(output_dir),
            hint=f"say which: imagesmith flash {found[0].name} DEVICE",
        )
    return _existing(found[0])


def find_built(output_dir: Path, target: str) -> Built:
    """The image built for TARGET (a node's, a profile's or an image's name). Raises UsageError."""
    known, _ = _read(output_dir)
    found = [known[target]] if target in known else [built for built in known.values() if built.target == target]
    if len(found) == 1:
        return _existing(found[0])
    names = ", ".join(built.name for built in (found or known.values())) or "nothing"
    raise UsageError(
        f"{target} names {len(found)} built images: {names}"
        if found
        else f"there is no image file of that name, and none was built for it; built here: {names}",
        where=target,
        hint="say which of them" if found else f"imagesmith build {target}",
    )


def recorded(output_dir: Path) -> tuple[Built, ...]:
    """Every image that was built into the folder, as it was recorded; it may be gone by now."""
    known, _ = _read(output_dir)
    return tuple(known.values())


def refuse_stale(built: Built, current_plan_id: CurrentPlanId) -> None:
    """Raise UsageError when the profile, the inventory or an option changed since the image was built."""
    current = current_plan_id(built)
    if current != built.plan_id:
        raise UsageError(
            f"{built.name} was built from an older plan ({built.plan_id[:12]}, now {current[:12]})",
            where=str(built.path),
            hint=f"build it again: imagesmith build {built.target}; or give the image's path to use it as it is",
        )


def show_age(seconds: float) -> str:
    """How long ago, as a person says it: `3 minutes ago`."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count = int(seconds // length)
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def _existing(built: Built) -> Built:
    if not built.path.is_file():
        raise UsageError(
            f"the image of {built.name} is gone",
            where=str(built.path),
            hint=f"build it again: imagesmith build {built.target}",
        )
    return _as_published(built)


def _as_published(built: Built) -> Built:
    """With the plan id that the image's own manifest tells: a build that was stopped before it was recorded leaves a
    record of the image that was there before."""
    path = built.path.with_name(f"{built.name}.manifest.json")
    try:
        return replace(built, plan_id=manifest.parse(path.read_bytes()).plan_id)
    except FileNotFoundError:
        return built
    except OSError as error:
        raise IOFailed(f"can't be read: {error.strerror}", where=str(path)) from error
    except ImagesmithError as error:
        raise error.within(f"in {path}") from error


@contextmanager
def _alone(output_dir: Path) -> Iterator[None]:
    """One process at a time changes the record; other builds that end just now wait. Raises IOFailed."""
    with failures(output_dir, "locking the output folder"):
        output_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(output_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def _read(output_dir: Path) -> tuple[dict[str, Built], list[str]]:
    path = output_dir / RECORD
    try:
        _refuse_foreign(path)
        document = json.loads(path.read_text("utf-8"))
        if document["schema"] != _SCHEMA:
            raise ValueError(f"schema {document['schema']}")
        known = {str(name): _built(str(name), entry, output_dir) for name, entry in document["images"].items()}
        return known, [str(name) for name in document["last"]]
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        raise IOFailed(f"can't be read: {error.strerror}", where=str(path)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ContentMalformed(
            f"is not a record of builds: {error!r}", where=str(path), hint="remove it and build again"
        ) from error


def _refuse_foreign(path: Path) -> None:
    """In a folder that all may write, another user could name the image that root will flash."""
    owner, user = path.stat().st_uid, behind_sudo()
    if owner not in {0, os.geteuid(), user.pw_uid if user else 0}:
        raise UsageError(
            f"belongs to another user (uid {owner})",
            where=str(path),
            hint="give the image's path instead, if you trust it",
        )


def _plain(built: Built, output_dir: Path) -> dict[str, object]:
    path = built.path.resolve()
    folder = output_dir.resolve()
    # Relative, so that the folder may be moved as a whole.
    shown = path.relative_to(folder) if path.is_relative_to(folder) else path
    return {
        "path": str(shown),
        "plan_id": built.plan_id,
        "built_at": built.built_at,
        "target": built.target,
        "options": dict(built.options),
    }


def _built(name: str, entry: Mapping[str, object], output_dir: Path) -> Built:
    options = entry["options"]
    if not isinstance(options, dict):
        raise TypeError("options")
    built_at = int(str(entry["built_at"]))
    path = output_dir / str(entry["path"])
    return Built(name, path, str(entry["plan_id"]), built_at, str(entry["target"]), options)


def _write_whole(path: Path, text: str) -> None:
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                give(file.fileno())
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise IOFailed(f"can't be written: {error.strerror}", where=str(path)) from error
