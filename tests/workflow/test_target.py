"""What TARGET means: a node first, then a profile's name, then a profile's file."""

from pathlib import Path

import pytest

from imagesmith.errors import DocumentInvalid, UsageError
from imagesmith.model import FileSource
from imagesmith.workflow.target import (
    TargetChoice,
    all_wanted,
    catalogue_here,
    catalogue_near,
    load_inventory,
    resolve,
    wanted,
)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBg4TY9TSRWzCp0lVUKWEkyqOcDSAXWxLeqXW8zdDdCv"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJR7r4WQxrzTgZBxMnBzAGwCqPqUbaVqXl2xoiTfVJ1h"
INVENTORY = f"""\
schema: 1
name: home
defaults:
  ssh_keys: ["{KEY}"]
nodes:
  - {{name: node-1, profile: x86-master, base: debian, zram_percent: 10}}
  - {{name: node-2, profile: rpi4-worker}}
  - {{name: node-3, profile: rpi4-worker}}
  - {{name: rpi3-worker, profile: qemu-x86-worker}}
"""
PROFILE = "schema: 1\ntitle: Mine\nboard: rpi4\nrole: worker\n"


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cluster(inside):
    (inside / "cluster.yaml").write_text(INVENTORY)
    return load_inventory(None)


def refusal(*arguments, **others):
    with pytest.raises(UsageError) as caught:
        resolve(*arguments, **others)
    return caught.value


def test_a_node_comes_first(cluster):
    found = resolve("rpi3-worker", cluster=cluster)
    assert (found.node.name, found.profile.name) == ("rpi3-worker", "qemu-x86-worker")


def test_a_node_has_the_base_of_its_own_choice(cluster):
    found = resolve("node-1", cluster=cluster)
    assert (found.base.name, found.node.base) == ("debian", "debian")


def test_a_profile_used_once_means_that_node(cluster):
    assert resolve("x86-master", cluster=cluster).node.name == "node-1"


def test_a_profile_used_by_several_names_them(cluster):
    error = refusal("rpi4-worker", cluster=cluster)
    assert str(error) == "2 nodes of cluster.yaml use the profile rpi4-worker: node-2, node-3"
    assert "node-2" in error.hint


def test_a_profile_used_by_none_is_standalone(cluster):
    node = resolve("bananapi-m5-worker", cluster=cluster).node
    assert (node.name, node.cluster, node.base) == ("bananapi-m5-worker", "", "armbian")


def test_without_an_inventory_a_profile_is_standalone():
    found = resolve("rpi3-worker", cluster=None)
    assert (found.node.name, found.node.cluster) == ("rpi3-worker", "")
    assert found.node.settings.zram_percent == 100


def test_a_path_is_a_profile(inside):
    (inside / "mine.yaml").write_text(PROFILE)
    found = resolve("./mine.yaml", cluster=None)
    assert (found.profile.name, found.profile.board.name, found.base.name) == ("mine", "rpi4", "raspios")


def test_a_profile_in_a_file_may_bring_boards_and_bases(inside):
    for folder in ("my/boards", "my/bases"):
        (inside / folder).mkdir(parents=True)
    (inside / "my/bases/toy-base.yaml").write_text(
        "schema: 1\nname: debian\nfamily: debian\nfile: {path: ../toy.img}\n"
    )
    (inside / "my/boards/toy.yaml").write_text(
        "schema: 1\ntitle: T\narchitecture: arm64\nmemory: 1GiB\nroles: [worker]\nbases: [toy-base]\n"
    )
    (inside / "my/toy-worker.yaml").write_text(PROFILE.replace("rpi4", "toy"))
    found = resolve("my/toy-worker.yaml", cluster=None)
    assert found.base.source == FileSource("my/bases/../toy.img")


@pytest.mark.parametrize("folder", ["boards", "bases"])
def test_a_profile_is_one_wherever_it_lies(inside, folder):
    (inside / folder).mkdir()
    (inside / folder / "mine.yaml").write_text(PROFILE)
    assert resolve(f"{folder}/mine.yaml", cluster=None).profile.title == "Mine"


def test_an_inventory_may_have_profiles_beside_it(inside):
    (inside / "c/profiles").mkdir(parents=True)
    (inside / "c/profiles/mine.yaml").write_text(PROFILE)
    (inside / "c/cluster.yaml").write_text("schema: 1\nname: c\nnodes:\n  - {name: a, profile: mine}\n")
    found = wanted(TargetChoice("a", cluster=Path("c/cluster.yaml")))
    assert (found.profile.title, found.node.name) == ("Mine", "a")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("rpi4-wroker", "did you mean 'rpi4-worker'?"),
        ("zebra", "there is no profile 'zebra'"),
        ("../rpi4-worker", "it can't be read"),
        ("nothing.yaml", "it can't be read"),
        ("", "there is no profile ''"),
        ("$(reboot)", "there is no profile '$(reboot)'"),
        ("\x1b[31m", r"'\x1b[31m'"),
    ],
)
def test_an_unknown_target_is_refused(target, said):
    assert said in str(refusal(target, cluster=None))


def test_an_unknown_target_may_be_near_a_node(cluster):
    error = refusal("nodee-1", cluster=cluster)
    assert "did you mean 'node-1'?" in str(error)
    assert "nodes: node-1, node-2" in error.hint


