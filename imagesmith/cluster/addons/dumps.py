"""What a backup asks of databases before it reads a server's disk. Called by `cluster.addons.manifests`. Pure.

The list of databases is data of this cluster; the script that goes through it is the same everywhere. Each add-on has a
hook of its own, so that one that fails takes no other's dumps with it.
"""

from __future__ import annotations

from imagesmith.model import Edit, MakeDir, Materials, PutFile
from imagesmith.model.addons import Addons

HOOKS = "/etc/imagesmith/backup.d"
"""What a node's backup runs first, each with the folder that it writes into."""
LIST = "/etc/imagesmith/databases"
SCRIPT = "firstboot/addons/dump-databases"


def hook(addon: str) -> str:
    """Where an add-on's hook is; the script goes by this name."""
    return f"{HOOKS}/addon-{addon}.sh"


def dump_files(addons: Addons, materials: Materials) -> tuple[Edit, ...]:
    """The hooks and their list on a server; nothing where no add-on has a database."""
    found = databases(addons)
    if not found:
        return ()
    places = tuple(dict.fromkeys(place for place, _ in found))
    return (
        MakeDir("root", HOOKS, 0o755),
        *(PutFile("root", hook(place), materials.files[SCRIPT], 0o755) for place in places),
        PutFile("root", LIST, "".join(f"{place} {part}\n" for place, part in found).encode()),
    )


def databases(addons: Addons) -> tuple[tuple[str, str], ...]:
    """Namespace and part, of which each is a StatefulSet with one pod and a script that dumps it."""
    return tuple((addon.name, part.name) for addon in addons.wanted for part in addon.recipe.parts if part.dump)
