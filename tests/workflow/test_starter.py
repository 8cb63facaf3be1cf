"""The starter inventory is valid as it is written, and never written over another."""

import contextlib
import dataclasses
import os
import re
import subprocess

import pytest

from imagesmith.errors import IOFailed, NoSpace, UsageError
from imagesmith.model import ClusterNetwork, K3s, SshAccess, Upkeep
from imagesmith.workflow.starter import write_starter
from imagesmith.workflow.target import load_inventory

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBg4TY9TSRWzCp0lVUKWEkyqOcDSAXWxLeqXW8zdDdCv"


def home_with(tmp_path, **keys):
    (tmp_path / "home/.ssh").mkdir(parents=True)
    for name, text in keys.items():
        (tmp_path / "home/.ssh" / f"{name}.pub").write_text(text)
    return tmp_path / "home"


def test_it_is_valid_and_has_the_public_keys(tmp_path):
    home = home_with(tmp_path, id_ed25519=f"{KEY} me@home\n", id_odd="not a key", other=KEY)
    path, keys = write_starter(tmp_path / "new/folder", home)
    assert (path, keys) == (tmp_path / "new/folder/cluster.yaml", 1)
    cluster = load_inventory(path)
    assert [node.name for node in cluster.nodes] == ["node-1", "node-2"]
    assert cluster.nodes[0].settings.ssh_keys == (f"{KEY} me@home",)


def test_it_is_valid_without_a_key(tmp_path):
    path, keys = write_starter(tmp_path, tmp_path / "nobody")
    assert keys == 0
    assert load_inventory(path).nodes[0].settings.ssh_keys == ()


@pytest.mark.parametrize("comment", ["a: b", "x #y", "trailing:", "{{x}}", "'quoted'", "- x"])
def test_an_odd_comment_of_a_key_breaks_nothing(tmp_path, comment):
    path, _ = write_starter(tmp_path, home_with(tmp_path, id_rsa=f"{KEY} {comment}"))
    (key,) = load_inventory(path).nodes[0].settings.ssh_keys
    assert key.split()[:2] == KEY.split()


def all_written(text):
    """The inventory with every commented `key:` line made one that counts; sentences stay comments."""
    return re.sub(r"^( *)# ( *(?:- )?[\w.:*-]+:(?: .*)?)$", r"\1\2", text, flags=re.MULTILINE)


def test_everything_that_is_commented_out_is_valid_too(tmp_path):
    path, _ = write_starter(tmp_path, tmp_path)
    text = path.read_text()
    path.write_text(all_written(text))
    cluster = load_inventory(path)
    assert len(cluster.nodes) == 3
    assert cluster.nodes[1].network.mac == "dc:a6:32:01:02:03"
    assert cluster.nodes[1].settings.password and cluster.nodes[1].network.wifi
    assert (cluster.nodes[1].labels, cluster.nodes[1].role) == ({"disk": "ssd"}, "worker")
    assert cluster.k3s.registries[1].login.username == "puller"
    assert cluster.network.vip and cluster.upkeep.mirrors


def test_each_optional_setting_can_be_taken_alone(tmp_path):
    path, _ = write_starter(tmp_path, tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    single = [number for number, line in enumerate(lines) if re.fullmatch(r" *# [\w]+: \S.*\n", line)]
    assert len(single) > 20
    for number in single:
        path.write_text("".join([*lines[:number], all_written(lines[number]), *lines[number + 1 :]]))
        assert load_inventory(path), lines[number]


def test_it_shows_every_key_of_a_cluster(tmp_path):
    path, _ = write_starter(tmp_path, tmp_path)
    text = path.read_text()
    for kind in (K3s, ClusterNetwork, SshAccess, Upkeep):
        keys = {"files": "file"}
        for field in dataclasses.fields(kind):
            name = keys.get(field.name, field.name)
            assert re.search(rf"^ *(# )?{name}:|`{name}`", text, re.MULTILINE), name


def test_it_never_replaces_another(tmp_path):
    (tmp_path / "cluster.yaml").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        write_starter(tmp_path, tmp_path)
    assert (tmp_path / "cluster.yaml").read_text() == "mine"


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "cluster.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    with pytest.raises(UsageError, match="is there already"):
        write_starter(tmp_path, tmp_path)
    assert not (tmp_path / "elsewhere.yaml").exists()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", full], check=True)
    try:
        with contextlib.suppress(OSError):
            (full / "filler").write_bytes(b"x" * 8192)
        with pytest.raises(NoSpace, match="no space left"):
            write_starter(full, tmp_path)
        assert [path.name for path in full.iterdir()] == ["filler"]
    finally:
        subprocess.run(["umount", full], check=True)


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(IOFailed, match="can't be made"):
        write_starter(tmp_path / "file", tmp_path)
