"""A NAS that is full, gone, slow, not ours or broken: a backup that fails says so, and takes no good one's place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from nas import Nas, backup, busybox, furnish, lacking, nas, plain_tar, small_disk
from node_folder import NodeFolder
from remote.machines import keygen

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=f"not here: {lacking()}"),
    pytest.mark.skipif(os.getuid() != 0, reason="small disks are mounted"),
]
LARGE = 3_000_000


@pytest.fixture
def place(tmp_path: Path, node: NodeFolder) -> Iterator[Nas]:
    """With one good backup in it."""
    with nas(tmp_path / "nas", node) as made:
        node.write("home/admin/notes", "mine\n")
        assert backup(node)[0] == 0
        yield made


def still_good(place: Nas, kept: list[str]) -> bool:
    return place.kept == kept and len(plain_tar(place.own / kept[-1])) > 0


def grown(node: NodeFolder) -> None:
    node.write("home/admin/photo", "")
    (node.root / "home/admin/photo").write_bytes(os.urandom(LARGE))


def test_a_nas_without_room(node: NodeFolder, tmp_path: Path) -> None:
    with small_disk(tmp_path / "nas/kept", "2m"), nas(tmp_path / "nas", node) as place:
        assert backup(node)[0] == 0
        kept = place.kept
        grown(node)
        code, status = backup(node)
        assert (code, status["state"]) == (1, "failed")
        assert "there is no room at " in status["reason"] and "KiB are free" in status["reason"]
        assert still_good(place, kept)
        assert place.left == [], "what did not fit takes no room"
        assert status["last_good_name"] == kept[-1]


def test_a_nas_that_goes_away_in_between(node: NodeFolder, place: Nas) -> None:
    kept = place.kept
    grown(node)
    place.authorize(
        'case $SSH_ORIGINAL_COMMAND in put*) head -c 1000000 | "$@"; kill -9 $PPID ;; *) exec "$@" ;; esac\n'
    )
    code, status = backup(node)
    assert (code, status["state"]) == (1, "failed")
    assert still_good(place, kept)
    assert len(place.left) == 1
    place.authorize()
    assert backup(node)[1]["state"] == "good"
    assert place.left == [], "the next one clears away what was cut off"
    assert place.kept != kept


def test_a_slow_nas_is_waited_for(node: NodeFolder, place: Nas) -> None:
    grown(node)
    place.authorize("""case $SSH_ORIGINAL_COMMAND in
put*)
    n=0
    { while [ $n -lt 20 ]; do dd bs=100000 count=1 iflag=fullblock 2>/dev/null; sleep 0.1; n=$((n + 1)); done; cat; } |
        "$@"
    ;;
*) exec "$@" ;;
esac
""")
    assert backup(node)[1]["state"] == "good"
    assert len(plain_tar(place.own / place.kept[-1])) > LARGE


def test_a_key_that_the_nas_does_not_take(node: NodeFolder, place: Nas) -> None:
    (place.folder / "authorized_keys").write_text("")
    code, status = backup(node)
    assert (code, status["state"]) == (1, "failed")
    assert "does not take this node's key: imagesmith backup authorized-keys" in status["reason"]


def test_another_machine_in_the_place_of_the_nas_gets_nothing(node: NodeFolder, place: Nas, tmp_path: Path) -> None:
    kept = place.kept
    other = keygen(tmp_path / "other").with_suffix(".pub").read_text()
    node.write("etc/imagesmith/backup/known_hosts", f"imagesmith-store {other}")
    code, status = backup(node)
    assert (code, status["state"]) == (1, "failed")
    assert "does not have the host_key of the inventory; nothing was sent to it" in status["reason"]
    assert (place.kept, place.left) == (kept, [])


def test_a_nas_that_is_off(node: NodeFolder, place: Nas) -> None:
    furnish(node, place, BACKUP_PORT="1")
    code, status = backup(node)
    assert (code, status["state"]) == (1, "failed")
    assert "Connection refused" in status["reason"]


def test_a_nas_that_keeps_something_else(node: NodeFolder, place: Nas) -> None:
    kept = place.kept
    place.authorize('case $SSH_ORIGINAL_COMMAND in put*) tr a b | "$@" ;; *) exec "$@" ;; esac\n')
    code, status = backup(node)
    assert (code, status["state"]) == (1, "failed")
    assert "is not what was sent" in status["reason"]
    assert (place.kept, place.left) == (kept, [])


def test_a_nas_whose_disk_is_not_mounted(node: NodeFolder, place: Nas) -> None:
    (place.folder / "kept").rename(place.folder / "elsewhere")
    code, status = backup(node)
    assert (code, status["state"]) == (1, "failed")
    assert "is the disk mounted?" in status["reason"]


@pytest.mark.skipif(not shutil.which("busybox"), reason="busybox is not installed")
@pytest.mark.parametrize("lacks", ["", "sha256sum"])
def test_busybox_is_enough_for_a_nas(node: NodeFolder, place: Nas, tmp_path: Path, lacks: str) -> None:
    """Where nobody can digest there, the node reads back what it sent."""
    place.shell = busybox(tmp_path / "busybox")
    if lacks:
        (tmp_path / "busybox" / lacks).unlink()
    place.authorize()
    before = place.kept
    assert backup(node)[1]["state"] == "good"
    assert len(place.kept) == 1 and place.kept != before


def test_a_node_without_room_is_backed_up_all_the_same(node: NodeFolder, place: Nas) -> None:
    """Nothing of a backup is on the node's disk, so a full one keeps nobody from it."""
    state = node.root / "var/lib/imagesmith"
    with small_disk(state, "64k"):
        (state / "backup").mkdir()
        with (state / "full").open("wb", buffering=0) as full:
            while True:
                try:
                    full.write(b"x" * 4096)
                except OSError:
                    break
        before = place.kept
        code, _ = backup(node)
    assert code == 0
    assert place.kept != before


def test_a_place_that_is_not_mounted_is_not_written_to(node: NodeFolder, place: Nas, tmp_path: Path) -> None:
    folder = node.root / "var/lib/imagesmith/nas"
    folder.mkdir(parents=True)
    furnish(node, place, BACKUP_STORE="nfs", BACKUP_FOLDER="/var/lib/imagesmith/nas", BACKUP_WHERE="nas:/backup")
    code, status = backup(node)
    assert (code, status["state"]) == (1, "failed")
    assert "nas:/backup is not mounted at" in status["reason"]
    assert list(folder.iterdir()) == []
    with small_disk(folder, "8m"):
        code, status = backup(node)
        assert (code, status["state"]) == (0, "good"), status
        assert (folder / "node-1" / status["last_good_name"]).exists()


def test_a_hook_on_a_full_disk_is_a_warning(node: NodeFolder, place: Nas) -> None:
    node.write("etc/imagesmith/backup.d/big.sh", '#!/bin/sh\nhead -c 500000 /dev/zero >"$1/x"\n').chmod(0o755)
    with small_disk(node.root / "var/lib/imagesmith", "128k"):
        code, status = backup(node)
        assert (code, status["state"], status["warnings"]) == (0, "good", "1")
        assert "No space left on device" in node.read("var/lib/imagesmith/backup/warnings")
