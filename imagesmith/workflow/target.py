"""From the word TARGET on a command line to what is wanted: a profile, a node and a base.

TARGET is a node of the inventory first, then a profile's name, then the path of a profile's YAML file.
Called by every command that takes a TARGET; reads profiles and the inventory, writes nothing.
"""

from __future__ import annotations

import errno
import functools
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from imagesmith import resources
from imagesmith.errors import DocumentInvalid, Problem, UsageError
from imagesmith.model import Base, Cluster, Node, Profile, UpsDriver
from imagesmith.model.addons import Recipe
from imagesmith.planning.payload import chosen_base
from imagesmith.profile import names
from imagesmith.profile.addons import Around
from imagesmith.profile.cluster import load_cluster, settings_of
from imagesmith.profile.load import Catalogue, load_catalogue, load_profile
from imagesmith.profile.power import load_drivers
from imagesmith.profile.recipe import load_recipes
from imagesmith.profile.schema import did_you_mean
from imagesmith.profile.settings import with_overrides

DEFAULT_INVENTORY = Path("cluster.yaml")
_MOST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one build is for. `node` carries its final settings and the name of `base`."""

    profile: Profile
    node: Node
    base: Base
    cluster: Cluster | None = None
    """The inventory that the node is one of; None where it stands alone."""


@dataclass(frozen=True, slots=True)
class TargetChoice:
    """TARGET and the options beside it, as a command line gave them."""

    target: str = ""
    cluster: Path | None = None
    """None looks for ./cluster.yaml."""
    no_cluster: bool = False
    base: str = ""
    hostname: str = ""
    ssh_key_files: tuple[Path, ...] = ()
    overrides: Mapping[str, str] = field(default_factory=dict)
    vault: Path | None = None
    """None takes the one beside the inventory, where there is one."""

    def named(self, target: str) -> TargetChoice:
        """The same options with another TARGET."""
        return replace(self, target=target)

    def based(self, base: str) -> TargetChoice:
        """The same TARGET on the base `base`."""
        return replace(self, base=base)


def wanted(choice: TargetChoice) -> Wanted:
    """What the choice means. Raises UsageError (or DocumentInvalid) with what to write instead."""
    return resolve(
        choice.target,
        cluster=inventory_of(choice),
        base=choice.base,
        hostname=choice.hostname,
        ssh_keys=keys_of(choice),
        overrides=choice.overrides,
    )


def all_wanted(choice: TargetChoice) -> tuple[Wanted, ...]:
    """What `--all` means: every node of the inventory. Raises UsageError where there is none."""
    cluster = inventory_of(choice)
    if cluster is None:
        raise UsageError("there is no inventory here, so --all means nothing", hint="imagesmith init writes one")
    keys, catalogue = keys_of(choice), catalogue_of(cluster)
    return tuple(
        resolve(node.name, cluster=cluster, base=choice.base, hostname=choice.hostname, ssh_keys=keys,
                overrides=choice.overrides, catalogue=catalogue)
        for node in cluster.nodes
    )  # fmt: skip


def resolve(
    target: str,
    *,
    cluster: Cluster | None,
    base: str = "",
    hostname: str = "",
    ssh_keys: Sequence[str] = (),
    overrides: Mapping[str, str] | None = None,
    catalogue: Catalogue | None = None,
) -> Wanted:
    """What `target` means, with public key lines `ssh_keys` added and `--set` applied. Raises UsageError.

    `catalogue` = that of the inventory, where it was read already.
    """
    catalogue = catalogue or catalogue_of(cluster)
    profile, node = _found(target, cluster, catalogue)
    if hostname:
        node = _renamed(node, hostname)
    keys = dict.fromkeys((*node.settings.ssh_keys, *(_key(line, "--ssh-key") for line in ssh_keys)))
    node = replace(node, settings=replace(node.settings, ssh_keys=tuple(keys)))
    node = with_overrides(node, overrides or {})
    _refuse_unknown_zone(node.settings.timezone)
    try:
        chosen = chosen_base(replace(node, base=base or node.base), profile)
    except UsageError as error:
        near = did_you_mean(base, [one.name for one in profile.board.bases])
        raise UsageError(f"{error}{near}", hint=error.hint) from error
    member = cluster if cluster and cluster.node(node.name) and node.cluster else None
    return Wanted(profile, replace(node, base=chosen.name), chosen, member)


def load_inventory(path: Path | None) -> Cluster | None:
    """The inventory at `path`; with None ./cluster.yaml, or None where there is none. Raises DocumentInvalid."""
    if path is None:
        if not DEFAULT_INVENTORY.exists():
            return None
        path = DEFAULT_INVENTORY
    text = _text(path)
    around = Around(lambda: recipes_near(path.parent), lambda written: _beside(path.parent, written), ups_drivers)
    return load_cluster(text, str(path), catalogue_near(path.parent).profiles, around)


@functools.lru_cache(maxsize=1)
def ups_drivers() -> Mapping[str, UpsDriver]:
    """The drivers of UPSes that are known. Raises DocumentInvalid."""
    path = resources.folder("profiles") / "cluster" / "ups-drivers.yaml"
    return load_drivers(_text(path), str(path))


def recipes_near(folder: Path | None) -> Mapping[str, Recipe]:
    """The catalogue of add-ons, and over it that of `folder`/profiles/addons, where there is one. DocumentInvalid."""
    own = resources.folder("profiles") / "addons"
    nearer = folder / "profiles" / "addons" if folder is not None else own
    found: dict[str, Path] = {}
    files: dict[str, str] = {}
    for place in (own, *([nearer] if nearer.is_dir() and nearer.resolve() != own.resolve() else ())):
        found |= {path.stem: path for path in sorted(place.glob("*.yaml"))}
        files |= {path.relative_to(place / "files").as_posix(): _text(path)
                  for path in sorted((place / "files").rglob("*")) if path.is_file()}  # fmt: skip
    return load_recipes({str(path): _text(path) for path in found.values()}, files)


def catalogue_near(folder: Path | None) -> Catalogue:
    """All shipped profiles, and over them those of `folder`/profiles, where there is one. Raises DocumentInvalid."""
    own = resources.folder("profiles")
    shipped = _shipped(tuple(_documents(own).items()))
    nearer = folder / "profiles" if folder is not None else None
    if nearer is None or not nearer.is_dir() or nearer.resolve() == own.resolve():
        return shipped
    return load_catalogue(_documents(nearer), shipped)


@functools.lru_cache(maxsize=1)
def _shipped(documents: tuple[tuple[str, str], ...]) -> Catalogue:
    """Kept, since a command asks several times, and reading YAML is most of what a plan takes."""
    return load_catalogue(dict(documents))


def catalogue_of(cluster: Cluster | None) -> Catalogue:
    """What is known where the inventory lies; without one, in the current folder."""
    return catalogue_near(Path(cluster.path).parent) if cluster and cluster.path else catalogue_here()


def catalogue_here() -> Catalogue:
    """What is known in the current folder: the shipped profiles, and over them those of ./profiles."""
    return catalogue_near(DEFAULT_INVENTORY.parent)


def inventory_of(choice: TargetChoice) -> Cluster | None:
    """The inventory that the choice is about; None with --no-cluster, or where there is none."""
    if choice.no_cluster and choice.cluster is not None:
        raise UsageError("--cluster and --no-cluster contradict each other", hint="give one of them")
    return None if choice.no_cluster else load_inventory(choice.cluster)


def keys_of(choice: TargetChoice) -> tuple[str, ...]:
    """The public keys of every --ssh-key FILE. Raises UsageError with file and line."""
    return tuple(key for path in choice.ssh_key_files for key in _keys_in(path))


# -- pieces ---------------------------------------------------------------------------------------


def _found(target: str, cluster: Cluster | None, catalogue: Catalogue) -> tuple[Profile, Node]:
    node = cluster.node(target) if cluster else None
    if node:
        return catalogue.profiles[node.profile], node
    profile = catalogue.profiles.get(target)
    if profile is None:
        if not looks_like_path(target):
            _refuse_unknown(target, cluster, catalogue)
        profile = _profile_at(Path(target))
        return profile, _standalone(profile)
    users = [one for one in cluster.nodes if one.profile == profile.name] if cluster else []
    if len(users) > 1:
        listed = ", ".join(one.name for one in users)
        raise UsageError(
            f"{len(users)} nodes of {cluster.path if cluster else ''} use the profile {target}: {listed}",
            hint=f"say which one, as in {users[0].name}; or add --no-cluster to build it standalone",
        )
    return profile, users[0] if users else _standalone(profile)


def _standalone(profile: Profile) -> Node:
    return Node(name=profile.name, profile=profile.name, settings=settings_of(profile))


def _renamed(node: Node, hostname: str) -> Node:
    if node.cluster and hostname != node.name:
        raise UsageError(
            f"the inventory says that this node is called {node.name}, not {hostname}",
            hint="change its name in the inventory, or add --no-cluster",
        )
    try:
        return replace(node, name=names.host_name(hostname))
    except ValueError as error:
        raise UsageError(str(error), where="--hostname") from error


def looks_like_path(target: str) -> bool:
    """Whether a TARGET is the path of a profile's file, and no name."""
    return "/" in target or target.endswith((".yaml", ".yml"))


