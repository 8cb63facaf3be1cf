"""A backup laid back onto a fresh card: files, owners, ACLs, attributes compared; what is not ours or whole refused."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from nas import NODE, Nas, backup, furnish, lacking, nas, small_disk
from node_folder import NodeFolder

from imagesmith.vault.draw import Drawn, draw

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=f"not here: {lacking()}"),
    pytest.mark.skipif(os.getuid() != 0, reason="owners are root's to give"),
]
STATE = "/etc/my-service\n/gone/by/then\n"
VOLUME = "var/lib/rancher/k3s/storage/pvc-1_default_data"
K3S = "var/lib/rancher/k3s/server"
TOKEN = f"K10{'ab' * 32}::server:{'5e7c' * 8}"


@pytest.fixture
def place(tmp_path: Path, node: NodeFolder) -> Iterator[Nas]:
    with nas(tmp_path / "nas", node) as made:
        furnished(node)
        yield made


@pytest.fixture
def fresh(tmp_path: Path, node: NodeFolder, place: Nas) -> NodeFolder:
    """The same node on another card, as its image has it."""
    root = tmp_path / "fresh"
    made = replace(node, root=root, environment={**node.environment, "ROOT": str(root)})
    for path, text in {
        "etc/fstab": "fresh\n", "boot/config.txt": "fresh\n", "etc/hostname": "node-1\n",
        "usr/local/bin/k3s": "fresh\n",
        "home/admin/.ssh/authorized_keys": "fresh\n", "home/admin/.profile": "fresh\n",
        f"{VOLUME}/new": "made by a pod that came first\n",
    }.items():  # fmt: skip
        made.write(path, text)
    made.write("etc/imagesmith/backup.state", STATE)
    furnish(made, place)
    return made


def furnished(node: NodeFolder) -> None:
    """What people and pods leave on a node."""
    for path, text in {
        "home/admin/notes": "mine\n", "home/admin/.ssh/authorized_keys": "old\n", "srv/data/one": "1\n",
        "opt/tool/run": "#!/bin/sh\n", "usr/local/bin/k3s": "old\n", "usr/local/bin/mine": "mine\n",
        "etc/fstab": "old\n", "boot/config.txt": "old\n", "etc/my-service/conf": "a=b\n", "etc/hostname": "old\n",
        f"{VOLUME}/base/ibdata": "rows\n", "usr/lib/modules/6.1/x": "old\n",
    }.items():  # fmt: skip
        node.write(path, text)
    node.write("etc/imagesmith/backup.state", STATE)
    root = node.root
    os.chown(root / VOLUME / "base/ibdata", 999, 998)
    (root / VOLUME / "base").chmod(0o2770)
    (root / "opt/tool/run").chmod(0o4755)
    os.utime(root / "srv/data/one", (1_000_000_000, 1_000_000_000))
    (root / "srv/data/link").symlink_to("/etc/passwd")
    os.link(root / "srv/data/one", root / "srv/data/hard")
    (root / "home/admin/ümlaut and space").write_text("x")
    os.mkfifo(root / "srv/data/pipe")
    os.setxattr(root / "srv/data/one", "user.comment", b"kept")
    subprocess.run(["setfacl", "-m", "u:1234:rw", root / "home/admin/notes"], check=True)
    subprocess.run(["setfacl", "-d", "-m", "g:4321:rx", root / "srv/data"], check=True)


def server(node: NodeFolder, **settings: str) -> None:
    """Makes it the only server, with a datastore."""
    conf = node.read("etc/imagesmith/backup.conf").replace("BACKUP_DUTY='agent'", "BACKUP_DUTY='founder'")
    for key, value in settings.items():
        conf += f"{key}='{value}'\n"
    node.write("etc/imagesmith/backup.conf", conf)
    node.write("etc/rancher/k3s/config.yaml", f'token: "{TOKEN}"\nnode-name: node-1\n')


def datastore(node: NodeFolder, value: str) -> None:
    path = node.write(f"{K3S}/db/state.db", "")
    path.unlink()
    with closing(sqlite3.connect(path)) as base:
        base.executescript(f"CREATE TABLE kine (value); INSERT INTO kine VALUES ('{value}');")
    node.write(f"{K3S}/token", f"{TOKEN}\n")
    node.write(f"{K3S}/tls/server-ca.key", f"key of {value}\n").chmod(0o600)
    node.write(f"{K3S}/cred/encryption-config.json", f"{value}\n").chmod(0o600)
    node.write(f"{K3S}/manifests/coredns.yaml", f"{value}\n")


def stored(node: NodeFolder) -> str:
    with closing(sqlite3.connect(node.root / f"{K3S}/db/state.db")) as base:
        (value,) = base.execute("SELECT value FROM kine").fetchone()
    return str(value)


def restore(node: NodeFolder, *words: str, sent: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [node.library / "backup-restore", *words],
        env=node.environment, input=sent, capture_output=True, timeout=280, check=False,
    )  # fmt: skip
    print(done.stdout.decode(), done.stderr.decode())
    return done


def refused(node: NodeFolder, place: Nas, *words: str, sent: bytes = b"") -> str:
    """Why; nothing of the node was changed."""
    before = tree(node.root)
    done = restore(node, *words, sent=sent)
    assert done.returncode == 1
    assert tree(node.root) == before
    return done.stderr.decode()


def tree(root: Path) -> dict[str, object]:
    """All below a folder: kind, owners, mode, times, attributes, ACLs and content. Our own state is left out."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.startswith(("var/lib/imagesmith", "run")):
            continue
        state = path.lstat()
        content: object = None
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        attributes = {key: os.getxattr(path, key, follow_symlinks=False)
                      for key in os.listxattr(path, follow_symlinks=False)}  # fmt: skip
        when = 0 if path.is_dir() else int(state.st_mtime)
        found[name] = (state.st_mode, state.st_uid, state.st_gid, when, content, attributes)
    return found


