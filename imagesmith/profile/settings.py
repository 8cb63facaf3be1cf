"""The settings and network fields by name, with the check of each: one table for inventory, profile and `--set`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import Any

from imagesmith.errors import Problem, UsageError
from imagesmith.model import Network, Node, Wifi
from imagesmith.profile import names
from imagesmith.profile.document import Listing, Scalar, Value
from imagesmith.profile.schema import (
    Fields,
    Kind,
    Place,
    boolean,
    choice,
    did_you_mean,
    integer,
    listed,
    size,
    table,
    text,
)
from imagesmith.profile.target_disk import target_disk, target_disk_in_words
from imagesmith.secret import FILE, SecretRef, Written

NO_WIFI = Wifi("", "")
"""`wifi: none`, which takes away what the inventory's `defaults` say."""


def secret_file(value: Value, place: Place) -> SecretRef | None:
    """The name of a file with a secret in it. The file is not looked at here."""
    path = text(names.secret_path)(value, place)
    return None if path is None else SecretRef(FILE + path, Written(place.file, value.line, place.path))


def wifi(value: Value, place: Place) -> Wifi | None:
    """A Wi-Fi network, or `none`."""
    if isinstance(value, Scalar) and value.text.lower() in ("none", "no", "false"):
        return NO_WIFI
    return table(_wifi)(value, place)


def _wifi(fields: Fields) -> Wifi:
    return Wifi(
        ssid=fields.need("ssid", text(names.wifi_name), ""),
        country=fields.need("country", text(names.country), ""),
        key=fields.take("key_file", secret_file, None),
        hidden=fields.take("hidden", boolean, False),
    )


SETTINGS: Mapping[str, Kind[Any]] = {
    "user": text(names.user_name),
    "ssh_keys": listed(text(names.ssh_public_key)),
    "locale": text(names.locale),
    "timezone": text(names.time_zone),
    "keyboard": text(names.keyboard),
    "time_servers": listed(text(names.host_or_address)),
    "journal_max": size,
    "zram_percent": integer(0, 200),
    "watchdog_s": integer(0, 3600),
    "after_install": choice("poweroff", "reboot"),
    "serial_console": boolean,
    "sudo_nopasswd": boolean,
}

PERSONAL: Mapping[str, Kind[Any]] = {"password_file": secret_file, "wifi": wifi}
"""What names secrets: for inventories only, since a profile is for everybody."""

SHARED_NETWORK: Mapping[str, Kind[Any]] = {
    "gateway": text(names.ip_address),
    "nameservers": listed(text(names.ip_address)),
}
"""What many nodes have in common; the inventory's `defaults` may give these too."""

NETWORK: Mapping[str, Kind[Any]] = {
    "address": text(names.interface_address),
    **SHARED_NETWORK,
    "mac": text(names.mac),
    "reserved": text(names.ip_address),
    "resolvable": boolean,
}

_LISTS = ("time_servers", "nameservers")


def taken(fields: Fields, kinds: Mapping[str, Kind[Any]]) -> dict[str, Any]:
    """Those of the named fields that are written and right."""
    values = {name: fields.take(name, kind, None) for name, kind in kinds.items()}
    return {name: value for name, value in values.items() if value is not None}


def settings_in(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that are fields of `Settings`, under their names there."""
    settings = {key: value for key, value in values.items() if key in SETTINGS}
    return {**settings, "password": values["password_file"]} if "password_file" in values else settings


def network_complaint(network: Network) -> tuple[str, str]:
    """The field of a network that does not fit the others, and why; empty when all is well."""
    if network.reserved and network.address:
        return "reserved", "the node has an address of its own and asks no DHCP; keep one of the two"
    if network.reserved and not network.mac:
        return "reserved", "DHCP keeps an address for a network card; add the card's `mac`"
    if not network.address:
        alone = "a gateway needs an address; without one the node asks DHCP"
        return ("gateway", alone) if network.gateway else ("", "")
    if not network.gateway:
        return "", ""
    interface, gateway = ip_interface(network.address), ip_address(network.gateway)
    if gateway not in interface.network:
        return "gateway", f"the gateway {gateway} is outside the node's network {interface.network}"
    if gateway == interface.ip:
        return "gateway", f"{gateway} is the node's own address; the gateway is the router's"
    return "", ""


def with_overrides(node: Node, overrides: Mapping[str, str]) -> Node:
    """The node with `--set KEY=VALUE` applied; lists are written with commas. Raises UsageError with all mistakes."""
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    kinds: dict[str, Kind[Any]] = {**SETTINGS, **NETWORK, "password_file": secret_file, "disk": target_disk}
    del kinds["ssh_keys"]  # keys come from a file, by --ssh-key
    for key, written in overrides.items():
        if key not in kinds:
            hint = "use --ssh-key FILE" if key == "ssh_keys" else f"known: {', '.join(kinds)}"
            message = f"there is no setting {key[:60]!r}{did_you_mean(key, kinds)}"
            problems.append(Problem(f"--set {key[:60]!r}", 0, "", message, hint))
            continue
        values[key] = kinds[key](_written(key, written), Place(f"--set {key}", "", problems))
    if not problems:
        network = replace(node.network, **{key: value for key, value in values.items() if key in NETWORK})
        settings = replace(node.settings, **settings_in(values))
        where, complaint = network_complaint(network)
        if not complaint:
            return replace(node, network=network, settings=settings, disk=values.get("disk", node.disk))
        problems.append(Problem(f"--set {where}", 0, "", complaint))
    raise UsageError("\n".join(str(problem) for problem in problems), hint="write it like --set zram_percent=25")


def _written(key: str, value: str) -> Value:
    if key == "disk":
        return target_disk_in_words(value)
    if key not in _LISTS:
        return Scalar(value, 0)
    return Listing(tuple(Scalar(part.strip(), 0) for part in value.split(",") if part.strip()), 0)
