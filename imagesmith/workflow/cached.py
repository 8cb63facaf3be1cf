"""Whether a plan's base is there already, so that a build would fetch nothing.

Called by `cli.plan`. Apart from `planned`, since what fetches takes long to import and most commands don't.
"""

from __future__ import annotations

from imagesmith.model import BuildPlan, DebianSource, FileSource, HttpSource
from imagesmith.sources import bootstrap, obtain
from imagesmith.sources.cache import Cache


def base_in_cache(build_plan: BuildPlan, cache: Cache) -> bool:
    """Whether a build of the plan would find its base in the cache. Looks only: no byte of it is compared."""
    match build_plan.base.source:
        case HttpSource() as source:
            return obtain.in_cache(source, cache)
        case DebianSource() as source:
            return bootstrap.in_cache(source, build_plan.architecture, cache)
        case FileSource():
            return False