def below(found: dict[str, object], *folders: str) -> dict[str, object]:
    return {name: what for name, what in found.items() if name.startswith(folders)}


def test_what_people_and_pods_left_comes_back_as_it_was(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    assert backup(node)[0] == 0
    assert restore(fresh, "lay", "all", place.kept[-1]).returncode == 0
    folders = ("srv", "opt", "etc/my-service", "var/lib/rancher/k3s/storage", "home/admin/notes", "home/admin/ü")
    old, new = tree(node.root), tree(fresh.root)
    assert below(new, *folders) == below(old, *folders)
    assert len(below(old, *folders)) > 15
    assert (fresh.root / "srv/data/one").stat().st_nlink == 2


def test_what_the_card_starts_by_stays_its_own(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    backup(node)
    restore(fresh, "lay", "all", place.kept[-1])
    for path in ("etc/fstab", "boot/config.txt", "usr/local/bin/k3s", "home/admin/.ssh/authorized_keys"):
        assert fresh.read(path) == "fresh\n"
    assert fresh.read("etc/hostname") == "node-1\n"
    assert not fresh.exists("usr/lib/modules")
    assert fresh.read("usr/local/bin/mine") == "mine\n"
    assert fresh.read("home/admin/.profile") == "fresh\n", "what the backup has not is left alone"


def test_what_a_card_of_another_time_asks_for_is_left_out_all_the_same(
    node: NodeFolder, place: Nas, fresh: NodeFolder
) -> None:
    fresh.write("etc/imagesmith/backup.state", "/etc\n")
    node.write("etc/ssh/key", "old\n")
    backup(node)
    assert restore(fresh, "lay", "all", place.kept[-1]).returncode == 0
    assert (fresh.read("etc/fstab"), fresh.read("etc/hostname")) == ("fresh\n", "node-1\n")
    assert not fresh.exists("etc/ssh/key")
    assert fresh.exists("etc/my-service/conf")


def test_it_goes_on_to_its_end_where_nobody_listens_any_more(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    """A laptop that sleeps takes its connection away: what is said has nowhere to go."""
    backup(node)
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [fresh.library / "backup-restore", "lay", "all", place.kept[-1]],
            env=fresh.environment, stdin=subprocess.DEVNULL, stdout=write, stderr=write, timeout=280, check=False,
        )  # fmt: skip
    finally:
        os.close(write)
    assert done.returncode == 0
    assert "systemctl --no-block start k3s-agent.service" in fresh.calls
    assert not fresh.exists("run/imagesmith/backup")
    assert "laid: " in fresh.read("var/lib/imagesmith/backup/restore.log")


def test_etc_as_it_was_lies_beside(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    backup(node)
    restore(fresh, "lay", "all", place.kept[-1])
    assert fresh.read("var/lib/imagesmith/backup/restored/etc/fstab") == "old\n"
    assert (fresh.root / "var/lib/imagesmith/backup/restored").stat().st_mode & 0o777 == 0o700


def test_a_volume_is_what_it_was_and_nothing_beside(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    """A pod that came first has begun an empty one: it is kept, elsewhere."""
    backup(node)
    restore(fresh, "lay", "all", place.kept[-1])
    assert not fresh.exists(f"{VOLUME}/new")
    assert fresh.exists(f"var/lib/imagesmith/backup/before/1/storage/{Path(VOLUME).name}/new")


@pytest.mark.parametrize("why", ["exclude", "disk"])
def test_volumes_that_the_backup_has_not_are_left_alone(
    node: NodeFolder, place: Nas, fresh: NodeFolder, why: str
) -> None:
    storage = "var/lib/rancher/k3s/storage"
    if why == "exclude":
        node.write("etc/imagesmith/backup.exclude", f"/{storage}\n")
        backup(node)
    else:
        with small_disk(node.root / storage, "1m"):
            backup(node)
    assert restore(fresh, "lay", "all", place.kept[-1]).returncode == 0
    assert fresh.exists(f"{VOLUME}/new")
    assert fresh.exists("home/admin/notes")


def test_volumes_on_a_disk_of_their_own_are_refused_while_k3s_runs(
    node: NodeFolder, place: Nas, fresh: NodeFolder
) -> None:
    backup(node)
    with small_disk(fresh.root / "var/lib/rancher/k3s/storage", "1m"):
        fresh.write(f"{VOLUME}/live", "x")
        assert "is a disk of its own" in refused(fresh, place, "lay", "all", place.kept[-1])
        assert not [call for call in fresh.calls if call.startswith("systemctl")]


def test_a_try_that_failed_keeps_what_was_there_first(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    backup(node)
    fresh.stand_in("tar", """case "$*" in *--extract*) exit 2 ;; *) exec /bin/tar "$@" ;; esac""")
    assert restore(fresh, "lay", "all", place.kept[-1]).returncode == 1
    (fresh.bin / "tar").unlink()
    for tries in range(2):
        assert restore(fresh, "lay", "all", place.kept[-1]).returncode == 0
        first = fresh.exists(f"var/lib/imagesmith/backup/before/1/storage/{Path(VOLUME).name}/new")
        assert first == (tries == 0), "kept until another restore came to its end"


def test_k3s_and_its_pods_are_ended_before(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    backup(node)
    kill = fresh.write("sys/fs/cgroup/kubepods.slice/cgroup.kill", "")
    restore(fresh, "lay", "all", place.kept[-1])
    assert kill.read_text() == "1\n"
    own = [call for call in fresh.calls if call.startswith("systemctl")]
    assert own == ["systemctl stop k3s-agent.service", "systemctl --no-block start k3s-agent.service"]


def test_the_nights_turn_goes_on_after_it(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    backup(node)
    assert backup(fresh, "timer")[1]["state"] == "held"
    restore(fresh, "lay", "all", place.kept[-1])
    assert backup(fresh, "timer")[1]["state"] == "good"


def test_the_only_server_gets_its_datastore_back(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    server(node)
    server(fresh)
    datastore(node, "old")
    node.write(f"{K3S}/manifests/mine.yaml", "old\n")
    backup(node)
    datastore(fresh, "new")
    assert restore(fresh, "lay", "all", place.kept[-1]).returncode == 0
    assert stored(fresh) == "old"
    folders = (f"{K3S}/tls", f"{K3S}/cred", f"{K3S}/token")
    assert below(tree(fresh.root), *folders) == below(tree(node.root), *folders)
    assert (fresh.read(f"{K3S}/manifests/mine.yaml"), fresh.read(f"{K3S}/manifests/coredns.yaml")) == ("old\n", "new\n")
    assert not fresh.exists("var/lib/imagesmith/backup/restored/var"), "keys lie nowhere else"


def test_one_of_several_servers_gets_its_files_alone(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    server(node)
    datastore(node, "old")
    server(fresh)
    backup(node)
    done = restore(fresh, "lay", "files", place.kept[-1])
    assert done.returncode == 0
    assert b"the state of k3s is not laid: a server that is one of several" in done.stdout
    assert not fresh.exists(f"{K3S}/db")
    assert fresh.exists("home/admin/notes")


def test_etcd_begins_anew_from_a_snapshot(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    server(node)
    server(fresh)
    node.write(f"{K3S}/token", f"{TOKEN}\n")
    node.write(f"{K3S}/db/etcd/x", "live")
    node.write("usr/local/bin/k3s", """#!/bin/sh
mkdir -p "$ROOT/var/lib/rancher/k3s/server/db/snapshots"
echo state >"$ROOT/var/lib/rancher/k3s/server/db/snapshots/$4"
""").chmod(0o755)  # fmt: skip
    backup(node)
    fresh.write("usr/local/bin/k3s", """#!/bin/sh
echo "$*" >"$ROOT/asked"
cp "${3#*=}" "$ROOT/taken"
mkdir -p "$ROOT/var/lib/rancher/k3s/server/db/etcd"
""").chmod(0o755)  # fmt: skip
    fresh.write("etc/rancher/k3s/config.yaml.d/10-start.yaml", 'server: "https://other:6443"\n')
    assert restore(fresh, "snapshot", place.kept[-1]).returncode == 0
    assert fresh.read("asked").startswith("server --cluster-reset --cluster-reset-restore-path=/")
    assert fresh.read("taken") == "state\n"
    assert fresh.read("etc/rancher/k3s/config.yaml.d/10-start.yaml") == "cluster-init: true\n"
    assert not fresh.exists("home/admin/notes")


def test_a_server_that_rejoins_keeps_what_it_had_elsewhere(fresh: NodeFolder) -> None:
    server(fresh)
    datastore(fresh, "old")
    assert restore(fresh, "rejoin").returncode == 0
    assert not fresh.exists(f"{K3S}/db")
    assert fresh.exists("var/lib/imagesmith/backup/before/1/db/state.db")


def test_a_token_of_another_time_is_told(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    server(node)
    datastore(node, "old")
    backup(node)
    server(fresh)
    fresh.write("etc/rancher/k3s/config.yaml", f'token: "{TOKEN[:-1]}0"\n')
    done = restore(fresh, "lay", "all", place.kept[-1])
    assert done.returncode == 1
    assert b"token was drawn anew since this backup" in done.stderr
    assert not fresh.exists(f"{K3S}/db")


def encrypted(node: NodeFolder, fresh: NodeFolder, place: Nas) -> Drawn:
    drawn = draw(f"nodes/{NODE}/backup-identity")
    for one in (node, fresh):
        furnish(one, place, BACKUP_RECIPIENT=drawn.public)
    return drawn


@pytest.mark.skipif(not shutil.which("age"), reason="age is not installed")
def test_an_encrypted_backup_needs_the_vaults_key(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    drawn = encrypted(node, fresh, place)
    backup(node)
    other = draw(f"nodes/{NODE}/backup-identity").content.reveal()
    for sent in (other, b"", b"nonsense"):
        told = refused(fresh, place, "lay", "all", place.kept[-1], sent=sent)
        assert "can't be opened by the key that was given" in told
    assert restore(fresh, "lay", "all", place.kept[-1], sent=drawn.content.reveal()).returncode == 0
    assert fresh.read("home/admin/notes") == "mine\n"
    assert not list(fresh.root.rglob("identity"))


def test_a_damaged_backup_is_refused(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    backup(node)
    path = place.own / place.kept[-1]
    data = bytearray(path.read_bytes())
    for changed in (data[: len(data) // 2], data[:-1], bytes([data[0] ^ 1]) + data[1:], b""):
        path.write_bytes(changed)
        assert "is damaged: it is not what this node sent" in refused(fresh, place, "lay", "all", place.kept[-1])


def test_a_backup_that_somebody_else_made_is_refused(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    backup(node)
    path = place.own / place.kept[-1]
    path.write_bytes(path.read_bytes() + b"more")
    digest = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    about = Path(f"{path}.about")
    lines = [f"sha256 {digest}" if line.startswith("sha256") else line for line in about.read_text().splitlines()]
    about.write_text("\n".join(lines) + "\n")
    assert "was not signed by this node's key" in refused(fresh, place, "lay", "all", place.kept[-1])


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("BACKUP_NODE='node-2'", "is a backup of node-1, and this is node-2"),
        ("BACKUP_CLUSTER='other'", "is of another cluster (rack)"),
        (f"BACKUP_CA='{'cd' * 32}'", "is of another cluster (rack), or of this one before its authorities"),
    ],
)
def test_a_foreign_backup_is_refused(node: NodeFolder, place: Nas, fresh: NodeFolder, setting: str, told: str) -> None:
    backup(node)
    place.authorize()
    fresh.write("etc/imagesmith/backup.conf", fresh.read("etc/imagesmith/backup.conf") + setting + "\n")
    assert told in refused(fresh, place, "lay", "all", place.kept[-1])


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "/etc/cron.d/x", "./home/../../x"])
def test_a_name_that_leads_elsewhere_is_refused(
    node: NodeFolder, place: Nas, fresh: NodeFolder, name: str, tmp_path: Path
) -> None:
    """Even in a backup that bears the node's own signature: its tar is one that lies."""
    (tmp_path / "evil").write_text("x")
    node.stand_in("tar", f"""case "$*" in
*--create*) exec /bin/tar --create -P --transform 's#.*#{name}#' -f - "{tmp_path}/evil" ;;
*) exec /bin/tar "$@" ;;
esac""")  # fmt: skip
    assert backup(node)[0] == 0
    (node.bin / "tar").unlink()
    assert "a name in it leads elsewhere" in refused(fresh, place, "lay", "all", place.kept[-1])


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "$(reboot)", "node-1-20260101T000000Z.tar.zst"])
def test_a_name_that_is_none_is_refused(fresh: NodeFolder, place: Nas, name: str) -> None:
    refused(fresh, place, "lay", "all", name)


def test_a_check_changes_nothing(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    backup(node)
    before = tree(fresh.root)
    done = restore(fresh, "check", place.kept[-1])
    assert done.returncode == 0
    assert b" is whole, of " in done.stdout
    assert tree(fresh.root) == before
    assert not [call for call in fresh.calls if call.startswith("systemctl")]


READ = "var/lib/imagesmith/backup/read"


def counting(place: Nas) -> Path:
    """Lets the node in; what it asks for is written down."""
    log = place.folder / "asked"
    place.authorize(f'echo "$SSH_ORIGINAL_COMMAND" >>{log}\nexec "$@"\n')
    return log


def fetches(log: Path) -> int:
    return sum(line.startswith("get ") for line in log.read_text().splitlines())


def test_an_archive_is_fetched_once_where_there_is_room(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    backup(node)
    log = counting(place)
    assert restore(fresh, "check", place.kept[-1]).returncode == 0
    (place.own / place.kept[-1]).write_bytes(b"changed since")
    assert restore(fresh, "lay", "all", place.kept[-1]).returncode == 0
    assert fetches(log) == 1
    assert fresh.read("home/admin/notes") == "mine\n"
    assert not fresh.exists(READ)


def test_an_archive_is_fetched_twice_where_there_is_none(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    backup(node)
    log = counting(place)
    with small_disk(fresh.root / "var/lib/imagesmith/backup", "100m"):
        assert restore(fresh, "check", place.kept[-1]).returncode == 0
        assert not fresh.exists(f"{READ}/archive")
        assert restore(fresh, "lay", "all", place.kept[-1]).returncode == 0
    assert fetches(log) == 2
    assert fresh.read("home/admin/notes") == "mine\n"


def test_one_that_changed_between_two_fetches_is_told(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    backup(node)
    with small_disk(fresh.root / "var/lib/imagesmith/backup", "100m"):
        restore(fresh, "check", place.kept[-1])
        path = place.own / place.kept[-1]
        path.write_bytes(path.read_bytes()[:-1])
        done = restore(fresh, "lay", "all", place.kept[-1])
    assert done.returncode == 1
    assert b"is damaged: it is not what this node sent" in done.stderr


def test_what_a_bad_card_made_of_a_kept_archive_is_never_laid(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    backup(node)
    log = counting(place)
    restore(fresh, "check", place.kept[-1])
    fresh.write(f"{READ}/archive", "rotten")
    assert restore(fresh, "lay", "all", place.kept[-1]).returncode == 0
    assert fetches(log) == 2


@pytest.mark.skipif(not shutil.which("age"), reason="age is not installed")
def test_a_check_by_one_key_proves_nothing_of_another(node: NodeFolder, place: Nas, fresh: NodeFolder) -> None:
    drawn = encrypted(node, fresh, place)
    backup(node)
    assert restore(fresh, "check", place.kept[-1], sent=drawn.content.reveal()).returncode == 0
    other = draw(f"nodes/{NODE}/backup-identity").content.reveal()
    assert "can't be opened" in refused(fresh, place, "lay", "all", place.kept[-1], sent=other)
    assert not [call for call in fresh.calls if call.startswith("systemctl")]


def test_a_restore_that_nobody_went_through_with_takes_no_room_for_ever(
    node: NodeFolder, place: Nas, fresh: NodeFolder
) -> None:
    backup(node)
    restore(fresh, "check", place.kept[-1])
    assert fresh.exists(f"{READ}/archive")
    assert backup(fresh)[0] == 0
    assert not fresh.exists(READ)
