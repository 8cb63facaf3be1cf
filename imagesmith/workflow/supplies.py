"""The files that are fetched for an image beside its base: k3s, its container images, packages.

Called by `workflow.planned`; what they are is pinned by the locks, see docs/supplies.md. Reads locks, and the files
that an inventory names; what is not pinned yet is looked up by `workflow.resolving`, and got by `workflow.bases`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imagesmith import resources
from imagesmith.cluster import contents
from imagesmith.cluster.config import registry_ca
from imagesmith.cluster.k3s import PROGRAM
from imagesmith.errors import UsageError
from imagesmith.families import INSTALLERS
from imagesmith.formats.elf import ELF, HEAD, architecture_of, is_program
from imagesmith.model import Architecture, Base, DebianSource, FileSource, HttpSource, K3s, Part, ReleaseSource, Supply
from imagesmith.planning.fetched import PACKAGES
from imagesmith.planning.upgrading import IMAGES
from imagesmith.profile.release import load_release
from imagesmith.sources import lock
from imagesmith.sources.disk import failures
from imagesmith.sources.lock import Lock, LockEntry, PackageSet
from imagesmith.workflow.archives import archives_of
from imagesmith.workflow.given import given_packages
from imagesmith.workflow.own_files import own_file
from imagesmith.workflow.target import Wanted

_RELEASES = "releases/k3s.yaml"
Kind = Literal["program", "images"]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What is fetched for one image, as far as it is known by now."""

    supplies: tuple[Supply, ...] = ()
    """Put into it."""
    downloads: tuple[Supply, ...] = ()
    """Fetched by its first boot."""
    unresolved: tuple[str, ...] = ()
    """What has to be looked up first, in words."""


NOTHING = Fetched()


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """A file of k3s's releases that an image needs."""

    kind: Kind
    asked: str
    """The version, or the channel."""
    architecture: Architecture
    path: str
    mode: int
    address: str
    """What leads to the release."""

    @property
    def key(self) -> str:
        """Its name in the lock."""
        return f"{_NAMES[self.kind]}/{self.asked}/{self.architecture}"

    def words(self, version: str) -> str:
        what = "k3s" if self.kind == "program" else "the container images of k3s"
        return f"{what} {version} for {self.architecture}"


_NAMES: Mapping[Kind, str] = {"program": "k3s", "images": "k3s-images"}


def fetched_for(found: Wanted, part: Part | None, base: Base, lock_path: Path, shipped: Lock) -> Fetched:
    """What the locks pin for the image of what is wanted, on `base` as they pin that.

    Raises DocumentInvalid for a broken lock or a broken profiles/releases/k3s.yaml, UsageError for a file that is not
    there.
    """
    if part is None:
        return NOTHING
    own = lock.read(lock_path)
    released = _released(part, found, own, shipped)
    packages = _packages(part, found, base, own, shipped)
    return _joined(_program(part, found), *released, _registry_cas(part), packages)


def release_source(inventory: str) -> ReleaseSource:
    """Where k3s is published: as profiles/releases beside the inventory has it, else as imagesmith's own has."""
    own = resources.folder("profiles") / _RELEASES
    nearer = Path(inventory).parent / "profiles" / _RELEASES
    path = nearer if nearer.is_file() else own
    with failures(path, "reading"):
        return load_release(path.read_text("utf-8"), str(path))


def release_files(part: Part, architecture: Architecture) -> tuple[ReleaseFile, ...]:
    """The files of a release that a node's image, or its first boot, needs. Raises what `release_source` does."""
    k3s = part.cluster.k3s
    if k3s is None:
        return ()
    source, asked = release_source(part.cluster.path), k3s.version or k3s.channel
    address = source.folder_url(k3s.version) if k3s.version else source.channel_url(k3s.channel)
    files = []
    if architecture not in k3s.files:
        files.append(ReleaseFile("program", asked, architecture, PROGRAM, 0o755, address))
    if k3s.airgap:
        path = f"{IMAGES}/{source.images[architecture]}"
        files.append(ReleaseFile("images", asked, architecture, path, 0o644, address))
    return tuple(files)


def packages_wanted(part: Part, base: Base, architecture: Architecture) -> tuple[str, ...]:
    """The names of packages that the image must carry as far as its base lacks them, beside those that are given.

    Where apt fetches packages at the first boot, those that no archive of the base's has. Raises UsageError for such
    a one on an installer's medium: nobody knows what the system will have that it installs.
    """
    given = given_packages(part, architecture)
    names = set(contents.packages(part)) - {one.name for one in given}
    offline = part.cluster.upkeep.packages == "offline"
    if offline and base.family not in INSTALLERS:
        return tuple(sorted(names.union(*(one.needs for one in given))))
    apart = sorted(one.package for one in archives_of(sorted(names), part.cluster.path))
    if apart and base.family in INSTALLERS:
        raise UsageError(
            f"{apart[0]} is in no archive that the installed system asks", where=part.cluster.path,
            hint="give the package as a file, `vpn: {zerotier: {file: {amd64: ...}}}`, or use another base",
        )  # fmt: skip
    return tuple(apart)


