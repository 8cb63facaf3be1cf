"""What a node's image gets for its backups: its own key, its turn, units that systemd takes; no secret in a plan."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cluster.node_parts import MATERIALS, PROFILE, RACK
from cluster.sealed_parts import HA, files, part, sealed

from imagesmith.cluster import backup, contents
from imagesmith.model import Cluster, Part, PutFile, Sealed, Settings
from imagesmith.model.backup import Backup, NfsStore, SshStore
from imagesmith.secret import SecretRef

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBg4TY9TSRWzCp0lVUKWEkyqOcDSAXWxLeqXW8zdDdCv"
SSH = Backup(SshStore("backup", "nas.home.arpa", "/srv/rack", KEY))
NFS = Backup(NfsStore("fd00::3", "/nfs/rack", ("nfsvers=3",)))
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


def backed_up(wanted: Backup, name: str = "head", cluster: Cluster = RACK) -> Part:
    cluster = replace(cluster, backup=wanted)
    drawn = {one: Sealed(SecretRef(f"vault:{one}"), f"public of {one}") for one in backup.secrets(cluster)}
    return replace(part(name, cluster), sealed=replace(sealed(), more=drawn))


def put(wanted: Backup, name: str = "head") -> dict[str, PutFile]:
    return files(backup.edits(backed_up(wanted, name), PROFILE, MATERIALS))


def conf(wanted: Backup, name: str = "head") -> dict[str, str]:
    content = put(wanted, name)[backup.CONF].content
    assert isinstance(content, bytes)
    return dict(line.replace("'", "").split("=", 1) for line in content.decode().splitlines())


def text(file: PutFile) -> str:
    assert isinstance(file.content, bytes)
    return file.content.decode()


def test_nothing_is_added_where_none_is_wanted() -> None:
    assert backup.edits(part(), PROFILE, MATERIALS) == ()
    assert (backup.secrets(RACK), backup.packages(part())) == ((), ())


def test_a_node_that_is_left_out_gets_nothing() -> None:
    wanted = replace(SSH, without=("arm-1",))
    assert put(wanted, "arm-1") == {}
    assert "nodes/arm-1/backup-key" not in backup.secrets(replace(RACK, backup=wanted))


def test_every_node_has_a_key_of_its_own() -> None:
    key = put(SSH, "arm-1")["/etc/imagesmith/backup/key"]
    assert key.content == SecretRef("vault:nodes/arm-1/backup-key")
    assert key.mode == 0o600


def test_what_opens_backups_is_on_no_node() -> None:
    wanted = replace(SSH, encrypt=True)
    assert conf(wanted)["BACKUP_RECIPIENT"] == "public of nodes/head/backup-identity"
    refs = [file.content for file in put(wanted).values() if isinstance(file.content, SecretRef)]
    assert refs == [SecretRef("vault:nodes/head/backup-key")]


def test_the_nas_is_known_by_the_key_of_the_inventory_alone() -> None:
    assert text(put(SSH)["/etc/imagesmith/backup/known_hosts"]) == f"imagesmith-store {KEY}\n"


def test_the_nas_lets_a_node_run_one_program() -> None:
    assert isinstance(SSH.store, SshStore)
    line = backup.authorized_line(SSH.store, "arm-1", Sealed(SecretRef("vault:x"), KEY), "/opt/imagesmith-receive")
    assert line == f'command="/bin/sh /opt/imagesmith-receive /srv/rack arm-1",restrict {KEY}'


@needs_systemd
def test_turns_follow_each_other_past_midnight() -> None:
    late = replace(SSH, at="23:50")
    for name, when in (("head", "23:50"), ("arm-1", "00:05"), ("arm-2", "00:20")):
        timer = text(put(late, name)[f"{backup.UNITS}/{backup.TIMER}"])
        (line,) = (line for line in timer.splitlines() if line.startswith("OnCalendar="))
        done = subprocess.run(
            ["systemd-analyze", "calendar", line.partition("=")[2]], capture_output=True, text=True, check=True
        )
        assert f"Normalized form: *-*-* {when}:00 Etc/UTC" in done.stdout


def test_all_turns_are_by_the_clock_of_the_first_node() -> None:
    nodes = (replace(RACK.nodes[0], settings=Settings(timezone="Europe/Berlin")), *RACK.nodes[1:])
    found = backup.turn(backed_up(SSH, "arm-1", replace(RACK, nodes=nodes)), SSH)
    assert found == "*-*-* 02:45:00 Europe/Berlin"


@needs_systemd
@pytest.mark.parametrize("wanted", [SSH, NFS], ids=["ssh", "nfs"])
def test_systemd_takes_the_units(wanted: Backup, tmp_path: Path) -> None:
    units = {Path(path).name: text(file) for path, file in put(wanted).items() if path.startswith(backup.UNITS + "/")}
    units[backup.SERVICE] = units[backup.SERVICE].replace("/usr/lib/imagesmith/backup-node", "/usr/bin/true")
    for name, content in units.items():
        (tmp_path / name).write_text(content)
    done = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / name for name in units)], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if any(name in line for name in units)] == []


def test_a_place_that_is_mounted_is_in_nobodys_way() -> None:
    files = put(NFS)
    mount = text(files[f"{backup.UNITS}/var-lib-imagesmith-nas.mount"])
    assert "What=[fd00::3]:/nfs/rack\nWhere=/var/lib/imagesmith/nas\n" in mount
    (options,) = (line for line in mount.splitlines() if line.startswith("Options="))
    assert {"nofail", "_netdev", "soft", "nfsvers=3"} <= set(options.partition("=")[2].split(","))
    assert "/etc/imagesmith/backup/known_hosts" not in files


def test_packages_are_those_that_are_called() -> None:
    assert backup.packages(backed_up(SSH)) == ("zstd", "openssh-client", "sqlite3")
    assert backup.packages(backed_up(SSH, "arm-1")) == ("zstd", "openssh-client")
    assert "sqlite3" not in backup.packages(backed_up(SSH, "head-1", HA))
    assert {"age", "nfs-common"} <= set(backup.packages(backed_up(replace(NFS, encrypt=True))))


def test_it_is_a_part_of_what_a_node_gets() -> None:
    wanted = backed_up(SSH)
    edits = contents.edits(wanted, PROFILE, MATERIALS)
    assert set(backup.edits(wanted, PROFILE, MATERIALS)) <= set(edits)
    assert set(backup.secrets(wanted.cluster)) <= set(contents.secrets(wanted.cluster))
