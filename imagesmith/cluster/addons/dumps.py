"""What a backup asks of databases before it reads a server's disk. Called by `cluster.addons.manifests`. Pure.

The list of databases is data of this cluster; the script that goes through it is the same everywhere.
"""

from __future__ import annotations

from imagesmith.model import Edit, MakeDir, Materials, PutFile
from imagesmith.model.addons import Addons

HOOKS = "/etc/imagesmith/backup.d"
"""What a node's backup runs first, each with the folder that it writes into."""
HOOK = f"{HOOKS}/50-databases.sh"
LIST = "/etc/imagesmith/databases"
SCRIPT = "firstboot/addons/dump-databases"


def dump_files(addons: Addons, materials: Materials) -> tuple[Edit, ...]:
    """The hook and its list on a server; nothing where no add-on has a database."""
    lines = databases(addons)
    if not lines:
        return ()
    return (
        MakeDir("root", HOOKS, 0o755),
        PutFile("root", HOOK, materials.files[SCRIPT], 0o755),
        PutFile("root", LIST, lines),
    )


def databases(addons: Addons) -> bytes:
    """Lines of namespace and part, of which each is a StatefulSet with one pod and a script that dumps it."""
    found = [f"{addon.name} {part.name}\n" for addon in addons.wanted for part in addon.recipe.parts if part.dump]
    return "".join(found).encode()
