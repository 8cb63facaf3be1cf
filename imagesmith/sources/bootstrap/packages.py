"""Package states out of the texts that apt and dpkg write. Pure.

A state is what decides the content of a tree: every package with its version, and the archive's own time, which
becomes the time that everything in the image bears.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from imagesmith.errors import ContentMalformed
from imagesmith.formats.canonical import canonical_json
from imagesmith.model import Package
from imagesmith.sources.bootstrap.recipe import Recipe

# Inst bash [5.2-1] (5.2.37-2+b10 Debian:13.2/stable [arm64]) []
_INST = re.compile(r"Inst (\S+) (?:\[[^\]]*\] )?\((\S+) .*?\[([a-z0-9-]+)\]\)")
_DATE = re.compile(r"^Date: (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class PackageState:
    """What an archive would give for a recipe now."""

    recipe: str
    packages: tuple[Package, ...]
    """Sorted."""
    epoch: int
    """The newest `Date` of the suite's Release files."""

    @property
    def key(self) -> str:
        """sha256 (hex) over everything that decides the bytes of the image."""
        listed = [[package.name, package.version, package.architecture] for package in self.packages]
        plain = {"recipe": self.recipe, "epoch": self.epoch, "packages": listed}
        return hashlib.sha256(canonical_json(plain)).hexdigest()


def state_of(recipe: Recipe, simulated: str, releases: Iterable[str]) -> PackageState:
    """The state told by `apt-get --simulate install` (its `Inst` lines) and by the texts of the Release files."""
    packages = tuple(sorted(_packages(_INST.findall(simulated)), key=_order))
    dates = [date for release in releases for date in _DATE.findall(release)[:1]]
    if not packages or not dates:
        raise ContentMalformed(
            f"apt names {len(packages)} packages and {len(dates)} dated Release files for {recipe.source.suite}",
            hint="look at `apt-get --simulate install apt` on this machine; its output was not understood",
        )
    return PackageState(recipe.digest, packages, max(_seconds(date) for date in dates))


def installed(status: str) -> tuple[Package, ...]:
    """The installed packages of a dpkg status file, sorted."""
    found = []
    for stanza in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status", "").endswith(" installed"):
            found.append((fields["Package"], fields["Version"], fields["Architecture"]))
    return tuple(sorted(_packages(found), key=_order))


def _packages(rows: Iterable[tuple[str, str, str]]) -> Iterable[Package]:
    # apt writes name:architecture where the name alone would not do.
    return (Package(name.split(":")[0], version, architecture) for name, version, architecture in rows)


def _order(package: Package) -> tuple[str, str, str]:
    return package.name, package.version, package.architecture


def _seconds(date: str) -> int:
    try:
        return int(parsedate_to_datetime(date.strip()).timestamp())
    except ValueError as error:
        raise ContentMalformed(f"a Release file has the date {date!r}") from error
