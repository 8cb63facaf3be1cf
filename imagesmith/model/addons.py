"""What runs on a cluster beside k3s itself: add-ons of the catalogue, storage on a NAS, charts and own manifests.

Recipes are made by `profile.recipe` from `profiles/addons/`, the rest by `profile.addons` from an inventory;
`cluster.addons` turns both into manifests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Keeping = Literal["deployment", "stateful", "everywhere"]
"""`stateful`: never two of it at once, as a database needs it. `everywhere`: one on every node."""


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a node a container asks for, and may take at most."""

    memory: int
    memory_limit: int
    cpu: int
    """Thousandths of a processor."""
    cpu_limit: int


@dataclass(frozen=True, slots=True)
class Volume:
    """What a part keeps on disk."""

    name: str
    path: str
    size: int
    holds: str
    """In words."""
    optional: bool = False
    """Only there where the inventory says where it is to lie."""
    told_as: str = ""
    """The variable in which its part is told how many MiB it may fill: four fifths of it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What of a volume stays as it was made, whatever its manifest says later."""

    storage_class: str
    size: str
    """As Kubernetes writes it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a part may ask of Kubernetes' API."""

    groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Files:
    """Files of the catalogue that a container sees in a folder, or one of them at a path of its own."""

    path: str
    files: Mapping[str, str]
    """Content by name."""
    alone: bool = False
    """Each lies in a folder that has others."""
    where: str = ""
    """Only there where the inventory has this key too: `backup` or `power`."""


@dataclass(frozen=True, slots=True)
class Beside:
    """A script of the catalogue that runs beside a part, with all that the part has."""

    name: str
    script: str
    share: Share
    user: int = 0
    """0 = that of the part."""


@dataclass(frozen=True, slots=True)
class RecipePart:
    """One kind of pod of an add-on."""

    name: str
    keeping: Keeping
    image: str
    """With its registry, without tag."""
    version: str
    """The tag, and a digest where one is known: `1.30.4-alpine@sha256:...`."""
    share: Share
    port: int = 0
    health: str = ""
    """A path that answers when it is well; empty = that the port is open must do."""
    user: int = 0
    """0 = as the image starts, which is root's, without all that root could do."""
    capabilities: tuple[str, ...] = ()
    """What is left to root in it."""
    read_only: bool = False
    """Nothing is written but to volumes and scratch folders."""
    scratch: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    passwords: Mapping[str, str] = field(default_factory=dict)
    """Variables by name, and the purpose of the password that each has."""
    volumes: tuple[Volume, ...] = ()
    host_folders: Mapping[str, str] = field(default_factory=dict)
    """Folders of the node by where they are seen in the container; read only."""
    files: tuple[Files, ...] = ()
    before: tuple[Beside, ...] = ()
    """Run to their end before it starts."""
    beside: tuple[Beside, ...] = ()
    dump: str = ""
    """A script that writes all that a database holds to its output; run in the container."""
    architectures: tuple[str, ...] = ("amd64", "arm64")
    because: str = ""
    """Why not on others."""
    rules: tuple[Rule, ...] = ()
    reaches: tuple[str, ...] = ()
    """What it opens connections to: `internet`, `api`, `nodes`, or a part by name."""
    site: bool = False
    """What a host name leads to."""
    several: bool = False
    """There may be more than one of it."""
    page: Files | None = None
    """What it shows where it has no volume."""
    as_database: Mapping[str, str] = field(default_factory=dict)
    """Variables that it has besides when it serves one site alone."""
    as_database_passwords: Mapping[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """The image as a manifest names it."""
        return f"{self.image}:{self.version}"


@dataclass(frozen=True, slots=True)
class Recipe:
    """An add-on of the catalogue."""

    name: str
    title: str
    survives: str
    """What is left when a node is lost, in a sentence."""
    parts: tuple[RecipePart, ...]
    asks: tuple[str, ...] = ()
    """What only this one is told: `clients`, which it may have; `release` and `host`, which it must."""
    light: Recipe | None = None
    accounts: Mapping[str, str] = field(default_factory=dict)
    """Accounts that people get tokens of, by name, with the cluster's role that each has."""
    notes: tuple[str, ...] = ()
    listed: bool = True
    """False for what an inventory does not name by itself."""

    @property
    def site(self) -> RecipePart | None:
        return next((part for part in self.parts if part.site), None)

    @property
    def main_volume(self) -> Volume | None:
        """The one that an inventory's `size` is of: the first."""
        return next((volume for part in self.parts for volume in part.volumes), None)

    @property
    def purposes(self) -> tuple[str, ...]:
        """Of all its passwords, each once."""
        return tuple(dict.fromkeys(purpose for part in self.parts for purpose in part.passwords.values()))


@dataclass(frozen=True, slots=True)
class Release:
    """An application that its image does not hold: fetched when it starts first, held to its digest."""

    url: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Addon:
    """A recipe, as an inventory wants it."""

    name: str
    recipe: Recipe
    host: str = ""
    """What it is called by browsers; empty = reached through Kubernetes' API alone."""
    replicas: int = 1
    storage: str = ""
    """`local`, or a storage of the inventory's; empty = local where it needs any."""
    size: int = 0
    """Of its main volume; 0 = the recipe's."""
    clients: tuple[str, ...] = ()
    """Namespaces whose pods may use it."""
    release: Release | None = None
    besides: tuple[str, ...] = ()
    """Which keys the inventory has too that files of a recipe may be there for."""

    def size_of(self, volume: Volume) -> int:
        return self.size if self.size and volume is self.recipe.main_volume else volume.size


@dataclass(frozen=True, slots=True)
class NfsStorage:
    name: str
    server: str
    path: str
    version: str = ""
    """Of NFS: `3`, `4`, `4.1`, `4.2`; empty = the best that both know."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A Helm chart, installed by k3s."""

    name: str
    chart: str
    """Its name in `repo`, or an address, oci:// or https://."""
    version: str
    repo: str = ""
    namespace: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OwnManifest:
    """A manifest of the user's own."""

    name: str
    """Of its file, without folder and ending."""
    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Addons:
    """All that an inventory wants of these."""

    wanted: tuple[Addon, ...] = ()
    storage: tuple[NfsStorage, ...] = ()
    provisioner: Recipe | None = None
    """What makes folders on a NAS; None where there is none."""
    charts: tuple[Chart, ...] = ()
    manifests: tuple[OwnManifest, ...] = ()

    def addon(self, name: str) -> Addon | None:
        return next((one for one in self.wanted if one.name == name), None)
