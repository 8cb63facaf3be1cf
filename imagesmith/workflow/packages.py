"""Which packages a base lacks: what its image says of itself, and what apt makes of it. Called by `resolving`."""

from __future__ import annotations

from collections.abc import Sequence

from imagesmith.cluster.upkeep import ARCHIVES
from imagesmith.errors import EditFailed
from imagesmith.events import Listener
from imagesmith.image.raw import RawImage
from imagesmith.image.reading import Root
from imagesmith.model import BuildPlan, ObtainedBase, Upkeep
from imagesmith.sources import apt
from imagesmith.sources.lock import PinnedPackage


def lacking(
    base: ObtainedBase, build_plan: BuildPlan, names: Sequence[str], upkeep: Upkeep, listener: Listener
) -> tuple[PinnedPackage, ...]:
    """What has to be installed on `base` for `names` to be there. Raises what reading it and asking apt raise."""
    with RawImage(base.path, writable=False) as raw:
        root = Root.of(raw)
        files = root.files([*apt.FILES, *(path for folder in apt.FOLDERS for path in root.inside(folder))])
        if apt.STATUS not in files:
            raise EditFailed(
                f"has no {apt.STATUS}, so nobody can tell which packages it lacks",
                where=str(base.path),
                hint="write upkeep: packages: online in the inventory, or use another base",
            )
        files |= root.files(apt.key_files(files))
    mirrors = {ARCHIVES[name]: mirror for name, mirror in upkeep.mirrors.items()}
    return apt.lacking(files, build_plan.architecture, names, mirrors=mirrors, listener=listener)
