"""A node's backup: made by real tar, zstd, sqlite3, age and ssh, sent to a real sshd that runs what receives it."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from nas import NODE, Nas, backup, furnish, lacking, nas, plain_tar, small_disk
from node_folder import NodeFolder

from imagesmith.vault.draw import draw

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=f"not here: {lacking()}"),
    pytest.mark.skipif(os.getuid() != 0, reason="owners, mounts and other users' files are root's"),
]
STAGE = "./var/lib/imagesmith/backup/stage"


@pytest.fixture
def place(tmp_path: Path, node: NodeFolder) -> Iterator[Nas]:
    with nas(tmp_path / "nas", node) as made:
        yield made


def opened(place: Nas) -> tarfile.TarFile:
    """The newest backup."""
    return tarfile.open(fileobj=io.BytesIO(plain_tar(place.own / place.kept[-1])))


def members(place: Nas) -> set[str]:
    with opened(place) as tar:
        return set(tar.getnames())


@contextmanager
def meanwhile(change: Callable[[int], None]) -> Iterator[None]:
    """Something changes over and over while the block runs."""
    ended = threading.Event()

    def work() -> None:
        number = 0
        while not ended.is_set():
            change(number)
            number += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_backup_is_whole_and_known(node: NodeFolder, place: Nas) -> None:
    node.write("home/admin/notes", "mine\n")
    code, status = backup(node)
    assert (code, status["state"], status["warnings"]) == (0, "good", "0")
    assert status["last_good_name"] == place.kept[-1]
    assert int(status["last_good_bytes"]) == (place.own / place.kept[-1]).stat().st_size
    assert "./home/admin/notes" in members(place)
    assert place.left == []


def test_nothing_of_it_stays_on_the_node(node: NodeFolder, place: Nas) -> None:
    backup(node)
    assert not node.exists("var/lib/imagesmith/backup/stage")
    assert not node.exists("run/imagesmith/backup")


def test_a_statement_is_signed_by_the_node(node: NodeFolder, place: Nas, tmp_path: Path) -> None:
    backup(node)
    about = (place.own / f"{place.kept[0]}.about").read_text()
    said, signature = about[: about.index("-----BEGIN")], about[about.index("-----BEGIN") :]
    (tmp_path / "signature").write_text(signature)
    signers = node.root / "etc/imagesmith/backup/signers"
    verify = ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", NODE, "-n", "imagesmith-backup", "-s"]
    for text, code in ((said, 0), (said.replace("cluster rack", "cluster other"), 255)):
        done = subprocess.run(
            [*verify, tmp_path / "signature"], input=text, text=True, capture_output=True, check=False
        )
        assert done.returncode == code, done.stderr


def test_what_can_be_made_anew_is_left_out(node: NodeFolder, place: Nas) -> None:
    out = ["tmp/x", "var/lib/rancher/k3s/agent/containerd/big", "var/lib/kubelet/pods/1/x", "srv/scratch/x",
           "var/lib/rancher/k3s/server/db/state.db-wal", "var/swapfile",
           "var/lib/imagesmith/backup/before/x", "var/lib/imagesmith/backup/restored/x"]  # fmt: skip
    for path in (*out, "srv/kept", "var/lib/rancher/k3s/server/token", "var/lib/rancher/k3s/storage/pvc-1/x"):
        node.write(path, "x")
    node.write("etc/imagesmith/backup.exclude", "/srv/scratch\n")
    node.write(
        "proc/swaps", "Filename Type Size Used Priority\n/var/swapfile file 1 0 -2\n/dev/zram0 partition 1 0 5\n"
    )
    backup(node)
    found = members(place)
    assert not {f"./{path}" for path in out} & found
    assert {"./srv/kept", "./var/lib/rancher/k3s/server/token", "./var/lib/rancher/k3s/storage/pvc-1/x"} <= found


def test_the_boot_partition_is_in_it_and_other_disks_are_not(node: NodeFolder, place: Nas) -> None:
    folders = [node.root / name for name in ("boot/firmware", "mnt/stick", "data")]
    with small_disk(folders[0], "1m"), small_disk(folders[1], "1m"), small_disk(folders[2], "1m"):
        for folder in folders:
            (folder / "file").write_text("x")
        node.write("etc/imagesmith/backup.include", "/data\n/gone\n")
        _, status = backup(node)
        found = members(place)
    assert {"./boot/firmware/file", "./data/file"} <= found
    assert "./mnt/stick/file" not in found
    assert status["warnings"] == "1"
    assert "/gone is not mounted" in node.read("var/lib/imagesmith/backup/warnings")


def test_a_file_that_changes_meanwhile_is_a_warning(node: NodeFolder, place: Nas) -> None:
    # With a hole that takes long enough to be read.
    os.truncate(node.write("var/log/busy", "begun\n"), 300_000_000)

    def grow(number: int) -> None:
        with (node.root / "var/log/busy").open("a") as log:
            log.write(f"{number}\n")

    with meanwhile(grow):
        code, status = backup(node)
    assert (code, status["state"], status["warnings"]) == (0, "good", "1")
    assert "var/log/busy: file changed as we read it" in node.read("var/lib/imagesmith/backup/warnings")


def test_a_database_that_is_written_to_is_copied_at_one_moment(node: NodeFolder, place: Nas, tmp_path: Path) -> None:
    path = node.write("var/lib/rancher/k3s/server/db/state.db", "")
    with closing(sqlite3.connect(path, check_same_thread=False, isolation_level=None)) as base:
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("CREATE TABLE kine (id INTEGER PRIMARY KEY AUTOINCREMENT, value BLOB)")
        base.execute("CREATE TABLE count (number INTEGER)")
        base.execute("INSERT INTO count VALUES (0)")

        def write(number: int) -> None:
            base.execute("BEGIN")
            base.execute("INSERT INTO kine (value) VALUES (?)", (os.urandom(2000),))
            base.execute("UPDATE count SET number = number + 1")
            base.execute("COMMIT")

        for number in range(200):
            write(number)
        with meanwhile(write):
            code, status = backup(node)
    assert (code, status["state"]) == (0, "good")
    with opened(place) as tar:
        found = tar.extractfile(f"{STAGE}/k3s/state.db")
        assert found
        (tmp_path / "copy.db").write_bytes(found.read())
        assert not [name for name in tar.getnames() if "/server/db/" in name]
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        (rows,), (counted,) = (copy.execute(f"SELECT {what}").fetchone() for what in
                               ("count(*) FROM kine", "number FROM count"))  # fmt: skip
        assert rows == counted >= 200
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_database_that_is_damaged_fails_the_backup(node: NodeFolder, place: Nas) -> None:
    node.write("var/lib/rancher/k3s/server/db/state.db", "no database at all" * 300)
    code, status = backup(node)
    assert (code, status["state"], place.kept) == (1, "failed", [])
    assert "the database of k3s can't be copied: " in status["reason"]


def test_etcd_gives_a_snapshot(node: NodeFolder, place: Nas) -> None:
    node.write("var/lib/rancher/k3s/server/db/etcd/member/snap/db", "live")
    node.write("usr/local/bin/k3s", """#!/bin/sh
