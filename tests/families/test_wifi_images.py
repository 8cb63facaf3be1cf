"""Wi-Fi and a password built into a stand-in of every vendor's image: what lies where, and closed to whom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from families.vendor_images import VENDORS, VendorImage, shop_of
from image.made_disks import tool
from standins.looking import complaints, outside

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


@pytest.fixture(scope="module", params=VENDORS, ids=lambda vendor: vendor.family)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VendorImage:
    shop = shop_of(request.param, INVENTORY, tmp_path_factory, "radio")
    folder = shop.folder
    (folder / "profiles/boards").mkdir()
    (folder / "profiles/boards/radio.yaml").write_text(BOARD.format(architecture=request.param.architecture))
    for name, secret in (("admin.hash", HASH), ("wifi.key", PASSPHRASE)):
        (folder / name).write_text(secret)
        (folder / name).chmod(0o600)
    done = shop.build("node-1", "--ssh-key", "key.pub")
    assert "canary" not in (done.out + done.err).lower()
    return VendorImage(request.param, shop)


def wifi_file(built: VendorImage) -> str:
    return KEYFILE if built.vendor.family.startswith("raspios") else NETPLAN


def test_the_key_and_the_hash_lie_on_the_root_and_only_root_reads_them(built: VendorImage) -> None:
    for path, secret in (("/etc/imagesmith/password", HASH), (wifi_file(built), KEY)):
        assert secret in built.root(f"cat {path}")
        about = built.root(f"stat {path}")
        assert "Mode:  0600" in about
        assert re.search(r"User: +0 +Group: +0 ", about)


def test_no_other_byte_of_the_image_holds_them(built: VendorImage) -> None:
    data = built.image.path.read_bytes()
    start, size = built.image.offsets["root"], built.image.sizes["root"]
    outside_root = data[:start] + data[start + size :]
    assert not any(secret.encode() in outside_root for secret in (PASSPHRASE, HASH, KEY))
    assert PASSPHRASE.encode() not in data


def test_what_lies_outside_of_partitions_did_not_change(built: VendorImage) -> None:
    assert outside(built.image) == outside(built.shop.disk)


def test_its_file_systems_are_clean(built: VendorImage, tmp_path: Path) -> None:
    assert complaints(built.image, tmp_path) == []


@pytest.mark.parametrize("built", VENDORS[:2], indirect=True, ids=lambda vendor: vendor.family)
def test_raspberry_pi_os_gets_its_country_and_its_radio_on(built: VendorImage) -> None:
    at = f"{built.image.path}@@{built.image.offsets['boot']}"
    assert "cfg80211.ieee80211_regdom=DE" in tool("mtype", "-i", at, "::cmdline.txt").split()
    assert "WirelessEnabled=true" in built.root("cat /var/lib/NetworkManager/NetworkManager.state")
    # Files that NetworkManager looks at only when nobody else can.
    assert "Mode:  0600" in built.root(f"stat {KEYFILE}")
