"""Packages that an inventory gives itself, as files beside it or at an address with a digest. Called by `supplies`.

A file is asked, by dpkg-deb, what it is and what it needs; what is at an address is not there to be asked yet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from imagesmith import tools
from imagesmith.cluster import hamachi, zerotier
from imagesmith.errors import UsageError
from imagesmith.model import Architecture, Part, Supply
from imagesmith.planning.fetched import PACKAGES
from imagesmith.workflow.archives import archive_of
from imagesmith.workflow.own_files import own_file

_FIELDS = ("Package", "Version", "Architecture", "Pre-Depends", "Depends")


@dataclass(frozen=True, slots=True)
class GivenPackage:
    name: str
    supply: Supply
    needs: tuple[str, ...]
    """Other packages, the first choice of each."""


def given_packages(part: Part, architecture: Architecture) -> tuple[GivenPackage, ...]:
    """Those of a node. Raises UsageError for a file that is not there or is no such package, ToolMissing."""
    found = []
    network = zerotier.network_of(part)
    if network and architecture in network.files:
        path = Path(part.cluster.path).parent / Path(network.files[architecture]).expanduser()
        found.append(_file(path, zerotier.PACKAGE, architecture))
    asked = hamachi.network_of(part)
    if asked and asked.file:
        path = Path(part.cluster.path).parent / Path(asked.file).expanduser()
        found.append(_file(path, hamachi.PACKAGE, architecture))
    elif asked and asked.digest:
        file_name = asked.url.rpartition("/")[2]
        published = archive_of(hamachi.PACKAGE, part.cluster.path)
        supply = Supply(hamachi.PACKAGE, f"{PACKAGES}/{file_name}", asked.url, asked.digest, 0)
        found.append(GivenPackage(hamachi.PACKAGE, supply, published.needs if published else ()))
    return tuple(found)


def _file(path: Path, package: str, architecture: Architecture) -> GivenPackage:
    supply = own_file(path, f"{package}, the file {path.name}", "", 0o644, "`file:` in the inventory's vpn")
    done = tools.run(["dpkg-deb", "--field", str(path), *_FIELDS], expect=None)
    told = dict(line.split(": ", 1) for line in done.text.splitlines() if ": " in line and line[0] != " ")
    if done.returncode or told.get("Package") != package or told.get("Architecture") not in (architecture, "all"):
        what = f"{told['Package']} for {told.get('Architecture', '?')}" if "Package" in told else "no Debian package"
        raise UsageError(
            f"it is {what}, and stands there for {package} for {architecture}", where=str(path.absolute()),
            hint="give the package as it was published, or correct `file:` in `vpn`",
        )  # fmt: skip
    # As archives name their files: without the epoch.
    version = told["Version"].rpartition(":")[2]
    target = f"{PACKAGES}/{package}_{version}_{told['Architecture']}.deb"
    supply = replace(supply, name=f"{package} {version}, the file {path.name}", path=target)
    needs = ", ".join(told[key] for key in ("Pre-Depends", "Depends") if key in told)
    return GivenPackage(package, supply, tuple(dict.fromkeys(_first(one) for one in needs.split(",") if one.strip())))


def _first(alternatives: str) -> str:
    """`libssl3t64` of `libssl3t64 (>= 3.0.0) | libssl3`."""
    return alternatives.partition("|")[0].partition("(")[0].partition(":")[0].strip()
