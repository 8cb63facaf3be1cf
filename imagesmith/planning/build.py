"""Decides what a build will do: a profile, a node and a base become a BuildPlan, before any byte is read.

Called by `workflow` and `cli`. The edits and promises come from the base's operating-system family.
"""

from __future__ import annotations

from dataclasses import replace

from imagesmith.cluster import contents
from imagesmith.cluster.parts import cautions
from imagesmith.errors import UsageError
from imagesmith.families import family_named
from imagesmith.families.family import Given
from imagesmith.model import Base, BuildPlan, Edit, Materials, Node, Part, Profile, Promise, SealedHostKey, Supply
from imagesmith.planning import fetched
from imagesmith.planning.payload import documents


def plan_build(
    profile: Profile,
    node: Node,
    base: Base,
    materials: Materials,
    *,
    epoch: int = 0,
    host_keys: tuple[SealedHostKey, ...] = (),
    part: Part | None = None,
    supplies: tuple[Supply, ...] = (),
    downloads: tuple[Supply, ...] = (),
) -> BuildPlan:
    """The plan that makes `node` from `base`, which is one of the profile's board, perhaps with a digest from a lock.

    `epoch` (seconds since 1970) is the time that every written file bears; 0 takes the base's own. `host_keys` are
    those that a vault keeps for the node; without them it makes its own. `part` is its part in a k3s cluster, None
    where it has none; `supplies` are the files that are fetched for it, `downloads` those that its first boot fetches.
    Raises UsageError for a base that the board does not have and for settings that no document can hold.
    """
    if profile.base_named(base.name) is None:
        known = ", ".join(one.name for one in profile.board.bases)
        raise UsageError(f"the base {base.name} is none of {profile.board.name}'s", hint=f"it has: {known}")
    # Said outright, so that choosing the default by name gives the same plan as not choosing.
    node = replace(node, profile=profile.name, base=base.name)
    if part:
        node = contents.settled(part, node)
    family = family_named(base.family)
    given = Given(node, profile, base, documents(node, profile, materials), materials, host_keys)
    return BuildPlan(
        name=node.name,
        node=node,
        role=node.role or profile.role,
        profile=profile.name,
        board=profile.board.name,
        architecture=profile.board.architecture,
        base=base,
        edits=(*family.edits(given), *(_of_cluster(part, profile, base, materials, downloads) if part else ())),
        promises=_promises(family.promises(given), part),
        machine=profile.board.machine_for(base),
        supplies=supplies,
        duty=part.duty if part else None,
        cautions=cautions(part, profile.board) if part else (),
        epoch=epoch,
    )


def _of_cluster(
    part: Part, profile: Profile, base: Base, materials: Materials, downloads: tuple[Supply, ...]
) -> tuple[Edit, ...]:
    return (*contents.edits(part, profile, materials), *fetched.edits(part, base, downloads))


def _promises(family: tuple[Promise, ...], part: Part | None) -> tuple[Promise, ...]:
    if part is None:
        return family
    withdrawn = contents.withdrawn(part)
    return (*(promise for promise in family if promise.fact not in withdrawn), *contents.promises(part))
