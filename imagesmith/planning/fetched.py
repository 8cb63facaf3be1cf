"""What is fetched for an image beside its base: what the first boot is told of it, and a person.

Called by `planning.build`, `planning.explain` and `workflow.build`.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

from imagesmith.cluster import contents
from imagesmith.families import INSTALLERS
from imagesmith.formats.assignments import assignments
from imagesmith.model import Base, Edit, Package, Part, PutFile, Supply
from imagesmith.units import show_size

PACKAGES = "/var/lib/imagesmith/packages"
"""Where an image carries packages until its first boot has installed them."""
_PACKAGES_CONF = "/etc/imagesmith/packages.conf"
_DOWNLOADS = "/etc/imagesmith/downloads"


def edits(part: Part, base: Base, downloads: Sequence[Supply]) -> tuple[Edit, ...]:
    """Two files, as far as there is something to say; the steps 25-packages and 70-downloads read them."""
    names = sorted(contents.packages(part))
    online = part.cluster.upkeep.packages == "online" or base.family in INSTALLERS
    told: list[Edit] = []
    if names:
        values = {"PACKAGES": " ".join(names), "FROM": "archive" if online else "image"}
        told.append(PutFile("root", _PACKAGES_CONF, assignments(values)))
    if downloads:
        told.append(PutFile("root", _DOWNLOADS, "".join(map(_line, downloads)).encode()))
    return tuple(told)


def carried(supplies: Sequence[Supply]) -> list[str]:
    """What an image carries beside its edits, in words: a line each, the packages in one."""
    packages = [one for one in supplies if one.path.startswith(f"{PACKAGES}/")]
    others = [one for one in supplies if one not in packages]
    lines = [f"{one.name}, {show_size(one.size)}" if one.size else one.name for one in others]
    if packages:
        names = ", ".join(one.name.partition(" ")[0] for one in packages)
        lines.append(f"{len(packages)} packages, {show_size(sum(one.size for one in packages))}: {names}")
    return lines


def packages_in(supplies: Sequence[Supply]) -> tuple[Package, ...]:
    """The packages among them, as their files are named."""
    names = [one.path.removeprefix(f"{PACKAGES}/") for one in supplies if one.path.startswith(f"{PACKAGES}/")]
    return tuple(Package(*unquote(name).removesuffix(".deb").split("_")) for name in names)


def _line(download: Supply) -> str:
    """One word each: none of them can hold a space."""
    return f"file {download.digest} {download.size} {download.mode:04o} {download.path} {download.url}\n"
