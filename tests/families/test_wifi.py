"""Wi-Fi as each system reads it: names that would break quoting, the key alone, closed files, nothing that waits."""

from __future__ import annotations

import configparser
from dataclasses import replace
from typing import Any

import pytest
import yaml

from imagesmith.errors import UsageError
from imagesmith.families import FAMILIES, family_named, wifi
from imagesmith.families.family import Given
from imagesmith.formats.credentials import revealed
from imagesmith.model import (
    Base,
    Board,
    DebianSource,
    DiskLayout,
    Edit,
    EnsureToken,
    FileSource,
    Link,
    Network,
    Node,
    Profile,
    PutFile,
    Settings,
    Wifi,
)
from imagesmith.planning.payload import documents
from imagesmith.resources import materials
from imagesmith.secret import Secret, SecretRef, SecretText
from imagesmith.workflow.target import catalogue_near

MATERIALS = materials()
PASSPHRASE = b"hunter2hunter2"
KEY = SecretRef("file:wifi.key")
IEEE = "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"
HOME = Wifi("IEEE", "DE", KEY)
NAMES = [
    "IEEE",
    "my network",
    'a"b',
    "a;b\\n#c",
    "$(reboot)",
    "Café ☕ 网",
    " spaces ",
    "12;",
    "'q'",
    "{{x}}: [y]",
    "😀",
]
WITH_WIFI = sorted(FAMILIES.keys() - {"ubuntu-live"})


def given(family: str, network: Wifi | None, settings: Settings | None = None) -> Given:
    base = Base("base", family, FileSource("base.img"))
    board = Board("board", "A board", "arm64", 1 << 30, (base,), None, ("worker",), wifi=True)
    profile = Profile("board-worker", "A worker", board, "worker", "base")
    node = Node("node-1", "board-worker", network=Network(wifi=network), settings=settings or Settings())
    return Given(node, profile, base, documents(node, profile, MATERIALS), MATERIALS)


def edits(family: str, network: Wifi | None = HOME, settings: Settings | None = None) -> tuple[Edit, ...]:
    return family_named(family).edits(given(family, network, settings))


def text(content: object, passphrase: bytes = b"password") -> str:
    assert isinstance(content, SecretText)
    return revealed(content, lambda ref: Secret(passphrase)).reveal().decode()


def file(found: tuple[Edit, ...], path: str) -> PutFile:
    (one,) = (edit for edit in found if isinstance(edit, PutFile) and edit.path == path)
    assert one.partition == "root"
    return one


def connection(network: Wifi) -> configparser.ConfigParser:
    keyfile = configparser.RawConfigParser()
    keyfile.read_string(
        text(file(wifi.network_manager(given("raspios-legacy", network), CMDLINE), wifi.CONNECTION).content)
    )
    return keyfile


def netplan(network: Wifi) -> Any:
    return yaml.safe_load(text(file(wifi.netplan(given("armbian", network)), wifi.NETPLAN).content))["network"]


def supplicant(network: Wifi) -> dict[str, str]:
    lines = text(file(wifi.wpa_supplicant(given("debian", network)), wifi.SUPPLICANT).content).splitlines()
    return dict(line.strip().split("=", 1) for line in lines if "=" in line)


CMDLINE: Any = ("boot", "/cmdline.txt")


@pytest.mark.parametrize("ssid", NAMES)
def test_a_network_may_be_called_anything(ssid: str) -> None:
    named = replace(HOME, ssid=ssid)
    listed = connection(named)["wifi"]["ssid"]
    assert listed.endswith(";")
    assert bytes(int(byte) for byte in listed.removesuffix(";").split(";")).decode() == ssid
    assert list(netplan(named)["wifis"]["wlan0"]["access-points"]) == [ssid]
    assert bytes.fromhex(supplicant(named)["ssid"]).decode() == ssid


def test_only_the_key_that_is_made_from_the_passphrase_is_written() -> None:
    assert connection(HOME)["wifi-security"]["psk"] == IEEE
    assert netplan(HOME)["wifis"]["wlan0"]["access-points"]["IEEE"]["auth"]["password"] == IEEE
    assert supplicant(HOME)["psk"] == IEEE


def test_wpa3_is_not_tried_for_want_of_the_passphrase() -> None:
    assert connection(HOME)["wifi-security"]["key-mgmt"] == "wpa-psk"
    assert netplan(HOME)["wifis"]["wlan0"]["access-points"]["IEEE"]["auth"]["key-management"] == "psk"
    assert supplicant(HOME)["key_mgmt"] == "WPA-PSK"


def test_an_open_network_has_no_key() -> None:
    free = Wifi("cafe", "DE")
    assert "wifi-security" not in connection(free)
    assert netplan(free)["wifis"]["wlan0"]["access-points"]["cafe"]["auth"] == {"key-management": "none"}
    assert supplicant(free)["key_mgmt"] == "NONE"
    assert "psk" not in supplicant(free)


