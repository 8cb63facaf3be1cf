"""Wi-Fi and a password built into a stand-in of every vendor's image: what lies where, and closed to whom."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from building import Workshop, make_workshop
from image.made_disks import Disk, tool
from standins.armbian import make_armbian
from standins.debian_generic import debian_generic
from standins.looking import complaints, outside
from standins.raspios import bookworm, trixie
from standins.ubuntu_cloud import ubuntu_cloud
from standins.ubuntu_raspi import ubuntu_raspi

from imagesmith.formats.credentials import wpa_key

PASSPHRASE = "canary passphrase 4711"
HASH = "$6$canary4711$" + "Canary4711" * 8 + "Canary"
KEY = wpa_key(PASSPHRASE.encode(), "my; net").decode()
BOARD = """\
schema: 1
title: A board with a radio
architecture: {architecture}
memory: 4GiB
wifi: true
roles: [worker]
bases: [debian-{architecture}]
"""
PROFILE = """\
schema: 1
title: A stand-in
board: radio
role: worker
base: stock
bases:
  - {{name: stock, family: {family}, file: {{path: ../base.img}}}}
"""
INVENTORY = """\
schema: 1
name: home
defaults:
  password_file: admin.hash
  wifi: {ssid: my; net, country: DE, key_file: wifi.key}
nodes:
  - {name: node-1, profile: mine}
"""
KEYFILE = "/etc/NetworkManager/system-connections/imagesmith-wifi.nmconnection"
NETPLAN = "/etc/netplan/91-imagesmith-wifi.yaml"


@dataclass(frozen=True)
class Vendor:
    family: str
    make: Callable[[Path], Disk]
    wifi: str
    architecture: str = "arm64"


VENDORS = (
    Vendor("raspios-cloudinit", trixie, KEYFILE),
    Vendor("raspios-legacy", bookworm, KEYFILE),
    Vendor("armbian", make_armbian, NETPLAN),
    Vendor("ubuntu-raspi", ubuntu_raspi, NETPLAN),
    Vendor("ubuntu-cloud", ubuntu_cloud, NETPLAN, "amd64"),
    Vendor("debian-generic", debian_generic, NETPLAN, "amd64"),
)


@dataclass(frozen=True)
class Built:
    vendor: Vendor
    shop: Workshop
    image: Disk

    def root(self, command: str) -> str:
        return tool("debugfs", "-R", command, f"{self.image.path}?offset={self.image.offsets['root']}")


@pytest.fixture(scope="module", params=VENDORS, ids=lambda vendor: vendor.family)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    vendor: Vendor = request.param
    made = vendor.make(tmp_path_factory.mktemp("stock") / "stock.img")
    folder = tmp_path_factory.mktemp("shop")
    shop = make_workshop(folder, made)
    (folder / "profiles/boards").mkdir()
    (folder / "profiles/boards/radio.yaml").write_text(BOARD.format(architecture=vendor.architecture))
    (folder / "profiles/mine.yaml").write_text(PROFILE.format(family=vendor.family))
    shop.inventory(INVENTORY)
    for name, secret in (("admin.hash", HASH), ("wifi.key", PASSPHRASE)):
        (folder / name).write_text(secret)
        (folder / name).chmod(0o600)
    done = shop.build("node-1", "--ssh-key", "key.pub")
    assert "canary" not in (done.out + done.err).lower()
    return Built(vendor, shop, Disk(shop.out / "node-1/node-1.img", made.offsets, made.sizes))


def test_the_key_and_the_hash_lie_on_the_root_and_only_root_reads_them(built: Built) -> None:
    for path, secret in (("/etc/imagesmith/password", HASH), (built.vendor.wifi, KEY)):
        assert secret in built.root(f"cat {path}")
        about = built.root(f"stat {path}")
        assert "Mode:  0600" in about
        assert re.search(r"User: +0 +Group: +0 ", about)


def test_no_other_byte_of_the_image_holds_them(built: Built) -> None:
    data = built.image.path.read_bytes()
    start, size = built.image.offsets["root"], built.image.sizes["root"]
    outside_root = data[:start] + data[start + size :]
    assert not any(secret.encode() in outside_root for secret in (PASSPHRASE, HASH, KEY))
    assert PASSPHRASE.encode() not in data


def test_what_lies_outside_of_partitions_did_not_change(built: Built) -> None:
    assert outside(built.image) == outside(built.shop.disk)


def test_its_file_systems_are_clean(built: Built, tmp_path: Path) -> None:
    assert complaints(built.image, tmp_path) == []


@pytest.mark.parametrize("built", VENDORS[:2], indirect=True, ids=lambda vendor: vendor.family)
def test_raspberry_pi_os_gets_its_country_and_its_radio_on(built: Built) -> None:
    at = f"{built.image.path}@@{built.image.offsets['boot']}"
    assert "cfg80211.ieee80211_regdom=DE" in tool("mtype", "-i", at, "::cmdline.txt").split()
    assert "WirelessEnabled=true" in built.root("cat /var/lib/NetworkManager/NetworkManager.state")
    # Files that NetworkManager looks at only when nobody else can.
    assert "Mode:  0600" in built.root(f"stat {KEYFILE}")
