"""A node's backups: its key, where they go, when its turn is, and the programs that make and restore them.

Called by `cluster.contents`. The work is done on the node by firstboot/backup/; what a NAS needs is
firstboot/backup/imagesmith-receive, whose line for every node `authorized_line` makes.
"""

from __future__ import annotations

from imagesmith.families.payload_files import LIBRARY
from imagesmith.formats.assignments import assignments
from imagesmith.model import Cluster, Edit, Link, MakeDir, Materials, Part, Profile, Promise, PutFile, Sealed
from imagesmith.model.backup import NEVER_LAID, Backup, NfsStore, SshStore

CONF = "/etc/imagesmith/backup.conf"
KEYS = "/etc/imagesmith/backup"
HOOKS = "/etc/imagesmith/backup.d"
"""Files NAME.sh here give something of their own to every backup, see docs/backup.md."""
UNITS = "/etc/systemd/system"
SERVICE, TIMER = "imagesmith-backup.service", "imagesmith-backup.timer"
MOUNTED = "/var/lib/imagesmith/nas"
MOUNT = "var-lib-imagesmith-nas"
"""Units of a mount are named by its place."""
RECEIVE = "imagesmith-receive"
_PROGRAMS = ("backup-node", "backup-restore", RECEIVE)
TURN_MIN = 15
"""Between the nodes' turns: they share the NAS, and its disk."""
_DAY_MIN = 24 * 60
_MOUNT_OPTIONS = ("soft", "timeo=150", "retrans=4", "noexec", "nosuid", "nodev")
"""A NAS that is gone ends a backup with an error; `hard`, mount's default, would keep it hanging for ever."""


def key_name(node: str) -> str:
    """In the vault: what a node shows where its backups go, and what it signs them by."""
    return f"nodes/{node}/backup-key"


def identity_name(node: str) -> str:
    """In the vault: what opens a node's backups. It never lies on the node, which has its public half alone."""
    return f"nodes/{node}/backup-identity"


def secrets(cluster: Cluster) -> tuple[str, ...]:
    backup = cluster.backup
    if backup is None:
        return ()
    named = (key_name, identity_name) if backup.encrypt else (key_name,)
    return tuple(name(node.name) for node in cluster.nodes if backup.covers(node.name) for name in named)


def edits(part: Part, profile: Profile, materials: Materials) -> tuple[Edit, ...]:
    backup = _wanted(part)
    if backup is None or part.sealed is None:
        return ()
    key = part.sealed.more[key_name(part.node.name)]
    files = materials.files
    return (
        PutFile("root", CONF, assignments(_settings(part, backup))),
        MakeDir("root", KEYS, 0o700),
        PutFile("root", f"{KEYS}/key", key.ref, 0o600),
        PutFile("root", f"{KEYS}/signers", f"{part.node.name} {key.public}\n".encode()),
        MakeDir("root", HOOKS, 0o755),
        *_lists(backup),
        PutFile("root", f"{LIBRARY}/backup-lib.sh", files["firstboot/backup/backup-lib.sh"]),
        PutFile("root", f"{LIBRARY}/backup-reading.sh", files["firstboot/backup/backup-reading.sh"]),
        *(PutFile("root", f"{LIBRARY}/{one}", files[f"firstboot/backup/{one}"], 0o755) for one in _PROGRAMS),
        PutFile("root", f"{UNITS}/{SERVICE}", files[f"firstboot/backup/{SERVICE}"]),
        PutFile("root", f"{UNITS}/{TIMER}", _TIMER.format(when=turn(part, backup)).encode()),
        Link("root", f"{UNITS}/timers.target.wants/{TIMER}", f"{UNITS}/{TIMER}"),
        *(_mount(backup.store) if isinstance(backup.store, NfsStore) else _known(backup.store)),
    )


def promises(part: Part) -> tuple[Promise, ...]:
    """None: a machine alone has no NAS."""
    return ()


def packages(part: Part) -> tuple[str, ...]:
    backup = _wanted(part)
    if backup is None:
        return ()
    k3s = part.cluster.k3s
    return (
        "zstd",
        "openssh-client",
        *(("age",) if backup.encrypt else ()),
        *(("nfs-common",) if isinstance(backup.store, NfsStore) else ()),
        *(("sqlite3",) if k3s and k3s.datastore == "sqlite" and part.duty != "agent" else ()),
    )


