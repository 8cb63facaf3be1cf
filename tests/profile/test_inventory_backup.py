"""`backup:` of an inventory: what it means, also where nothing is said, and every mistake told with its place."""

from dataclasses import replace

import pytest
from inventories import ONE, changed, complaints, load

from imagesmith.model.backup import Backup, Keep, NfsStore, SshStore

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBg4TY9TSRWzCp0lVUKWEkyqOcDSAXWxLeqXW8zdDdCv"
STORE = SshStore("sshd", "nas.home.arpa", "/shares/backup/rack", KEY, 2022)
TO = f"{{ssh: sshd@nas.home.arpa, port: 2022, folder: /shares/backup/rack, host_key: {KEY} the nas}}"


def having(backup: str) -> str:
    return changed(ONE, ("k3s: {channel: stable}", f"k3s: {{channel: stable}}\nbackup:\n{backup}"))


def test_where_it_goes_is_enough():
    assert load(having(f"  to: {TO}\n")).backup == Backup(STORE, "02:30", Keep(7, 4))


def test_without_the_word_nothing_is_backed_up():
    assert load(ONE).backup is None


def test_all_that_can_be_said_of_backups():
    said = f"""\
  to: {TO}
  at: "23:05"
  keep: {{daily: 3, weekly: 0}}
  encrypt: true
  exclude: [/srv/scratch, /home/admin/.cache]
  include: [/data]
  state: [/etc/my-service]
  without: [d]
"""
    expected = Backup(
        STORE,
        "23:05",
        Keep(3, 0),
        True,
        ("/srv/scratch", "/home/admin/.cache"),
        ("/data",),
        ("/etc/my-service",),
        ("d",),
    )
    assert load(having(said)).backup == expected


def test_a_number_keeps_days_alone():
    assert load(having(f"  to: {TO}\n  keep: 14\n")).backup == Backup(STORE, keep=Keep(14, 0))


@pytest.mark.parametrize("host", ["nas.home.arpa", "192.168.1.3", "[fd00::3]"])
def test_a_place_may_be_mounted(host):
    found = load(having(f'  to: {{nfs: "{host}:/nfs/backup", options: [nfsvers=3, nolock]}}\n')).backup
    assert found == replace(found, store=NfsStore(host.strip("[]"), "/nfs/backup", ("nfsvers=3", "nolock")))


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (f"  to: {TO.replace('/shares/backup/rack', '/shares/$(reboot)')}", "to.folder: '/shares/$(reboot)' is not"),
        (f"  to: {TO.replace('/shares/backup/rack', '/shares/../etc')}", "backup.to.folder: '/shares/../etc' is not a"),
        (f"  to: {TO.replace('/shares/backup/rack', 'backup')}", "'backup' is not a whole path of letters, digits"),
        (f"  to: {TO.replace('/shares/backup/rack', '/a b')}", "'/a b' is not a whole path"),
        (f"  to: {TO.replace('sshd@', '')}", "yaml:5: backup.to.ssh: 'nas.home.arpa' is not USER@HOST"),
        (f"  to: {TO.replace('sshd@', '-oProxyCommand=x@')}", "is not USER@HOST"),
        ("  to: {ssh: sshd@nas, folder: /b}", "ssh-keyscan -p 22 nas"),
        (f"  to: {TO.replace(KEY, 'ssh-ed25519 AAAA')}", "backup.to.host_key: the public key is damaged"),
        ("  to: {}", "backup.to.ssh: there is neither `ssh` nor `nfs` here"),
        (f"  to: {TO.replace('ssh: ', 'nfs: nas:/b, ssh: ')}", "there is both `ssh` and `nfs` here"),
        ("  to: {nfs: nas}", "backup.to.nfs: 'nas' is not HOST:/export"),
        ("  to: {nfs: 'nas:/b;reboot'}", "'/b;reboot' is not a whole path"),
        ("  to: {nfs: 'nas:/b', options: ['rw,exec']}", "backup.to.options[0]: 'rw,exec' is not one option"),
        ("  at: '02:30'", "yaml:5: backup: the key 'to' is required"),
        (f"  to: {TO}\n  at: '24:00'", "yaml:6: backup.at: '24:00' is not a time of the day"),
        (f"  to: {TO}\n  keep: 0", "backup.keep: 0 is not between 1 and 366"),
        (f"  to: {TO}\n  keep: {{daily: 0}}", "backup.keep.daily: 0 is not between"),
        (f"  to: {TO}\n  exclude: ['/srv/*']", "backup.exclude[0]: '/srv/*' is not a whole path"),
        (f"  to: {TO}\n  state: [/boot/firmware]", "backup.state: /boot/firmware is the fresh card's own"),
        *((f"  to: {TO}\n  state: [{path}]", f"backup.state: {path} holds /")
          for path in ("/etc", "/usr", "/var", "/usr/lib", "/etc/systemd", "/etc/systemd/system", "/var/lib/rancher")),
        *((f"  to: {TO}\n  state: [{path}]", f"backup.state: {path} is the fresh card's own")
          for path in ("/etc/rancher", "/etc/ssh", "/etc/ssh/sshd_config", "/etc/hostname", "/etc/imagesmith")),
        (f"  to: {TO}\n  without: [e]", "yaml:6: backup.without: there is no node 'e'"),
        (f"  to: {TO}\n  without: [a, d]", "backup.without: no node is left to be backed up"),
        (f"  to: {TO.replace('nas.home.arpa', '192.168.1.10')}", "backup.to: a would keep its backup on its own card"),
        (f"  to: {TO}\n  encypt: true", "did you mean 'encrypt'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(said, complaint):
    found = complaints(having(said + "\n"))
    assert any(complaint in line for line in found), found


def test_a_node_that_is_left_out_may_be_the_place():
    said = f"  to: {TO.replace('nas.home.arpa', '192.168.1.10')}\n  without: [a]\n"
    assert load(having(said)).backup


def test_without_k3s_it_is_refused():
    found = complaints(changed(having(f"  to: {TO}\n"), ("k3s: {channel: stable}\n", "")))
    assert any("backup: this is for the nodes of a k3s cluster" in line for line in found), found