[ "$1 $2 $3" = "etcd-snapshot save --name" ] || exit 2
mkdir -p "$ROOT/var/lib/rancher/k3s/server/db/snapshots"
echo snapshot >"$ROOT/var/lib/rancher/k3s/server/db/snapshots/$4-node-1-123"
""").chmod(0o755)  # fmt: skip
    backup(node)
    with opened(place) as tar:
        found = tar.extractfile(f"{STAGE}/k3s/etcd-snapshot")
        assert found and found.read() == b"snapshot\n"
    assert list((node.root / "var/lib/rancher/k3s/server/db/snapshots").iterdir()) == []


def test_hooks_give_what_they_have_and_one_that_fails_is_a_warning(node: NodeFolder, place: Nas) -> None:
    hooks = node.root / "etc/imagesmith/backup.d"
    node.write("etc/imagesmith/backup.d/mariadb.sh", '#!/bin/sh\necho dump >"$1/all.sql"\n').chmod(0o755)
    node.write("etc/imagesmith/backup.d/broken.sh", '#!/bin/sh\necho half >"$1/x"\necho no server >&2\nexit 1\n')
    (hooks / "broken.sh").chmod(0o755)
    node.write("etc/imagesmith/backup.d/off.sh", '#!/bin/sh\necho off >"$1/x"\n')
    code, status = backup(node)
    assert (code, status["state"], status["warnings"]) == (0, "good", "1")
    assert "the hook broken failed" in node.read("var/lib/imagesmith/backup/warnings")
    assert "no server" in node.read("var/lib/imagesmith/backup/warnings")
    found = {name for name in members(place) if name.startswith(f"{STAGE}/hooks/")}
    assert found == {f"{STAGE}/hooks/mariadb", f"{STAGE}/hooks/mariadb/all.sql"}


@pytest.mark.skipif(not shutil.which("age"), reason="age is not installed")
def test_an_encrypted_backup_is_opened_by_the_vaults_key_alone(node: NodeFolder, place: Nas, tmp_path: Path) -> None:
    drawn = draw(f"nodes/{NODE}/backup-identity")
    furnish(node, place, BACKUP_RECIPIENT=drawn.public)
    node.write("home/admin/notes", "mine\n")
    code, _ = backup(node)
    (name,) = place.kept
    assert code == 0 and name.endswith(".tar.zst.age")
    (tmp_path / "identity").write_bytes(drawn.content.reveal())
    argv = ["age", "-d", "-i", tmp_path / "identity", place.own / name]
    plain = subprocess.run(argv, capture_output=True, check=True).stdout
    (tmp_path / "plain.zst").write_bytes(plain)
    with tarfile.open(fileobj=io.BytesIO(plain_tar(tmp_path / "plain.zst"))) as tar:
        assert "./home/admin/notes" in tar.getnames()


def test_the_nights_turn_has_nothing_to_do_after_a_good_backup(node: NodeFolder, place: Nas) -> None:
    backup(node)
    before = place.kept
    assert backup(node, "timer")[0] == 0
    assert place.kept == before
    node.configure(BACKUP_RECENT_S="0")
    assert backup(node, "timer")[0] == 0
    assert place.kept != before


def test_a_clock_that_was_in_the_future_ends_no_backups(node: NodeFolder, place: Nas) -> None:
    backup(node)
    before, status = place.kept, node.read("var/lib/imagesmith/backup/status")
    lines = ["last_good=2099-01-01T00:00:00Z" if line.startswith("last_good=") else line for line in status.split("\n")]
    node.write("var/lib/imagesmith/backup/status", "\n".join(lines))
    backup(node, "timer")
    assert place.kept != before


def test_a_clock_in_the_past_is_told_before_anything_is_sent(node: NodeFolder, place: Nas) -> None:
    """Its backup would have an old name, and be thinned out by the one that was made last."""
    place.own.mkdir()
    for name in ("node-1-20990101T023000Z.tar.zst", "node-1-20990101T023000Z.tar.zst.about"):
        (place.own / name).write_text("later")
    code, status = backup(node)
    assert (code, status["state"]) == (1, "failed")
    assert status["reason"].startswith("node-1-20990101T023000Z.tar.zst is there already, and this node's clock says")
    assert place.kept == ["node-1-20990101T023000Z.tar.zst"]


def test_a_turn_after_a_failed_backup_makes_up_for_it(node: NodeFolder, place: Nas) -> None:
    backup(node)
    before, status = place.kept, node.read("var/lib/imagesmith/backup/status")
    node.write("var/lib/imagesmith/backup/status", status.replace("state=good", "state=running"))
    backup(node, "timer")
    assert place.kept != before


def test_a_fresh_card_waits_for_a_word_where_there_are_backups_of_before(node: NodeFolder, place: Nas) -> None:
    backup(node)
    shutil.rmtree(node.root / "var/lib/imagesmith/backup")
    code, status = backup(node, "timer")
    assert (code, status["state"]) == (0, "held")
    assert "imagesmith restore" in status["reason"]
    assert len(place.kept) == 1
    assert backup(node)[1]["state"] == "good"


def test_two_at_once_are_one(node: NodeFolder, place: Nas) -> None:
    place.authorize('case $SSH_ORIGINAL_COMMAND in put*) sleep 2 ;; esac\nexec "$@"\n')
    first = subprocess.Popen([node.library / "backup-node", "now"], env=node.environment, stdout=subprocess.DEVNULL)
    lock = node.root / "var/lib/imagesmith/backup/status"
    while not lock.exists():
        assert first.poll() is None
    assert backup(node)[0] == 1
    assert first.wait(60) == 0
    assert len(place.kept) == 1