needs_zones = pytest.mark.skipif(not Path("/usr/share/zoneinfo/Etc/UTC").is_file(), reason="no zone data here")


@needs_zones
@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("Mars/X", "there is no time zone 'Mars/X'"),
        ("Europe/Berlim", "did you mean 'Europe/Berlin'?"),
        ("Europe", "no"),
    ],
)
def test_a_time_zone_that_does_not_exist_is_refused(zone, said):
    assert said in str(refusal("rpi4-worker", cluster=None, overrides={"timezone": zone}))


@needs_zones
def test_a_time_zone_that_exists_is_taken():
    assert resolve("rpi4-worker", cluster=None, overrides={"timezone": "Asia/Tokyo"}).node.settings.timezone


def test_a_base_of_another_board_is_refused():
    error = refusal("rpi4-worker", cluster=None, base="debain")
    assert "did you mean 'debian'?" in str(error)
    assert "raspios, raspios-legacy, debian" in error.hint


def test_the_host_name_of_a_standalone_image():
    assert resolve("rpi4-worker", cluster=None, hostname="kitchen").node.name == "kitchen"


@pytest.mark.parametrize("name", ["x;reboot", "$(reboot)", "a b", "../x", "A", "a\n", "`id`"])
def test_a_host_name_with_shell_in_it_is_refused(name):
    error = refusal("rpi4-worker", cluster=None, hostname=name)
    assert "is not a host name" in str(error)
    assert error.where == "--hostname"


def test_a_node_keeps_its_name(cluster):
    assert "is called node-1" in str(refusal("node-1", cluster=cluster, hostname="kitchen"))
    assert resolve("node-1", cluster=cluster, hostname="node-1").node.name == "node-1"


def test_keys_are_added_once(cluster):
    found = resolve("node-1", cluster=cluster, ssh_keys=[OTHER, KEY])
    assert found.node.settings.ssh_keys == (KEY, OTHER)


def test_overrides_come_last(cluster):
    assert resolve("node-1", cluster=cluster, overrides={"zram_percent": "77"}).node.settings.zram_percent == 77


def test_key_files_are_read(inside):
    (inside / "a.pub").write_text(f"# mine\n\n{KEY} me@home\n{OTHER}\n")
    found = wanted(TargetChoice("rpi4-worker", ssh_key_files=(Path("a.pub"),)))
    assert found.node.settings.ssh_keys == (f"{KEY} me@home", OTHER)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n", "PRIVATE key"),
        ("", "there is no key in it"),
        (f"{KEY}\nssh-ed25519 AAAA\n", "a.pub:2: the public key is damaged"),
    ],
)
def test_a_wrong_key_file_is_refused(inside, content, said):
    (inside / "a.pub").write_text(content)
    with pytest.raises(UsageError) as caught:
        wanted(TargetChoice("rpi4-worker", ssh_key_files=(Path("a.pub"),)))
    assert said in str(caught.value)
    assert "c2VjcmV0" not in f"{caught.value} {caught.value.hint}"


def test_no_inventory_is_fine():
    assert load_inventory(None) is None


def test_a_named_inventory_must_be_there():
    with pytest.raises(UsageError, match="it can't be read: No such file"):
        load_inventory(Path("nowhere.yaml"))


def test_a_folder_is_no_inventory(inside):
    with pytest.raises(UsageError, match="it can't be read"):
        load_inventory(inside)


@pytest.mark.parametrize("content", [b"schema: 1\nname: \xff\n", b"x" * (2 * 1024 * 1024), b"\x7fELF\x00\x00"])
def test_what_is_no_text_is_refused(inside, content):
    (inside / "cluster.yaml").write_bytes(content)
    with pytest.raises(DocumentInvalid, match=r"cluster.yaml"):
        load_inventory(None)


def test_a_byte_order_mark_is_fine(inside):
    (inside / "cluster.yaml").write_text("\ufeff" + INVENTORY)
    assert load_inventory(None).name == "home"


def test_no_cluster_ignores_the_inventory(cluster):
    found = wanted(TargetChoice("rpi4-worker", no_cluster=True))
    assert found.node.cluster == ""


def test_cluster_and_no_cluster_contradict(cluster):
    with pytest.raises(UsageError, match="contradict"):
        wanted(TargetChoice("node-1", cluster=Path("cluster.yaml"), no_cluster=True))


def test_all_means_every_node(cluster):
    assert [found.node.name for found in all_wanted(TargetChoice())] == ["node-1", "node-2", "node-3", "rpi3-worker"]


def test_all_without_an_inventory_is_refused():
    with pytest.raises(UsageError, match="there is no inventory"):
        all_wanted(TargetChoice())


def test_profiles_here_are_known_with_and_without_an_inventory(inside):
    (inside / "profiles").mkdir()
    (inside / "profiles/mine.yaml").write_text(PROFILE)
    assert "mine" in catalogue_here().profiles
    assert wanted(TargetChoice("mine", no_cluster=True)).profile.title == "Mine"
    (inside / "cluster.yaml").write_text(INVENTORY)
    assert "mine" in catalogue_here().profiles
    assert "mine" not in catalogue_near(None).profiles
