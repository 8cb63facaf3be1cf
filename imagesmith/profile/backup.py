"""Reads `backup:` of an inventory: where the nodes' backups go, when, what of them, and for how long.

Called by `profile.cluster`. Whatever ends in a command or a unit on a node is a plain word here: no path has a space, a
quote or a dollar sign in it.
"""

from __future__ import annotations

import re
from typing import Any

from imagesmith.model.backup import NEVER_LAID, Backup, Keep, NfsStore, SshStore
from imagesmith.profile import names
from imagesmith.profile.document import Table, Value
from imagesmith.profile.inventory import Inventory
from imagesmith.profile.schema import Fields, Kind, Place, boolean, did_you_mean, integer, listed, parsed, table, text

_PATH = re.compile(r"(/[A-Za-z0-9_+@-][A-Za-z0-9._+@-]*|/\.[A-Za-z0-9_+@-][A-Za-z0-9._+@-]*)+")
_LONGEST = 200
_OPTION = re.compile(r"[a-z][a-z0-9_]*(=[A-Za-z0-9._:/-]{1,100})?")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,31}")
_SOME = "/srv/backup"
Store = SshStore | NfsStore


def read_backup(fields: Fields) -> Backup | None:
    place: Kind[Any] = table(_store)
    store: Store | None = fields.need("to", place, None)
    default = Backup(NfsStore("", ""))
    backup = Backup(
        store=store or default.store,
        at=fields.take("at", text(_time_of_day), default.at),
        keep=fields.take("keep", _keep, default.keep),
        encrypt=fields.take("encrypt", boolean, default.encrypt),
        exclude=_paths(fields, "exclude"),
        include=_paths(fields, "include"),
        state=_paths(fields, "state"),
        without=tuple(dict.fromkeys(fields.take("without", listed(text(names.host_name)), ()))),
    )
    for path in backup.state:
        within = [one for one in NEVER_LAID if f"{path}/".startswith(f"{one}/")]
        holds = [one for one in NEVER_LAID if one.startswith(f"{path}/")]
        if within:
            fields.complain("state", f"{path} is the fresh card's own, so it is never laid back", "leave it out")
        elif holds:
            hint = "name what of it is yours, each by its own path"
            fields.complain("state", f"{path} holds {holds[0]}, which is the fresh card's own", hint)
    return backup if store else None


def check_backup(inventory: Inventory) -> None:
    """What takes the nodes to see. Complaints go to the inventory's own list."""
    backup, fields = inventory.cluster.backup, inventory.tables.get("backup")
    if not backup or not fields:
        return
    known = [entry.node.name for entry in inventory.entries]
    for name in backup.without:
        if name not in known:
            message = f"there is no node {name!r}{did_you_mean(name, known)}"
            fields.complain("without", message, f"nodes: {', '.join(known)}")
    if known and not any(backup.covers(name) for name in known):
        fields.complain("without", "no node is left to be backed up", "take nodes out of this list, or `backup` away")
    for entry in inventory.entries:
        own = (entry.node.name, f"{entry.node.name}.{entry.node.domain}", entry.node.network.address.partition("/")[0])
        if backup.covers(entry.node.name) and backup.store.host in (*own, entry.node.network.reserved):
            fields.complain(
                "to",
                f"{entry.node.name} would keep its backup on its own card, and lose both together",
                f"choose another machine, or `without: [{entry.node.name}]`",
            )


def _store(fields: Fields) -> Store | None:
    if fields.has("ssh") == fields.has("nfs"):
        of_which = "both `ssh` and `nfs`" if fields.has("ssh") else "neither `ssh` nor `nfs`"
        fields.complain(
            "ssh", f"there is {of_which} here, and backups go to one place", "ssh: USER@HOST, with `folder`"
        )
    if fields.has("nfs") and not fields.has("ssh"):
        host, export = fields.take("nfs", parsed(_export), ("", ""))
        return NfsStore(host, export, tuple(fields.take("options", listed(text(_option)), ()))) if host else None
    user, host = fields.take("ssh", parsed(_login), ("", ""))
    port = fields.take("port", integer(1, 65535), 22)
    folder = fields.need("folder", text(path), "")
    key = fields.take("host_key", text(names.ssh_public_key), "")
    if host and not fields.has("host_key"):
        fields.complain(
            "host_key",
            f"nobody tells by which key {host} is known, and whoever answers there would get the backups",
            f"`ssh-keyscan -p {port} {host}` prints its keys; compare the one that you take with the machine itself: "
            "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        )
    return SshStore(user, host, folder, " ".join(key.split()[:2]), port) if host and folder and key else None


def path(written: str) -> str:
    """A whole path of plain words: nothing of it is anything to a shell, to systemd or to tar."""
    if not _PATH.fullmatch(written) or len(written) > _LONGEST:
        raise ValueError(
            f"{written[:80]!r} is not a whole path of letters, digits and . _ + @ -; write it like {_SOME}"
        )
    return written


def _paths(fields: Fields, key: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(fields.take(key, listed(text(path)), ())))


def _login(written: str) -> tuple[str, str]:
    user, at, host = written.partition("@")
    if not at or not _USER.fullmatch(user):
        raise ValueError(f"{written[:80]!r} is not USER@HOST; write it like backup@nas.home.arpa")
    return user, names.host_or_address(host)


def _export(written: str) -> tuple[str, str]:
    found = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:]+):(/.*)", written)
    if not found:
        raise ValueError(f"{written[:80]!r} is not HOST:/export; write it like nas.home.arpa:/nfs/backup")
    return names.host_or_address(found[1].strip("[]")), path(found[2])


def _option(written: str) -> str:
    if not _OPTION.fullmatch(written):
        raise ValueError(f"{written[:60]!r} is not one option of mount; write it like nfsvers=3")
    return written


def _time_of_day(written: str) -> str:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", written):
        raise ValueError(f"{written[:40]!r} is not a time of the day; write it like 02:30")
    return written


def _keep(value: Value, place: Place) -> Keep | None:
    if isinstance(value, Table):
        return table(_read_keep)(value, place)
    days = integer(1, 366)(value, place)
    return None if days is None else Keep(days, 0)


def _read_keep(fields: Fields) -> Keep:
    default = Keep()
    return Keep(
        daily=fields.take("daily", integer(1, 366), default.daily),
        weekly=fields.take("weekly", integer(0, 520), default.weekly),
    )