def bytes_of(base: Base) -> str:
    """What pins the base's bytes, as the lock keeps it with what they lack; "" where nothing does yet."""
    match base.source:
        case DebianSource() as source:
            return source.state
        case HttpSource() | FileSource() as source:
            return str(source.digest) if source.digest else ""


def pinned_set(own: Lock, shipped: Lock, board: str, base: Base, wanted: tuple[str, ...]) -> PackageSet | None:
    """What the base lacks of these names, if it was looked up for its bytes as they are; the user's lock goes first."""
    known = bytes_of(base)
    for each in (own, shipped):
        found = each.packages_for(board, base.name, wanted)
        if found and (found.base == known or (each is own and not known)):
            return found
    return None


# -- pieces ---------------------------------------------------------------------------------------


def _joined(*parts: Fetched) -> Fetched:
    return Fetched(
        tuple(one for part in parts for one in part.supplies),
        tuple(one for part in parts for one in part.downloads),
        tuple(one for part in parts for one in part.unresolved),
    )


def _program(part: Part, found: Wanted) -> Fetched:
    """k3s itself, where it is a file of this machine."""
    k3s, architecture = part.cluster.k3s, found.profile.board.architecture
    if k3s is None or architecture not in k3s.files:
        return NOTHING
    path = _beside(part, k3s.files[architecture])
    _check_program(path, architecture, part.cluster.path)
    return Fetched(
        (
            own_file(
                path, f"k3s for {architecture}, the file {path.name}", PROGRAM, 0o755, "`file:` in the inventory's k3s"
            ),
        )
    )


def _check_program(path: Path, architecture: Architecture, inventory: str) -> None:
    """Raises UsageError for what the nodes could not start, as another architecture's program, or a page of the web."""
    if not path.is_file():
        return  # `own_file` says so
    with failures(path, "reading"), path.open("rb") as stream:
        head = stream.read(HEAD)
    # A script names no processor.
    is_other = head.startswith(ELF) and architecture_of(head) != architecture
    if is_other or not is_program(head):
        what = f"a program for {architecture_of(head) or 'another processor'}" if is_other else "no program"
        hint = f"give k3s for {architecture} there, as it was released, or another path: `k3s: file:` in {inventory}"
        raise UsageError(f"it is {what}, and stands there for {architecture}", where=str(path.absolute()), hint=hint)


def _registry_cas(part: Part) -> Fetched:
    """The certificates that vouch for container registries, where registries.yaml says that they are."""
    named = [one for one in part.cluster.k3s.registries if one.ca_file] if part.sealed and part.cluster.k3s else []
    return Fetched(
        tuple(
            own_file(
                _beside(part, one.ca_file),
                f"the certificate for {one.name}",
                registry_ca(one),
                0o644,
                "`ca_file:` in the inventory's k3s",
            )
            for one in named
        )
    )


def _beside(part: Part, written: str) -> Path:
    """A file as an inventory names it: from the inventory's folder on."""
    return Path(part.cluster.path).parent / Path(written).expanduser()


def _released(part: Part, found: Wanted, own: Lock, shipped: Lock) -> list[Fetched]:
    listed = []
    for file in release_files(part, found.profile.board.architecture):
        entry = entry_for(file, own, shipped)
        if entry is None or entry.digest is None:
            listed.append(Fetched(unresolved=(file.words(file.asked),)))
            continue
        supply = Supply(file.words(entry.version), file.path, entry.url, entry.digest, entry.size, file.mode)
        listed.append(_delivered(supply, part.cluster.k3s))
    return listed


def entry_for(file: ReleaseFile, own: Lock, shipped: Lock) -> LockEntry | None:
    """The user's lock counts whatever it says, the shipped one for the address that it was made for."""
    entry = shipped.files.get(file.key)
    return own.files.get(file.key) or (entry if entry and entry.address == file.address else None)


def _delivered(supply: Supply, k3s: K3s | None) -> Fetched:
    downloaded = k3s is not None and k3s.delivery == "download"
    return Fetched(downloads=(supply,)) if downloaded else Fetched((supply,))


def _packages(part: Part, found: Wanted, base: Base, own: Lock, shipped: Lock) -> Fetched:
    architecture = found.profile.board.architecture
    wanted = packages_wanted(part, base, architecture)
    given = tuple(one.supply for one in given_packages(part, architecture))
    if not wanted:
        return Fetched(given)
    known = pinned_set(own, shipped, found.profile.board.name, base, wanted)
    if known is None:
        return Fetched(given, unresolved=(f"the packages {', '.join(wanted)}, as far as the base lacks them",))
    return Fetched(
        given
        + tuple(
            Supply(f"{one.name} {one.version} ({one.architecture})", f"{PACKAGES}/{one.file_name}", one.url, one.digest,
                   one.size)
            for one in known.packages
        )
    )  # fmt: skip
