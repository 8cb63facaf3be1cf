"""The only server backs itself up to a NAS by its timer's unit, loses its card, and gets its state onto a fresh one.

The NAS is this machine's own sshd, on the rack's network, with the lines that `backup authorized-keys` prints. k3s is
the tests' stand-in unless IMAGESMITH_K3S names the real program. The tests look at one rack, in this order.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from lanes.racks import LANE, NODES, PATIENCE_S, SERVER
from rack.running import Rack

pytestmark = LANE

FURNISH = """
mkdir -p /srv/data /etc/my-service /var/lib/rancher/k3s/storage/pvc-1
echo mine >/srv/data/file; chown 1234:4321 /srv/data/file; chmod 2750 /srv/data; touch -d 2001-01-01 /srv/data/file
echo a=b >/etc/my-service/conf
echo rows >/var/lib/rancher/k3s/storage/pvc-1/table
echo note >/home/admin/note; chown admin: /home/admin/note
"""
LOOK = """
for path in /srv/data /srv/data/file /etc/my-service/conf /var/lib/rancher/k3s/storage/pvc-1/table /home/admin/note; do
    stat -c '%n %a %u %g' "$path"
    [ -d "$path" ] || { stat -c %Y "$path"; cat "$path"; }
done
"""
DATABASE = "/var/lib/rancher/k3s/server/db/state.db"


def backed_up(rack: Rack) -> dict[str, str]:
    """By the timer's own unit; what the node says then."""
    rack.asked(SERVER, "systemctl", "start", "imagesmith-backup.service", within_s=900)
    told = rack.asked(SERVER, "cat", "/var/lib/imagesmith/backup/status")
    return dict(line.split("=", 1) for line in told.splitlines())


def command(rack: Rack, *words: str) -> str:
    return rack.imagesmith(*words, "--identity", str(rack.desk.key))


@pytest.fixture(scope="module")
def before(rack: Rack, ready: object) -> str:
    """What people and pods left on the server, as it is when it is backed up."""
    rack.asked(SERVER, "sh", "-s", given=FURNISH)
    proof = "CREATE TABLE proof (word); INSERT INTO proof VALUES ('kept')"
    rack.asked(SERVER, "sqlite3", "-cmd", ".timeout 20000", DATABASE, proof)
    return rack.asked(SERVER, "sh", "-s", given=LOOK)


def test_the_timer_waits_for_its_night(rack: Rack, before: str) -> None:
    assert rack.asked(SERVER, "systemctl", "is-active", "imagesmith-backup.timer") == "active\n"


def test_a_night_leaves_a_sealed_backup_on_the_nas(rack: Rack, nas: Path, before: str) -> None:
    begun = time.monotonic()
    told = backed_up(rack)
    print(f"backed up in {time.monotonic() - begun:.0f} s, {told.get('last_good_bytes')} bytes")
    assert told["state"] == "good", told
    kept = nas / "kept" / SERVER / told["last_good_name"]
    assert kept.stat().st_size == int(told["last_good_bytes"]) > 1_000_000
    assert kept.read_bytes().startswith(b"age-encryption.org/v1\n")
    rack.wait_for_word("good", "backup", "status")


def test_a_lost_server_gives_back_its_state(rack: Rack, before: str) -> None:
    rack.machines[SERVER].cut_power()
    rack.insert(SERVER).switch_on()
    # The agents come back with the state: a kubelet shows itself at its start, and these run on.
    rack.wait_until_back([SERVER], PATIENCE_S)
    assert rack.ssh(SERVER, "test", "-e", "/srv/data").returncode == 1
    assert backed_up(rack)["state"] == "held", "a fresh card's backup of nothing would be the newest"
    command(rack, "restore", SERVER, "--yes")
    assert rack.asked(SERVER, "sh", "-s", given=LOOK) == before
    assert rack.asked(SERVER, "sqlite3", "-readonly", DATABASE, "SELECT word FROM proof") == "kept\n"
    rack.wait_until_back(NODES, PATIENCE_S)
    assert backed_up(rack)["state"] == "good"
