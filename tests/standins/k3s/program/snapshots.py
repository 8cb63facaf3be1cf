"""etcd snapshots: copies of the datastore, and the reset of a cluster to one member from such a copy."""

from __future__ import annotations

import json
import time

from .store import etcd_state, has_etcd
from .words import Fatal, Places, place, say, write


def save(places: Places, name: str, node: str, folder: str) -> str:
    if not has_etcd(places.db):
        raise Fatal("etcd datastore disabled")
    target = (place(folder) if folder else places.db / "snapshots") / f"{name}-{node}-{int(time.time())}"
    write(target, etcd_state(places.db).read_text())
    say(f"snapshot saved as {target}")
    return str(target)


def reset(places: Places, name: str, url: str, restore: str) -> None:
    """`k3s server --cluster-reset`: this server is the only member afterwards."""
    flag = places.db / "reset-flag"
    if flag.exists():
        raise Fatal(f"Managed etcd cluster membership was reset recently. Remove {flag} to reset it again.")
    source = place(restore) if restore else etcd_state(places.db)
    try:
        entries = json.loads(source.read_text())
    except (OSError, ValueError) as error:
        raise Fatal(f"failed to restore {source}: {error}") from error
    highest = max(entry[0] for entry in entries.values())
    entries = {key: entry for key, entry in entries.items() if not key.startswith("members/")}
    entries[f"members/{name}"] = [highest + 1, name, url]
    write(etcd_state(places.db), json.dumps(entries))
    write(flag, "")
    say(
        "Managed etcd cluster membership has been reset, restart without --cluster-reset flag now. "
        "Backup and delete ${datadir}/server/db on each peer etcd server and rejoin the nodes"
    )
