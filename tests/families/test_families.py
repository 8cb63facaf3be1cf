"""Each family's edits: where things go, that they fit together, and that nothing secret or shared goes in."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from imagesmith import resources
from imagesmith.errors import UsageError
from imagesmith.families import FAMILIES, family_named
from imagesmith.families.family import Given
from imagesmith.model import (
    Base,
    Board,
    DebianSource,
    DiskLayout,
    Edit,
    EnsureLine,
    EnsureToken,
    FileSource,
    Link,
    MakeDir,
    Node,
    Profile,
    Promise,
    PutFile,
    QemuMachine,
    Remove,
    Settings,
    Source,
    TargetDisk,
)
from imagesmith.planning.payload import documents

KEY = "ssh-ed25519 AAAA ann@desk"
MACHINE = QemuMachine("virt", "cortex-a72", 2, 1 << 30, "kernel", "virtio", "virtio", "ttyAMA0")
DISK = TargetDisk(serial="S4EVNX0M1")
NODE = Node("node-1", "board-worker", settings=Settings(ssh_keys=(KEY,)), domain="lab.example", disk=DISK)
MATERIALS = resources.materials()


def debian_source(loader: str) -> Source:
    return DebianSource("trixie", ("main",), (), loader, "", DiskLayout("mbr", ()))  # type: ignore[arg-type]


def profile(family: str, source: Source | None = None, machine: QemuMachine | None = MACHINE) -> Profile:
    base = Base("base", family, source or FileSource("base.img"))
    board = Board("board", "A board", "arm64", 1 << 30, (base,), machine, ("worker",))
    return Profile("board-worker", "A worker", board, "worker", "base")


def given(chosen: Profile, node: Node = NODE) -> Given:
    return Given(node, chosen, chosen.board.bases[0], documents(node, chosen, MATERIALS), MATERIALS)


def edits(family: str, source: Source | None = None, node: Node = NODE) -> tuple[Edit, ...]:
    return family_named(family).edits(given(profile(family, source), node))


def promises(family: str, machine: QemuMachine | None = MACHINE, node: Node = NODE) -> tuple[Promise, ...]:
    return family_named(family).promises(given(profile(family, machine=machine), node))


def put(family: str, path: str, partition: str = "root") -> PutFile:
    (found,) = (e for e in edits(family) if isinstance(e, PutFile) and (e.partition, e.path) == (partition, path))
    return found


def test_an_unknown_family_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        family_named("slackware")
    assert "armbian, debian, debian-generic, raspios-cloudinit" in caught.value.hint


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_found_by_the_name_it_has(name: str) -> None:
    assert family_named(name).name == name


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_arguments_give_the_same_edits(name: str) -> None:
    assert edits(name) == edits(name)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_file_is_written_twice(name: str) -> None:
    paths = [(e.partition, e.path) for e in edits(name) if isinstance(e, PutFile | Link)]
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize("name", FAMILIES)
def test_paths_are_absolute_and_plain(name: str) -> None:
    for edit in edits(name):
        assert edit.path.startswith("/")
        assert not {"", ".", ".."} & set(edit.path[1:].split("/"))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_step_of_the_first_boot_is_there_and_can_run(name: str) -> None:
    steps = {path for path in MATERIALS.files if path.startswith("firstboot/steps/")}
    placed = {
        e.path: e for e in edits(name) if isinstance(e, PutFile) and e.path.startswith("/usr/lib/imagesmith/steps/")
    }
    assert {path.rpartition("/")[2] for path in placed} == {path.rpartition("/")[2] for path in steps}
    assert {edit.mode for edit in placed.values()} == {0o755}


@pytest.mark.parametrize("name", FAMILIES)
def test_enabled_units_of_ours_are_there(name: str) -> None:
    placed = {e.path for e in edits(name) if isinstance(e, PutFile)}
    links = [e for e in edits(name) if isinstance(e, Link) and "imagesmith" in e.path]
    assert len(links) == 3
    assert {link.target for link in links} <= placed


@pytest.mark.parametrize("name", FAMILIES)
def test_the_epoch_is_an_empty_file_whose_time_stamp_tells(name: str) -> None:
    assert put(name, "/usr/lib/clock-epoch").content == b""


@pytest.mark.parametrize("name", FAMILIES)
def test_only_public_keys_go_in(name: str) -> None:
    for edit in edits(name):
        if isinstance(edit, PutFile):
            assert isinstance(edit.content, bytes)
            assert b"PRIVATE KEY" not in edit.content


@pytest.mark.parametrize("name", ["debian", "debian-generic"])
def test_nothing_that_makes_two_nodes_one_comes_with_the_image(name: str) -> None:
    removed = {e.path for e in edits(name) if isinstance(e, Remove)}
    assert put(name, "/etc/machine-id").content == b""
    assert {"/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_rsa_key", "/var/lib/systemd/random-seed"} <= removed


@pytest.mark.parametrize("name", ["debian", "debian-generic"])
def test_the_seed_lies_on_ext4_closed_to_other_users(name: str) -> None:
    for document in ("user-data", "meta-data", "network-config"):
        assert put(name, f"/var/lib/cloud/seed/nocloud/{document}").mode == 0o600
    assert MakeDir("root", "/var/lib/cloud/seed/nocloud", 0o700) in edits(name)


@pytest.mark.parametrize("name", ["debian", "debian-generic"])
def test_no_metadata_service_is_asked(name: str) -> None:
    (config,) = (e for e in edits(name) if isinstance(e, PutFile) and e.path.startswith("/etc/cloud/cloud.cfg.d/"))
    assert yaml.safe_load(config.content)["datasource_list"] in (["NoCloud", None], ["NoCloud", "None"])  # type: ignore[arg-type]


def test_a_pis_kernel_words_are_there_now_and_after_the_next_initramfs() -> None:
    found = edits("debian", debian_source("raspi-firmware"))
    for word in ("cgroup_enable=memory", "cgroup_memory=1"):
        assert EnsureToken("boot", "/cmdline.txt", word) in found
        assert EnsureToken("root", "/etc/default/raspi-extra-cmdline", word) in found


def test_a_pc_has_no_kernel_words_of_a_pi() -> None:
    assert not any(isinstance(e, EnsureToken) for e in edits("debian", debian_source("systemd-boot")))


def test_no_boot_of_debian_waits_for_a_network() -> None:
    link = "/etc/systemd/system/network-online.target.wants/systemd-networkd-wait-online.service"
    assert Remove("root", link) in edits("debian")


def test_the_configured_locale_is_one_that_locale_gen_makes() -> None:
    assert EnsureLine("root", "/etc/locale.gen", "en_US.UTF-8 UTF-8") in edits("debian")


def test_the_c_locale_needs_no_making() -> None:
    plain = replace(NODE, settings=replace(NODE.settings, locale="C.UTF-8"))
    assert not any(e.path == "/etc/locale.gen" for e in edits("debian", node=plain))


def test_raspberry_pi_os_is_only_added_to_on_its_boot_partition() -> None:
    boot = [e for e in edits("raspios-cloudinit") if e.partition == "boot"]
    assert {e.path for e in boot} == {"/user-data", "/meta-data", "/network-config", "/cmdline.txt"}
    assert all(isinstance(e, EnsureToken) for e in boot if e.path == "/cmdline.txt")


def test_armbian_touches_nothing_outside_its_only_partition() -> None:
    assert {e.partition for e in edits("armbian")} == {"root"}


def test_armbian_asks_nothing_and_lets_nobody_in_by_password() -> None:
    assert Remove("root", "/root/.not_logged_in_yet") in edits("armbian")
    assert b"PasswordAuthentication no" in put("armbian", "/etc/ssh/sshd_config.d/10-imagesmith.conf").content  # type: ignore[operator]


def test_armbians_network_is_closed_to_other_users() -> None:
    netplan = put("armbian", "/etc/netplan/90-imagesmith.yaml")
    assert netplan.mode == 0o600
    assert "ethernets" in yaml.safe_load(netplan.content)["network"]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FAMILIES)
def test_no_promise_is_made_twice(name: str) -> None:
    facts = [promise.fact for promise in promises(name)]
    assert len(facts) == len(set(facts))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_promise_says_why(name: str) -> None:
    assert all(promise.because for promise in promises(name))


@pytest.mark.parametrize("name", FAMILIES)
def test_an_address_is_promised_only_where_the_machine_has_a_network(name: str) -> None:
    lonely = replace(MACHINE, network="none")
    assert any(promise.fact == "address" for promise in promises(name))
    assert not any(promise.fact == "address" for promise in promises(name, lonely))
    assert not any(promise.fact == "address" for promise in promises(name, None))


@pytest.mark.parametrize(("name", "expected"), [("debian", True), ("raspios-cloudinit", True), ("armbian", False)])
def test_cloud_init_is_promised_where_there_is_one(name: str, expected: bool) -> None:
    assert (Promise in map(type, promises(name))) is True
    assert any(promise.fact == "cloud_init" for promise in promises(name)) is expected


def test_a_fixed_address_is_promised_itself() -> None:
    node = replace(NODE, network=replace(NODE.network, address="192.0.2.7/24"))
    found = promises("debian", node=node)
    assert [one.fact for one in found if one.fact.startswith("address")] == ["address.192.0.2.7"]


@pytest.mark.parametrize(("percent", "promised"), [(50, True), (0, False)])
def test_swap_in_memory_is_promised_where_it_is_wanted(percent: int, promised: bool) -> None:
    node = replace(NODE, settings=replace(NODE.settings, zram_percent=percent))
    found = promises("debian", node=node)
    assert any(one.fact == "zram" for one in found) is promised
