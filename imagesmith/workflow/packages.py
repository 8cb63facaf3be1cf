"""Which packages a base lacks: what its image says of itself, and what apt makes of it. Called by `resolving`."""

from __future__ import annotations

from collections.abc import Sequence

from imagesmith.cluster.upkeep import ARCHIVES
from imagesmith.errors import EditFailed
from imagesmith.events import Listener
from imagesmith.image.raw import RawImage
from imagesmith.image.reading import Root
from imagesmith.model import BuildPlan, Cluster, ObtainedBase
from imagesmith.sources import apt
from imagesmith.sources.cache import Cache
from imagesmith.sources.lock import PinnedPackage
from imagesmith.workflow.archives import OS_RELEASE, archives_of, beside


def lacking(
    base: ObtainedBase, build_plan: BuildPlan, names: Sequence[str], cluster: Cluster, cache: Cache, listener: Listener
) -> tuple[PinnedPackage, ...]:
    """What has to be installed on `base` for `names` to be there. Raises what reading it, getting the keys of archives
    beside its own and asking apt raise."""
    with RawImage(base.path, writable=False) as raw:
        root = Root.of(raw)
        files = root.files([*apt.FILES, OS_RELEASE, *(path for folder in apt.FOLDERS for path in root.inside(folder))])
        if apt.STATUS not in files:
            raise EditFailed(
                f"has no {apt.STATUS}, so nobody can tell which packages it lacks",
                where=str(base.path),
                hint="write upkeep: packages: online in the inventory, or use another base",
            )
        files |= root.files(apt.key_files(files))
    files |= beside(files, archives_of(names, cluster.path), cache, listener)
    mirrors = {ARCHIVES[name]: mirror for name, mirror in cluster.upkeep.mirrors.items()}
    return apt.lacking(files, build_plan.architecture, names, mirrors=mirrors, listener=listener)
