"""Backups asked of nodes over a real SSH: status, run, list, restore; stand-ins for the nodes' scripts answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from remote.machines import SSHD
from remote.racks import Running, running_rack

from imagesmith.errors import Interrupted, NodeUnreachable, UsageError
from imagesmith.model.backup import Backup, NfsStore, SshStore
from imagesmith.planning.health import State
from imagesmith.vault.draw import draw
from imagesmith.vault.index import read_index
from imagesmith.vault.store import changing
from imagesmith.workflow import backup as work
from imagesmith.workflow.nodes import Rack
from imagesmith.workflow.status import status

pytestmark = pytest.mark.skipif(not SSHD, reason="sshd is not installed")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBg4TY9TSRWzCp0lVUKWEkyqOcDSAXWxLeqXW8zdDdCv"
WANTED = Backup(SshStore("backup", "nas", "/srv/rack", KEY))
NAME = "s-1-20261121T023000Z.tar.zst"


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Running]:
    with running_rack(tmp_path) as found:
        yield found


def of(rack: Running, wanted: Backup | None = WANTED) -> Rack:
    return replace(rack.rack, cluster=replace(rack.rack.cluster, backup=wanted))


def scripted(rack: Running, kept: str = NAME, restore: str = "") -> None:
    """Every machine has programs in the place of the node's own, which note what they were asked."""
    for machine in rack.machines.values():
        for program, text in {
            "backup-node": """echo "$0 $*" >>"$MACHINE/asked"
! [ -e "$MACHINE/fails" ] || { echo no room >&2; exit 1; }
""",
            "backup-restore": f"""echo "$0 $*" >>"$MACHINE/asked"
case $1 in list) for one in {kept}; do echo "$one 1000"; done ;; *) cat >"$MACHINE/given" ;; esac
{restore}""",
        }.items():
            path = machine.write(f"usr/lib/imagesmith/{program}", f"#!/bin/sh\n{text}")
            path.chmod(0o755)


def asked(rack: Running, name: str) -> list[str]:
    path = rack.machines[name].folder / "asked"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.rpartition("/")[2] for line in lines]


def test_without_the_key_there_is_nothing_to_ask(rack: Running) -> None:
    with pytest.raises(UsageError, match="asks for no backups"):
        work.told(of(rack, None))


def test_a_node_that_is_left_out_is_said_so(rack: Running) -> None:
    with pytest.raises(UsageError, match="a-1 is not backed up"):
        work.run(of(rack, replace(WANTED, without=("a-1",))), ["a-1"])


def test_the_lines_for_the_nas_have_the_vaults_keys(rack: Running) -> None:
    lines = work.authorized_keys(of(rack), "")
    keys = read_index(rack.vault).secrets
    assert [line.partition(",restrict ")[2] for line in lines] == [
        keys[f"nodes/{name}/backup-key"].public for name in ("s-1", "s-2", "a-1")
    ]
    assert lines[0].startswith('command="/bin/sh /srv/rack/imagesmith-receive /srv/rack s-1",restrict ssh-ed25519 ')
    assert work.authorized_keys(of(rack), "") == lines, "drawn once"


def test_a_program_elsewhere_is_a_plain_path(rack: Running) -> None:
    assert '"/bin/sh /opt/r /srv/rack s-1"' in work.authorized_keys(of(rack), "/opt/r")[0]
    with pytest.raises(UsageError, match="not a whole path"):
        work.authorized_keys(of(rack), '/opt/r" ssh-ed25519')


def test_nfs_asks_for_no_key(rack: Running) -> None:
    with pytest.raises(UsageError, match="NFS"):
        work.authorized_keys(of(rack, Backup(NfsStore("nas", "/b"))), "")


def test_a_backup_is_made_now(rack: Running) -> None:
    scripted(rack)
    work.run(of(rack), ["s-1", "a-1"])
    assert (asked(rack, "s-1"), asked(rack, "s-2"), asked(rack, "a-1")) == (
        ["backup-node now"],
        [],
        ["backup-node now"],
    )


def test_one_that_fails_says_why(rack: Running) -> None:
    scripted(rack)
    rack.machines["s-1"].write("fails", "")
    with pytest.raises(NodeUnreachable, match="no room"):
        work.run(of(rack), ["s-1", "a-1"])
    assert asked(rack, "a-1") == []


def test_backups_are_listed_the_oldest_first(rack: Running) -> None:
    scripted(rack, f"s-1-20261123T023000Z.tar.zst {NAME}")
    assert [f"{one.when:%d}" for one in work.listed(of(rack), "s-1")] == ["21", "23"]


def test_an_agent_is_restored_once_its_backup_was_read_through(rack: Running) -> None:
    scripted(rack)
    left = work.restore(of(rack), "a-1", "", rack.opening, rack.agree())
    assert left == ()
    assert asked(rack, "a-1") == [
        "backup-restore list",
        f"backup-restore check {NAME}",
        f"backup-restore lay files {NAME}",
    ]