def turn(part: Part, backup: Backup) -> str:
    """When the node is backed up, as systemd.time(7) writes it: each in its turn, in the inventory's order.

    All by the clock of the first node, as `upkeep.turn`.
    """
    names = [node.name for node in part.cluster.nodes]
    hour, minute = backup.at.split(":")
    minutes = (int(hour) * 60 + int(minute) + TURN_MIN * names.index(part.node.name)) % _DAY_MIN
    zone = part.cluster.nodes[0].settings.timezone
    return f"*-*-* {minutes // 60:02}:{minutes % 60:02}:00 {zone}"


def where(backup: Backup) -> str:
    """The place, for people."""
    store = backup.store
    if isinstance(store, NfsStore):
        return f"{store.host}:{store.export}"
    return f"{store.user}@{store.host}:{store.folder}"


def authorized_line(store: SshStore, node: str, key: Sealed, program: str) -> str:
    """What ~/.ssh/authorized_keys of the store's user has for a node; `program` is where imagesmith-receive lies there.

    Both are paths of plain words (`profile.backup.path`), so nothing of them needs quoting.
    """
    return f'command="/bin/sh {program} {store.folder} {node}",restrict {key.public}'


def _wanted(part: Part) -> Backup | None:
    backup = part.cluster.backup
    return backup if backup and backup.covers(part.node.name) else None


def _settings(part: Part, backup: Backup) -> dict[str, str]:
    assert part.sealed is not None
    store = backup.store
    identity = part.sealed.more.get(identity_name(part.node.name)) if backup.encrypt else None
    ssh = store if isinstance(store, SshStore) else None
    return {
        "BACKUP_NODE": part.node.name,
        "BACKUP_CLUSTER": part.cluster.name,
        "BACKUP_CA": part.sealed.ca_hash,
        "BACKUP_DUTY": part.duty,
        "BACKUP_STORE": "ssh" if ssh else "nfs",
        "BACKUP_WHERE": where(backup),
        "BACKUP_USER": ssh.user if ssh else "",
        "BACKUP_HOST": ssh.host if ssh else "",
        "BACKUP_PORT": str(ssh.port) if ssh else "",
        "BACKUP_FOLDER": "" if ssh else MOUNTED,
        "BACKUP_DAILY": str(backup.keep.daily),
        "BACKUP_WEEKLY": str(backup.keep.weekly),
        "BACKUP_RECIPIENT": identity.public if identity else "",
    }


def _lists(backup: Backup) -> tuple[Edit, ...]:
    found = {"exclude": backup.exclude, "include": backup.include, "state": backup.state, "never": NEVER_LAID}
    return tuple(
        PutFile("root", f"/etc/imagesmith/backup.{name}", "".join(f"{path}\n" for path in paths).encode())
        for name, paths in found.items()
        if paths
    )


def _known(store: SshStore) -> tuple[Edit, ...]:
    """Under a name of its own, which the node asks for whatever the store's address is."""
    return (PutFile("root", f"{KEYS}/known_hosts", f"imagesmith-store {store.host_key}\n".encode()),)


def _mount(store: NfsStore) -> tuple[Edit, ...]:
    host = f"[{store.host}]" if ":" in store.host else store.host
    mount = _MOUNT.format(what=f"{host}:{store.export}", where=MOUNTED, options=",".join(
        ("nofail", "_netdev", *_MOUNT_OPTIONS, *store.options)
    ))  # fmt: skip
    automount = f"{UNITS}/{MOUNT}.automount"
    return (
        MakeDir("root", MOUNTED, 0o700),
        PutFile("root", f"{UNITS}/{MOUNT}.mount", mount.encode()),
        PutFile("root", automount, _AUTOMOUNT.format(where=MOUNTED).encode()),
        Link("root", f"{UNITS}/multi-user.target.wants/{MOUNT}.automount", automount),
    )


_TIMER = """\
# This node's turn of the night to be backed up. A turn that was missed is made up for after the next start, as is one
# that the start cut short: the second line asks again, and finds nothing to do where the last backup is good.
[Unit]
Description=This node's turn to be backed up

[Timer]
OnCalendar={when}
OnBootSec=20min
RandomizedDelaySec=5min
AccuracySec=1min
Persistent=true

[Install]
WantedBy=timers.target
"""
_MOUNT = """\
# Where backups are kept. Mounted when it is needed, so that nodes start without it.
[Unit]
Description=Where this node's backups are kept

[Mount]
What={what}
Where={where}
Type=nfs
Options={options}
TimeoutSec=60
"""
_AUTOMOUNT = """\
[Unit]
Description=Where this node's backups are kept, when it is needed

[Automount]
Where={where}
TimeoutIdleSec=600

[Install]
WantedBy=multi-user.target
"""