def _profile_at(path: Path) -> Profile:
    """The profile in a file; boards and bases that it names may lie in folders beside it, else are shipped ones."""
    beside = {**_documents(path.parent / "bases"), **_documents(path.parent / "boards")}
    boards = load_catalogue(beside, catalogue_near(None)).boards
    return load_profile(_text(path), str(path), boards)


def _refuse_unknown(target: str, cluster: Cluster | None, catalogue: Catalogue) -> NoReturn:
    nodes = [node.name for node in cluster.nodes] if cluster else []
    near = did_you_mean(target, [*nodes, *catalogue.profiles])
    known = f"profiles: {', '.join(sorted(catalogue.profiles))}"
    known = f"nodes: {', '.join(nodes)}; {known}" if nodes else known
    what = "node or profile" if cluster else "profile"
    raise UsageError(f"there is no {what} {target[:80]!r}{near}", hint=known)


def _refuse_unknown_zone(name: str) -> None:
    """Only this system's zone data can tell; without any every name is taken."""
    folders = [Path(folder) for folder in zoneinfo.TZPATH if (Path(folder) / "Etc/UTC").is_file()]
    if folders and not any((folder / name).is_file() for folder in folders):
        raise UsageError(
            f"there is no time zone {name[:80]!r}{did_you_mean(name, zoneinfo.available_timezones())}",
            where="timezone",
            hint="write it like Europe/Berlin; timedatectl list-timezones shows all",
        )


