"""The container images of another k3s, for nodes that run without internet. Called by `workflow.upgrade`.

Reads the files of this machine that are sent, and asks nodes for those that lie there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from imagesmith.errors import SourceUnreachable, UsageError
from imagesmith.model import Architecture
from imagesmith.planning.upgrading import IMAGES, Images
from imagesmith.remote.session import Session
from imagesmith.workflow.nodes import Rack
from imagesmith.workflow.supplies import Kind, release_source

_DIGEST_S = 300
"""A Raspberry Pi 3 reads a few hundred MiB from its card, and digests them."""


def given_images(of: Rack, files: Sequence[tuple[str, Path]]) -> dict[str, tuple[Images, Path]]:
    """Files of container images by their architecture. Raises UsageError for what is none, or of none."""
    names = release_source(of.cluster.path).images
    found: dict[str, tuple[Images, Path]] = {}
    for said, path in files:
        if not path.is_file():
            raise UsageError("there is no such file", where=str(path), hint="correct the path behind --images")
        kind = said or next((kind for kind, name in names.items() if name == path.name), "")
        if kind not in names:
            hint = f"keep the name of the release ({', '.join(names.values())}), or say it: --images arm64={path}"
            raise UsageError("its name does not say for which architecture it is", where=str(path), hint=hint)
        if kind in found:
            raise UsageError(f"there are two files of images for {kind}", where=str(path), hint="give one of each")
        found[kind] = (Images(kind, sha256(path), names[kind]), path)
    return found


def lacking_images(
    of: Rack, kinds: Collection[Architecture], obtain: Callable[[Kind, Architecture], Path] | None
) -> dict[str, tuple[Images, Path]]:
    """Those that were not given. Raises UsageError where nobody gets them, and what `obtain` does."""
    if kinds and obtain is None:
        raise UsageError(
            f"there are no container images for {', '.join(sorted(kinds))}, and this cluster gets none by itself "
            "(airgap)", hint="give them: --images FILE",
        )  # fmt: skip
    try:
        return given_images(of, [(kind, obtain("images", kind)) for kind in sorted(kinds)] if obtain else [])
    except SourceUnreachable as error:
        error.hint += ". This cluster is airgap, so its nodes need the release's container images: --images FILE"
        raise error.within("nothing was changed") from None


def images_on(of: Rack, nodes: Session, name: str, kind: Architecture) -> str:
    """The digest of what lies on a node; empty = nothing does."""
    path = f"{IMAGES}/{release_source(of.cluster.path).images[kind]}"
    script = f"[ ! -f {path} ] || sha256sum {path}"
    told = nodes.run(name, ("sh", "-c", script), limit_s=_DIGEST_S, doing="telling which container images it has")
    return told.text.partition(" ")[0].strip()


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
