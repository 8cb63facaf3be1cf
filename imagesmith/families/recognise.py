"""Which family an image is of, told by what is in it; and whether that is what a plan was made for.

Called by `workflow` before the first byte is written, and for `inspect`.
"""

from __future__ import annotations

from dataclasses import dataclass

from imagesmith.errors import EditFailed
from imagesmith.families import FAMILIES
from imagesmith.families.findings import ALWAYS, Clue, Findings
from imagesmith.families.foreign import FOREIGN, refuse
from imagesmith.model import Architecture, Base


@dataclass(frozen=True, slots=True)
class Recognised:
    """A family's name, and what shows it."""

    family: str
    because: str


def all_clues() -> tuple[Clue, ...]:
    """Every path that anybody here asks for."""
    asked = [*ALWAYS]
    for family in FAMILIES.values():
        asked += family.clues
    for foreign in FOREIGN:
        asked += foreign.clues
    return tuple(dict.fromkeys(asked))


def recognise(found: Findings) -> Recognised:
    """The one family that claims the image. Raises EditFailed for systems known not to work, and for unknown ones."""
    refuse(found)
    claims = [Recognised(name, because) for name, family in FAMILIES.items() if (because := family.claims(found))]
    if len(claims) == 1:
        return claims[0]
    if claims:
        rivals = " and ".join(f"{claim.family} ({claim.because})" for claim in claims)
        raise EditFailed(f"the image looks like {rivals} at once", where=found.where, hint=_UNKNOWN)
    raise EditFailed(f"no known system is recognised in it; found: {found.described}", where=found.where, hint=_UNKNOWN)


def check(found: Findings, base: Base, architecture: Architecture) -> Recognised:
    """Hold an image against what the plan takes it for; the family. Raises EditFailed with everything that differs."""
    recognised = recognise(found)
    if recognised.family != base.family:
        raise EditFailed(
            f"the image is of the family {recognised.family} ({recognised.because}), the base {base.name} says "
            f"{base.family}",
            where=found.where,
            hint=f"write `family: {recognised.family}` in the base, or choose another base with --base",
        )
    differences = [*_system(found, base, architecture), *FAMILIES[base.family].objections(found, base)]
    if differences:
        raise EditFailed(
            f"the image is not what the base {base.name} expects: {'; '.join(differences)}",
            where=found.where,
            hint="its publisher may have changed it: take the release that the profile names, or see docs/boards.md",
        )
    return recognised


def _system(found: Findings, base: Base, architecture: Architecture) -> list[str]:
    differences = []
    if architecture not in found.architectures:
        has = " and ".join(found.architectures) or "no 64-bit system"
        differences.append(f"it is made for {has}, the board is {architecture}")
    release = found.os_release
    codename = release.get("VERSION_CODENAME") or release.get("VERSION_ID") or "unknown"
    if base.releases and codename not in base.releases:
        differences.append(f"it is the release {codename}, tried were {', '.join(base.releases)} (`releases`)")
    return differences


_UNKNOWN = "imagesmith inspect shows what is in it; docs/boards.md tells which images are known"