def test_nothing_is_laid_where_the_check_fails(rack: Running) -> None:
    scripted(rack, restore="[ $1 != check ] || { echo 'is damaged' >&2; exit 1; }\n")
    with pytest.raises(NodeUnreachable, match="is damaged"):
        work.restore(of(rack), "a-1", "", rack.opening, rack.agree())
    assert f"backup-restore lay files {NAME}" not in asked(rack, "a-1")


def test_nothing_is_read_where_it_is_not_agreed(rack: Running) -> None:
    scripted(rack)
    with pytest.raises(Interrupted):
        work.restore(of(rack), "a-1", "", rack.opening, rack.agree(yes=False))
    assert asked(rack, "a-1") == ["backup-restore list"]
    assert any("lay it" in line for line in rack.shown)


def test_what_opens_a_backup_goes_by_standard_input_alone(rack: Running) -> None:
    wanted = of(rack, replace(WANTED, encrypt=True))
    work.authorized_keys(wanted, "")
    scripted(rack, f"{NAME}.age")
    work.restore(wanted, "a-1", "", rack.opening, rack.agree())
    secret = rack.secret("nodes/a-1/backup-identity")
    assert (rack.machines["a-1"].folder / "given").read_text() == f"{secret.rstrip()}\n"
    assert not any(secret in line for line in (*rack.shown, *rack.calls("backup-restore")))


def test_a_backup_from_before_its_key_was_drawn_anew_is_opened_too(rack: Running) -> None:
    wanted = of(rack, replace(WANTED, encrypt=True))
    work.authorized_keys(wanted, "")
    old = rack.secret("nodes/a-1/backup-identity")
    with changing(rack.vault) as change:
        change.keep_old("nodes/a-1/backup-identity")
        change.put("nodes/a-1/backup-identity", draw("nodes/a-1/backup-identity"))
    scripted(rack, f"{NAME}.age")
    work.restore(wanted, "a-1", "", rack.opening, rack.agree())
    new = rack.secret("nodes/a-1/backup-identity")
    given = (rack.machines["a-1"].folder / "given").read_text().splitlines()
    assert new != old
    assert {old.strip(), new.strip()} <= set(given)


def test_one_of_several_servers_is_replaced(rack: Running) -> None:
    scripted(rack)
    (left,) = work.restore(of(rack), "s-1", "", rack.opening, rack.agree())
    assert "imagesmith replace s-1" in left


def test_a_whole_cluster_begins_anew_from_a_snapshot(rack: Running) -> None:
    scripted(rack)
    work.restore(of(rack), "s-1", "", rack.opening, rack.agree(), snapshot=True)
    assert asked(rack, "s-1")[1:] == [
        "backup-restore hello",
        f"backup-restore check {NAME}",
        f"backup-restore snapshot {NAME}",
    ]
    assert asked(rack, "s-2") == ["backup-restore hello", "backup-restore rejoin"]
    assert rack.calls("systemctl stop") == ["s-2: systemctl stop k3s.service"]


def test_no_server_is_stopped_where_one_could_not_join_again(rack: Running) -> None:
    scripted(rack)
    (rack.machines["s-2"].folder / "usr/lib/imagesmith/backup-restore").unlink()
    with pytest.raises(NodeUnreachable) as caught:
        work.restore(of(rack), "s-1", "", rack.opening, rack.agree(), snapshot=True)
    assert "built without backups" in caught.value.hint
    assert rack.calls("systemctl") == []


def test_no_server_is_stopped_for_a_backup_that_is_damaged(rack: Running) -> None:
    scripted(rack, restore="[ $1 != check ] || { echo 'is damaged' >&2; exit 1; }\n")
    with pytest.raises(NodeUnreachable, match="is damaged"):
        work.restore(of(rack), "s-1", "", rack.opening, rack.agree(), snapshot=True)
    assert rack.calls("systemctl") == []


def test_an_agents_backup_has_no_snapshot(rack: Running) -> None:
    scripted(rack)
    with pytest.raises(UsageError, match="is an agent"):
        work.restore(of(rack), "a-1", "", rack.opening, rack.agree(), snapshot=True)


def test_status_tells_of_backups(rack: Running) -> None:
    machine = rack.machines["a-1"]
    machine.write("etc/imagesmith/backup.conf", "")
    machine.write(
        "var/lib/imagesmith/backup/status", "state=failed\nreason=there is no room\nlast_good=2026-01-01T00:00:00Z\n"
    )
    found = status(rack.rack, ["a-1"])
    assert {"a-1: its backup failed: there is no room"} <= set(found.wrong)
    assert any(line.startswith("a-1: its last backup is ") for line in found.wrong)
    (one,) = work.told(of(rack), ["a-1"])
    assert one.facts and one.facts.get("backup.last_good") == "2026-01-01T00:00:00Z"
    assert isinstance(found.states[0], State)
