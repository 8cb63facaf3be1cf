"""One module per operating-system family: where its image expects a node's particulars, and what it then promises."""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.errors import UsageError
from imagesmith.families.armbian import Armbian
from imagesmith.families.debian import Debian
from imagesmith.families.debian_cloud import DebianGeneric, UbuntuCloud
from imagesmith.families.family import Family
from imagesmith.families.raspios import RaspiosCloudinit
from imagesmith.families.raspios_legacy import RaspiosLegacy
from imagesmith.families.ubuntu_live import UbuntuLive
from imagesmith.families.ubuntu_raspi import UbuntuRaspi

_ALL: tuple[Family, ...] = (
    Armbian(),
    Debian(),
    DebianGeneric(),
    RaspiosCloudinit(),
    RaspiosLegacy(),
    UbuntuCloud(),
    UbuntuLive(),
    UbuntuRaspi(),
)
FAMILIES: Mapping[str, Family] = {family.name: family for family in _ALL}
INSTALLERS = frozenset({UbuntuLive.name})
"""Families whose image installs a system: nobody can look into that beforehand."""


def family_named(name: str) -> Family:
    """The family that a base names; raises UsageError with the names there are."""
    family = FAMILIES.get(name)
    if family is None:
        raise UsageError(f"there is no operating-system family {name!r}", hint=f"there are: {', '.join(FAMILIES)}")
    return family
