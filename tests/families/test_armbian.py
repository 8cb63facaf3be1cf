"""What Armbian's family decides, without an image: addresses, memory, the first boot of its own, and promises."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from imagesmith import resources
from imagesmith.families.armbian import Armbian
from imagesmith.families.family import Given
from imagesmith.families.findings import Findings
from imagesmith.model import (
    Base,
    Board,
    Edit,
    EnsureWord,
    FileSource,
    Link,
    Network,
    Node,
    Profile,
    PutFile,
    Remove,
    RemoveKey,
    SetKey,
)
from imagesmith.planning.payload import documents

MATERIALS = resources.materials()
MAC = "02:11:22:33:44:55"
ENVIRONMENT = "/boot/armbianEnv.txt"
ZRAM = "/etc/default/armbian-zram-config"
NODE = Node("node-1", "pi")
WITH_MAC = replace(NODE, network=Network(mac=MAC))
FAMILY = Armbian()


def given(node: Node = NODE, **facts: str) -> Given:
    base = Base("small", "armbian", FileSource("a.img"), facts=facts)
    board = Board("bananapi-m5", "A board", "arm64", 4 << 30, (base,), None, ("worker",))
    profile = Profile("pi", "A worker", board, "worker", "small")
    return Given(node, profile, base, documents(node, profile, MATERIALS), MATERIALS)


def edits(node: Node = NODE, **facts: str) -> tuple[Edit, ...]:
    return FAMILY.edits(given(node, **facts))


def card(node: Node, **facts: str) -> dict[str, object]:
    (file,) = (one for one in edits(node, **facts) if one.path == "/etc/netplan/90-imagesmith.yaml")
    assert isinstance(file, PutFile)
    assert isinstance(file.content, bytes)
    found: dict[str, dict[str, object]] = yaml.safe_load(file.content)["network"]["ethernets"]
    assert list(found) == ["all-eth-interfaces"]
    return found["all-eth-interfaces"]


def promised(node: Node = NODE, **facts: str) -> dict[str, str]:
    return {one.fact: one.value for one in FAMILY.promises(given(node, **facts))}


def test_a_named_address_is_given_to_the_card_so_that_a_reservation_holds() -> None:
    assert SetKey("root", ENVIRONMENT, "ethaddr", MAC) in edits(WITH_MAC)
    # Found by its name: what is given to a card is not what netplan's match looks at.
    assert (card(WITH_MAC)["match"], card(WITH_MAC)["macaddress"]) == ({"name": "e*"}, MAC)


def test_a_base_can_have_the_card_found_by_its_own_address_instead() -> None:
    assert RemoveKey("root", ENVIRONMENT, "ethaddr") in edits(WITH_MAC, mac="match")
    assert card(WITH_MAC, mac="match")["match"] == {"macaddress": MAC}
    assert "macaddress" not in card(WITH_MAC, mac="match")


def test_without_a_named_address_the_board_has_its_own_and_not_the_images() -> None:
    assert RemoveKey("root", ENVIRONMENT, "ethaddr") in edits()
    assert "macaddress" not in card(NODE)


@pytest.mark.parametrize("unit", ["armbian-firstrun.service", "armbian-resize-filesystem.service"])
def test_its_own_first_boot_is_masked(unit: str) -> None:
    assert Link("root", f"/etc/systemd/system/{unit}", "/dev/null") in edits()


def test_the_words_for_the_kernel_are_the_bases() -> None:
    words = [one.word for one in edits(kernel_words="a=1 b") if isinstance(one, EnsureWord)]
    assert words == ["a=1", "b"]


def test_a_console_on_the_serial_port_is_there_where_it_is_wanted() -> None:
    wanted = replace(NODE, settings=replace(NODE.settings, serial_console=True))
    getty = "/etc/systemd/system/getty.target.wants/serial-getty@ttyS9.service"
    assert Link("root", getty, "/usr/lib/systemd/system/serial-getty@.service") in edits(wanted, serial_port="ttyS9")
    assert SetKey("root", ENVIRONMENT, "console", "both") in edits(wanted)
    assert not any(isinstance(one, SetKey) and one.key == "console" for one in edits())


@pytest.mark.parametrize(
    ("percent", "keys"),
    [(25, {"ENABLED": "true", "SWAP": "true", "ZRAM_PERCENTAGE": "25", "SWAP_ALGORITHM": "zstd"}),
     (0, {"ENABLED": "true", "SWAP": "false"})],
)  # fmt: skip
def test_swap_in_memory_is_as_large_as_asked_for(percent: int, keys: dict[str, str]) -> None:
    node = replace(NODE, settings=replace(NODE.settings, zram_percent=percent))
    assert {one.key: one.value for one in edits(node) if isinstance(one, SetKey) and one.path == ZRAM} == keys


def test_a_file_that_an_image_lacks_is_left_out_and_its_promise_with_it() -> None:
    paths = {one.path for one in edits(zram="none", ramlog="none", netplan="none")}
    assert not paths & {ZRAM, "/etc/default/armbian-ramlog", "/etc/netplan/10-dhcp-all-interfaces.yaml", "none"}
    assert "zram" not in promised(zram="none")
    assert "zram" in promised()


@pytest.mark.parametrize(("where", "value"), [("no", "yes"), ("yes", "no")])
def test_where_logs_are_is_promised(where: str, value: str) -> None:
    assert promised(logs_in_memory=where)["logs_on_root"] == value


def test_a_known_password_is_promised_to_open_nothing() -> None:
    assert promised()["root_password"] == "locked"


def test_keys_that_come_with_an_image_can_be_put_after_those_of_the_base_are_removed() -> None:
    key = "/etc/ssh/ssh_host_ed25519_key"
    assert Remove("root", key) in edits()
    assert not any("ssh_host" in one.path for one in edits() if isinstance(one, PutFile))


def test_all_that_is_otherwise_is_told_at_once() -> None:
    found = Findings("a.img", ("partition 1 (ext4 'x')",), {("root", "/etc/armbian-release"): b"BOARD=odroidn2\n"})
    told = FAMILY.objections(found, given(board="bananapim5", mac="x").base)
    assert [word in "; ".join(told) for word in ("odroidn2", "`mac`", "armbi_root", "armbianEnv.txt", "zram")] == [
        True
    ] * 5


def test_a_file_that_a_fact_names_otherwise_is_not_missed_before_it_is_changed() -> None:
    release = {("root", "/etc/armbian-release"): b"BOARD=x\n", ("root", ZRAM): b""}
    found = Findings("a.img", ("partition 1 (ext4 'armbi_root')",), release)
    assert FAMILY.objections(found, given(environment="/boot/env.txt", ramlog="none").base) == ()