def _documents(folder: Path) -> dict[str, str]:
    """Every profile, board and base in a folder that is laid out like profiles/, as path to text."""
    paths = sorted(path for pattern in ("*.yaml", "boards/*.yaml", "bases/*.yaml") for path in folder.glob(pattern))
    return {str(path): _text(path) for path in paths}


def _keys_in(path: Path) -> list[str]:
    lines = [line.strip() for line in _text(path).splitlines()]
    written = [(number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
    if not written:
        raise UsageError("there is no key in it", where=str(path), hint="give a .pub file")
    if any("PRIVATE KEY" in line for _, line in written):
        raise UsageError("this is a PRIVATE key", where=str(path), hint=f"give {path}.pub, and keep this one secret")
    return [_key(line, f"{path}:{number}") for number, line in written]


def _key(line: str, where: str) -> str:
    try:
        return names.ssh_public_key(line)
    except ValueError as error:
        raise UsageError(str(error), where=where) from error


def _beside(folder: Path, written: str) -> bytes:
    """A file that an inventory names; more of it than is read is no manifest. Raises OSError."""
    path = folder / Path(written).expanduser()
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "there is no such file", str(path))
    with path.open("rb") as file:
        return file.read(2 * _MOST_BYTES)


def _text(path: Path) -> str:
    """A document's text. Raises UsageError where it can't be read, DocumentInvalid where it is not text."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"it can't be read: {error.strerror}", where=str(path), hint="check the path") from error
    if len(data) > _MOST_BYTES:
        raise DocumentInvalid([Problem(str(path), 0, "", "the file is far too large for what it should be")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentInvalid([Problem(str(path), line, "", "not UTF-8 text", "save it as UTF-8")]) from error
