"""A Wi-Fi network beside the wire, in the words of each system that can join one.

Called by the families whose images run on boards with a radio. What is written here is on ext4 and closed to others,
and holds the network's key, never the passphrase. The wire is preferred, and nothing waits for the radio.

The key is the one of WPA2 (`WpaKey`), so the systems are told that: with WPA3 beside it they would try to join by that
first, for which a passphrase is needed, and fail.
"""

from __future__ import annotations

import json
import uuid

from imagesmith.errors import UsageError
from imagesmith.families.family import Given
from imagesmith.families.networkmanager import FOLDER
from imagesmith.model import DebianSource, Edit, EnsureToken, Link, PartitionRole, PutFile, Wifi
from imagesmith.secret import SecretText, WpaKey

INTERFACE = "wlan0"
"""A Pi's own radio. Its bus tells no place, so no udev gives it another name."""
CONNECTION = f"{FOLDER}/imagesmith-wifi.nmconnection"
RADIO_STATE = "/var/lib/NetworkManager/NetworkManager.state"
BLOCKED = ("platform-3f300000.mmcnr:wlan", "platform-fe300000.mmcnr:wlan")
"""What systemd-rfkill calls the radio of a Pi 3 and of a Pi 4."""
NETPLAN = "/etc/netplan/91-imagesmith-wifi.yaml"
SUPPLICANT = f"/etc/wpa_supplicant/wpa_supplicant-{INTERFACE}.conf"
NETWORKD = "/etc/systemd/network/60-imagesmith-wifi.network"

_NAMESPACE = uuid.UUID("0e5f0a4e-0d2c-5d0f-9a70-3d1f7f0e7c11")
_METRIC = 600
"""NetworkManager's own for radios, and netplan's; a wire has 100 there."""
_NETWORKD_METRIC = 2048
"""A wire has 1024 there."""


def network_manager(given: Given, cmdline: tuple[PartitionRole, str]) -> tuple[Edit, ...]:
    """For Raspberry Pi OS: a connection of NetworkManager's, and the radio on, which is off until a country is set.

    A file of NetworkManager's own and not netplan's: cloud-init writes that from network-config, which lies on FAT
    and so can hold no key, and of the country netplan tells NetworkManager nothing. `cmdline` is the kernel's line.
    """
    wifi = given.node.network.wifi
    if wifi is None:
        return ()
    return (
        PutFile("root", CONNECTION, _connection(wifi), 0o600),
        EnsureToken(*cmdline, f"cfg80211.ieee80211_regdom={wifi.country}"),
        # The image says WirelessEnabled=false here, and 1 in the others.
        PutFile("root", RADIO_STATE, b"[main]\nNetworkingEnabled=true\nWirelessEnabled=true\nWWANEnabled=true\n"),
        *(PutFile("root", f"/var/lib/systemd/rfkill/{radio}", b"0\n") for radio in BLOCKED),
    )


def netplan(given: Given) -> tuple[Edit, ...]:
    """For Ubuntu, Armbian and Debian's cloud images: a file of netplan's beside the one for the wire."""
    wifi = given.node.network.wifi
    return () if wifi is None else (PutFile("root", NETPLAN, _netplan(wifi), 0o600),)


def wpa_supplicant(given: Given) -> tuple[Edit, ...]:
    """For Debian made here: wpa_supplicant started with its radio, and the address by systemd-networkd.

    Wanted by the device and not by multi-user.target, which would wait a minute and a half for a radio that is not
    there. Raises UsageError for a base without the program.
    """
    wifi, source = given.node.network.wifi, given.base.source
    if wifi is None:
        return ()
    if isinstance(source, DebianSource) and "wpasupplicant" not in source.packages:
        raise UsageError(
            f"{given.node.name} is to join the Wi-Fi {wifi.ssid!r}, but its base {given.base.name} lacks wpasupplicant",
            hint="add wpasupplicant, wireless-regdb and the radio's firmware to its packages, or write wifi: none",
        )
    unit = f"wpa_supplicant@{INTERFACE}.service"
    return (
        PutFile("root", SUPPLICANT, _supplicant(wifi), 0o600),
        PutFile("root", NETWORKD, _NETWORK),
        Link(
            "root",
            f"/etc/systemd/system/sys-subsystem-net-devices-{INTERFACE}.device.wants/{unit}",
            "/usr/lib/systemd/system/wpa_supplicant@.service",
        ),
    )


def _connection(wifi: Wifi) -> SecretText:
    # The name as a list of bytes: as text, spaces, semicolons and backslashes would each need their own care.
    name = "".join(f"{byte};" for byte in wifi.ssid.encode())
    head = f"""\
[connection]
id=imagesmith-wifi
uuid={uuid.uuid5(_NAMESPACE, wifi.ssid)}
type=wifi

[wifi]
mode=infrastructure
ssid={name}
hidden={str(wifi.hidden).lower()}

[ipv4]
method=auto
route-metric={_METRIC}

[ipv6]
method=auto
addr-gen-mode=default
route-metric={_METRIC}
""".encode()
    if wifi.key is None:
        return SecretText((head,))
    return SecretText((head + b"\n[wifi-security]\nkey-mgmt=wpa-psk\npsk=", WpaKey(wifi.key, wifi.ssid), b"\n"))


def _netplan(wifi: Wifi) -> SecretText:
    head = f"""\
network:
  version: 2
  wifis:
    {INTERFACE}:
      optional: true
      dhcp4: true
      dhcp4-overrides:
        route-metric: {_METRIC}
      dhcp6-overrides:
        route-metric: {_METRIC}
      regulatory-domain: "{wifi.country}"
      access-points:
        {json.dumps(wifi.ssid, ensure_ascii=False)}:
          hidden: {str(wifi.hidden).lower()}
          auth:
            key-management: """.encode()
    if wifi.key is None:
        return SecretText((head + b"none\n",))
    return SecretText((head + b'psk\n            password: "', WpaKey(wifi.key, wifi.ssid), b'"\n'))


def _supplicant(wifi: Wifi) -> SecretText:
    # The name in hex, which needs no quotes.
    hidden = "    scan_ssid=1\n" if wifi.hidden else ""
    head = f"""\
ctrl_interface=/run/wpa_supplicant
country={wifi.country}
network={{
    ssid={wifi.ssid.encode().hex()}
{hidden}    key_mgmt=""".encode()
    if wifi.key is None:
        return SecretText((head + b"NONE\n}\n",))
    return SecretText((head + b"WPA-PSK\n    psk=", WpaKey(wifi.key, wifi.ssid), b"\n}\n"))


_NETWORK = f"""\
[Match]
Name={INTERFACE}

[Link]
RequiredForOnline=no

[Network]
DHCP=yes

[DHCPv4]
RouteMetric={_NETWORKD_METRIC}

[IPv6AcceptRA]
RouteMetric={_NETWORKD_METRIC}
""".encode()
