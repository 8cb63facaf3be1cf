"""Secrets that can be told from anything, looked for wherever a build leaves something: they are on the root alone."""

from __future__ import annotations

import os
import signal
import stat
import time
from pathlib import Path

import pytest
from building import Workshop
from image.made_disks import tool

from imagesmith.formats.credentials import wpa_key

PASSPHRASE = b"canary passphrase 4711"
HASH = b"$6$canary4711$" + b"Canary4711" * 8 + b"Canary"
KEY = wpa_key(PASSPHRASE, "home net")
SECRETS = (PASSPHRASE, HASH, KEY)
INVENTORY = """\
schema: 1
name: home
defaults:
  password_file: secrets/admin.hash
  wifi: {ssid: home net, country: DE, key_file: secrets/wifi.key}
nodes:
  - {name: node-1, profile: mine}
"""
FILES = {
    "raspios-cloudinit": "/etc/NetworkManager/system-connections/imagesmith-wifi.nmconnection",
    "debian-generic": "/etc/netplan/91-imagesmith-wifi.yaml",
}


@pytest.fixture
def private(shop: Workshop) -> Workshop:
    """A workshop with an inventory that names two secrets, and a folder of its own for temporary files."""
    return prepared(shop)


def prepared(shop: Workshop) -> Workshop:
    shop.inventory(INVENTORY)
    (shop.folder / "secrets").mkdir()
    for name, value in (("admin.hash", HASH), ("wifi.key", PASSPHRASE)):
        (shop.folder / "secrets" / name).write_bytes(value + b"\n")
        (shop.folder / "secrets" / name).chmod(0o600)
    (shop.folder / "tmp").mkdir()
    shop.env["TMPDIR"] = str(shop.folder / "tmp")
    return shop


def holding(*folders: Path) -> list[Path]:
    """The files that hold a secret, by name or by content."""
    paths = [path for folder in folders for path in folder.rglob("*")]
    return [
        path
        for path in paths
        if any(secret in (str(path).encode() + (path.read_bytes() if path.is_file() else b"")) for secret in SECRETS)
    ]


def shown(text: str) -> bool:
    return any(secret.decode() in text for secret in SECRETS)


def instead_of(shop: Workshop, program: str, script: str) -> None:
    """Have a program of ours run in place of one that a build calls."""
    folder = shop.folder / "bin"
    folder.mkdir()
    (folder / program).write_text(f"#!/bin/sh\n{script}\n")
    (folder / program).chmod(0o755)
    shop.env["PATH"] = f"{folder}:{shop.env['PATH']}"


@pytest.mark.parametrize("family", FILES)
def test_they_are_on_the_root_partition_closed_to_others_and_nowhere_else(private: Workshop, family: str) -> None:
    private.profile(family=family)
    done = private.build("node-1", "--ssh-key", "key.pub", "--compress", "zst")
    assert not shown(done.out + done.err)
    image = private.out / "node-1/node-1.img"
    root = f"{image}?offset={private.disk.offsets['root']}"
    for path, secret in (("/etc/imagesmith/password", HASH), (FILES[family], KEY)):
        assert secret.decode() in tool("debugfs", "-R", f"cat {path}", root)
        assert "Mode:  0600" in tool("debugfs", "-R", f"stat {path}", root)
    raw = image.read_bytes()
    start, size = private.disk.offsets["root"], private.disk.sizes["root"]
    outside = raw[:start] + raw[start + size :]
    assert not any(secret in outside for secret in SECRETS)
    assert PASSPHRASE not in raw
    assert holding(private.out, private.cache, private.folder / "tmp") == [image]
    # The packed image holds what the raw one does: nobody else may read either.
    for path in (image, image.with_name("node-1.img.zst")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_plans_and_records_tell_them_by_name(private: Workshop) -> None:
    told = private.run("plan", "node-1").out
    assert "its key made from the file secrets/wifi.key" in told
    assert "its hash from the file secrets/admin.hash" in told
    as_json = private.run("plan", "node-1", "--json").out
    assert '"name": "file:secrets/wifi.key"' in as_json
    assert not shown(told + as_json)


def test_another_secret_is_the_same_plan(private: Workshop) -> None:
    before = private.run("plan", "node-1", "--json").result["id"]
    (private.folder / "secrets/wifi.key").write_text("another passphrase")
    assert private.run("plan", "node-1", "--json").result["id"] == before


def test_a_missing_secret_is_told_before_anything_is_done(private: Workshop) -> None:
    (private.folder / "secrets/wifi.key").unlink()
    (private.folder / "secrets/admin.hash").write_bytes(PASSPHRASE)
    done = private.refused(
        2,
        "cluster.yaml:4: defaults.password_file: the file secrets/admin.hash: it holds no password hash",
        "cluster.yaml:5: defaults.wifi.key_file: the file secrets/wifi.key: there is no such file",
        "openssl passwd -6 > secrets/admin.hash",
        words=("build", "node-1"),
    )
    assert not shown(done.err)
    assert not private.out.exists()
    assert not list(private.cache.rglob("*.img"))


def test_with_all_nodes_none_is_built_before_every_secret_is_there(private: Workshop) -> None:
    private.inventory(INVENTORY + "  - {name: node-2, profile: mine, password_file: secrets/other.hash}\n")
    done = private.refused(2, "cluster.yaml:8: nodes[1].password_file: ", words=("build", "--all"))
    assert "there is no such file (secrets/other.hash)" in done.err
    assert not private.out.exists()


def test_a_secret_that_others_can_read_is_warned_of_once(private: Workshop) -> None:
    (private.folder / "secrets/admin.hash").chmod(0o644)
    private.inventory(INVENTORY + "  - {name: node-2, profile: mine}\n")
    done = private.build("--all")
    assert done.err.count("other users of this machine can read this secret (mode 0644)") == 1


def test_a_build_that_fails_leaves_none(private: Workshop) -> None:
    instead_of(private, "e2fsck", "echo broken >&2; exit 8")
    done = private.run("build", "node-1")
    assert done.code == 11
    assert not shown(done.out + done.err)
    assert holding(private.out, private.cache, private.folder / "tmp") == []


def test_a_build_that_is_killed_leaves_them_where_nobody_else_looks_and_the_next_takes_them_away(
    private: Workshop,
) -> None:
    instead_of(private, "e2fsck", f"touch {private.folder}/reached; exec sleep 60")
    process = private.start("build", "node-1")
    try:
        deadline = time.monotonic() + 60
        while not (private.folder / "reached").exists() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert holding(private.cache, private.folder / "tmp") == []
    left = holding(private.out)
    assert left, "it was killed too early to show anything"
    closed = private.out / ".node-1.staging"
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert all(path.is_relative_to(closed) for path in left)
    (private.folder / "bin/e2fsck").unlink()
    private.build("node-1")
    assert holding(private.out) == [private.out / "node-1/node-1.img"]


def test_no_program_gets_them_by_argument_or_environment(private: Workshop) -> None:
    """/proc shows both to everybody."""
    log = private.folder / "strace"
    traced = private.program("build", "node-1", prefix=("strace", "-f", "-v", "-s", "65536", "-e", "execve", "-o", log))
    assert traced.code == 0, traced.err
    calls = log.read_text()
    assert "debugfs" in calls
    assert not shown(calls)
