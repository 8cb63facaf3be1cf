"""The documents of a node: what they say, and that cloud-init takes them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from imagesmith import resources
from imagesmith.errors import UsageError
from imagesmith.model import (
    Base,
    Board,
    DebianSource,
    DiskLayout,
    Documents,
    FileSource,
    Network,
    Node,
    Profile,
    Settings,
)
from imagesmith.planning.payload import documents

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFh5w9Dk3fYb0kmSS+kTzGJ5b8uq2W4x1uS3m0s0Dk1X ann@desk"
DEBIAN = Base("debian", "debian", DebianSource("trixie", ("main",), (), "systemd-boot", "", DiskLayout("gpt", ())))
STOCK = Base("stock", "raspios-cloudinit", FileSource("stock.img"))
BOARD = Board("board", "A board", "amd64", 1 << 30, (DEBIAN, STOCK), None, ("worker",))
PROFILE = Profile("board-worker", "A worker", BOARD, "worker", "debian")
NODE = Node("node-1", "board-worker", settings=Settings(ssh_keys=(KEY,)), domain="lab.example")
STATIC = Network("192.168.7.10/24", "192.168.7.1", ("192.168.7.1", "9.9.9.9"), "52:54:00:12:34:56")
NETWORKS = {"dhcp": Network(), "static": STATIC, "static-any": replace(STATIC, mac="")}

needs_cloud_init = pytest.mark.skipif(not shutil.which("cloud-init"), reason="cloud-init is not installed")


def made(node: Node = NODE) -> Documents:
    return documents(node, PROFILE, resources.materials())


def user_data(node: Node = NODE) -> dict[str, object]:
    return dict(yaml.safe_load(made(node).user_data))


def ethernets(node: Node) -> dict[str, dict[str, object]]:
    return dict(yaml.safe_load(made(node).network_config)["network"]["ethernets"])


def test_user_data_begins_with_the_word_that_cloud_init_looks_for() -> None:
    assert made().user_data.startswith(b"#cloud-config\n")


def test_the_user_logs_in_by_key_and_only_so() -> None:
    user = user_data()["users"][0]  # type: ignore[index]
    assert (user["name"], user["ssh_authorized_keys"], user["lock_passwd"]) == ("admin", [KEY], True)
    assert user_data()["ssh_pwauth"] is False


def test_the_user_becomes_root_without_a_password_only_when_told_so() -> None:
    told = replace(NODE, settings=replace(NODE.settings, sudo_nopasswd=True))
    assert "sudo" not in user_data()["users"][0]  # type: ignore[index]
    assert user_data(told)["users"][0]["sudo"] == "ALL=(ALL) NOPASSWD:ALL"  # type: ignore[index]


def test_the_node_has_its_name_with_and_without_a_domain() -> None:
    assert (user_data()["hostname"], user_data()["fqdn"]) == ("node-1", "node-1.lab.example")
    assert "fqdn" not in user_data(replace(NODE, domain=""))


def test_cloud_init_does_not_race_the_step_that_grows_the_root() -> None:
    assert user_data()["growpart"] == {"mode": "off"}
    assert user_data()["resize_rootfs"] is False


def test_cloud_init_makes_a_keyboard_that_the_base_does_not_have_already() -> None:
    """It takes an emulated processor twenty seconds."""
    german = replace(NODE, settings=replace(NODE.settings, keyboard="de"))
    assert user_data(german)["keyboard"] == {"layout": "de"}
    assert "keyboard" not in user_data()


def test_host_keys_are_made_by_each_node() -> None:
    settings = yaml.safe_load(resources.materials().files["cloud-init/cloud.cfg"])
    assert settings["ssh_deletekeys"] is True


def test_meta_data_uses_the_hyphen_that_cloud_init_understands() -> None:
    meta = yaml.safe_load(made().meta_data)
    assert set(meta) == {"instance-id", "local-hostname", "dsmode"}
    assert meta["instance-id"].startswith("node-1-")


def test_the_instance_id_follows_what_cloud_init_is_to_do() -> None:
    other = replace(NODE, settings=replace(NODE.settings, timezone="Europe/Berlin"))
    assert made(NODE) == made(NODE)
    assert made(NODE).meta_data != made(other).meta_data


def test_dhcp_asks_on_every_wired_interface_and_holds_nothing_up() -> None:
    (wired,) = ethernets(NODE).values()
    assert wired == {"match": {"name": "e*"}, "optional": True, "dhcp4": True}


def test_a_static_address_has_a_route_and_name_servers() -> None:
    (wired,) = ethernets(replace(NODE, network=STATIC)).values()
    assert wired == {
        "match": {"macaddress": "52:54:00:12:34:56"},
        "optional": True,
        "dhcp4": False,
        "addresses": ["192.168.7.10/24"],
        "routes": [{"to": "0.0.0.0/0", "via": "192.168.7.1"}],
        "nameservers": {"addresses": ["192.168.7.1", "9.9.9.9"]},
    }


def test_the_route_of_an_ipv6_gateway_is_ipv6() -> None:
    (wired,) = ethernets(replace(NODE, network=Network("fd00::7/64", "fd00::1"))).values()
    assert wired["routes"] == [{"to": "::/0", "via": "fd00::1"}]


def test_the_interfaces_are_called_what_the_bases_renderer_needs() -> None:
    assert list(ethernets(NODE)) == ["e*"]
    assert list(ethernets(replace(NODE, base="stock"))) == ["wired"]


def test_an_unknown_base_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        made(replace(NODE, base="nothing"))
    assert "debian, stock" in caught.value.hint


def test_settings_reach_the_first_boot() -> None:
    told = replace(NODE, settings=replace(NODE.settings, time_servers=("ntp.example",), zram_percent=0))
    assert b"TIME_SERVERS='ntp.example'\n" in made(told).node_conf
    assert b"ZRAM_PERCENT='0'\n" in made(told).node_conf


# -- judged by cloud-init itself (this machine's; the base's own judges in the boot tests) ----------------


@needs_cloud_init
def test_cloud_init_finds_user_data_valid(tmp_path: Path) -> None:
    document = tmp_path / "user-data"
    document.write_bytes(made().user_data)
    done = subprocess.run(["cloud-init", "schema", "-c", document], capture_output=True, text=True, check=False)
    assert (done.returncode, "eprecated" in done.stdout + done.stderr) == (0, False), done.stderr


@needs_cloud_init
@pytest.mark.parametrize("name", NETWORKS)
def test_cloud_init_makes_systemd_networkd_files_of_network_config(name: str, tmp_path: Path) -> None:
    document = tmp_path / "network-config"
    document.write_bytes(made(replace(NODE, network=NETWORKS[name])).network_config)
    command = ["cloud-init", "devel", "net-convert", "-k", "yaml", "-D", "debian", "-O", "networkd"]
    subprocess.run([*command, "-p", document, "-d", tmp_path / "out"], capture_output=True, check=True)
    (written,) = (tmp_path / "out/etc/systemd/network").iterdir()
    text = written.read_text()
    assert "Name=e*\n" in text
    if name == "dhcp":
        assert "DHCP=ipv4\n" in text
    else:
        assert "Address=192.168.7.10/24\n" in text
        assert "Gateway=192.168.7.1\n" in text
        assert "DNS=192.168.7.1 9.9.9.9\n" in text