@pytest.mark.parametrize("hidden", [True, False])
def test_a_hidden_network_is_asked_for_by_name(hidden: bool) -> None:
    network = replace(HOME, hidden=hidden)
    assert connection(network)["wifi"].getboolean("hidden") is hidden
    assert netplan(network)["wifis"]["wlan0"]["access-points"]["IEEE"]["hidden"] is hidden
    assert ("scan_ssid" in supplicant(network)) is hidden


def test_the_country_is_told_where_each_system_asks_for_it() -> None:
    found = wifi.network_manager(given("raspios-legacy", HOME), CMDLINE)
    assert EnsureToken("boot", "/cmdline.txt", "cfg80211.ieee80211_regdom=DE") in found
    assert netplan(HOME)["wifis"]["wlan0"]["regulatory-domain"] == "DE"
    assert supplicant(HOME)["country"] == "DE"


def test_raspberry_pi_os_turns_the_radio_on() -> None:
    found = edits("raspios-cloudinit")
    assert b"\nWirelessEnabled=true\n" in bytes(file(found, wifi.RADIO_STATE).content)  # type: ignore[arg-type]
    blocked = {e.path: e.content for e in found if isinstance(e, PutFile) and "/rfkill/" in e.path}
    assert len(blocked) == 2
    assert set(blocked.values()) == {b"0\n"}


def test_the_wire_is_preferred_and_nothing_waits_for_the_radio() -> None:
    # A wire has 100 by NetworkManager and netplan, 1024 by systemd-networkd.
    assert {int(connection(HOME)[version]["route-metric"]) for version in ("ipv4", "ipv6")} == {600}
    radio = netplan(HOME)["wifis"]["wlan0"]
    assert (radio["dhcp4-overrides"]["route-metric"], radio["optional"]) == (600, True)
    found = wifi.wpa_supplicant(given("debian", HOME))
    network = bytes(file(found, wifi.NETWORKD).content).decode()  # type: ignore[arg-type]
    assert network.count("RouteMetric=2048") == 2
    assert "RequiredForOnline=no" in network
    (link,) = (edit for edit in found if isinstance(edit, Link))
    assert "/sys-subsystem-net-devices-wlan0.device.wants/" in link.path


@pytest.mark.parametrize("name", WITH_WIFI)
def test_every_family_that_a_board_with_a_radio_may_have_joins_a_network(name: str) -> None:
    extra = set(edits(name)) - set(edits(name, None))
    assert any(isinstance(edit, PutFile) and isinstance(edit.content, SecretText) for edit in extra)


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - {"ubuntu-live"}))
def test_without_wifi_and_password_no_family_names_a_secret(name: str) -> None:
    assert not any(isinstance(getattr(edit, "content", None), SecretRef | SecretText) for edit in edits(name, None))


@pytest.mark.parametrize("name", WITH_WIFI)
def test_secrets_go_to_the_root_alone_and_only_root_reads_them(name: str) -> None:
    found = edits(name, HOME, Settings(password=SecretRef("file:admin.hash")))
    secret = [edit for edit in found if isinstance(edit, PutFile) and isinstance(edit.content, SecretRef | SecretText)]
    assert len(secret) == 2
    assert {(edit.partition, edit.mode, edit.uid, edit.gid) for edit in secret} == {("root", 0o600, 0, 0)}


@pytest.mark.parametrize("name", WITH_WIFI)
def test_no_edit_and_no_document_holds_the_passphrase_or_the_key(name: str) -> None:
    found = str(edits(name, HOME, Settings(password=SecretRef("file:admin.hash"))))
    assert PASSPHRASE.decode() not in found
    assert IEEE not in found


def test_a_debian_made_without_the_program_is_refused() -> None:
    source = DebianSource("trixie", ("main",), ("linux-image-amd64",), "systemd-boot", "", DiskLayout("gpt", ()))
    without = given("debian", HOME)
    without = replace(without, base=replace(without.base, source=source))
    with pytest.raises(UsageError, match="node-1 is to join the Wi-Fi 'IEEE', but its base base lacks wpasupplicant"):
        wifi.wpa_supplicant(without)


def test_the_debian_that_is_shipped_for_boards_with_a_radio_has_what_that_needs() -> None:
    for board in catalogue_near(None).boards.values():
        for base in board.bases:
            if board.wifi and isinstance(base.source, DebianSource):
                assert {"wpasupplicant", "wireless-regdb", "firmware-brcm80211"} <= set(base.source.packages)


@pytest.mark.parametrize("name", WITH_WIFI)
def test_a_password_is_left_for_the_account_step(name: str) -> None:
    found = file(edits(name, None, Settings(password=SecretRef("file:admin.hash"))), "/etc/imagesmith/password")
    hashed = "$6$salt$" + "x" * 86
    assert text(found.content, hashed.encode()) == hashed + "\n"
