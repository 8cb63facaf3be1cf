"""NetworkManager's keyfile of the wire, read back as the keyfile that it is."""

from __future__ import annotations

import configparser
import uuid

import pytest

from imagesmith.families.networkmanager import keyfile, wired
from imagesmith.model import Network, Node


def read(network: Network, name: str = "node-1") -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(keyfile(Node(name, "rpi4-worker", network=network)))
    return parser


def test_only_root_may_read_it_or_networkmanager_does_not() -> None:
    assert wired(Node("node-1", "p")).mode == 0o600


def test_without_an_address_every_wired_card_asks_for_one() -> None:
    found = read(Network())
    assert (found["connection"]["type"], found["connection"]["multi-connect"]) == ("ethernet", "3")
    assert (found["ipv4"]["method"], found["ipv6"]["method"]) == ("auto", "auto")


def test_a_fixed_address_has_its_gateway_and_servers() -> None:
    found = read(Network("192.0.2.7/24", "192.0.2.1", ("192.0.2.1", "2001:db8::53", "192.0.2.2")))
    assert dict(found["ipv4"]) == {
        "method": "manual",
        "address1": "192.0.2.7/24,192.0.2.1",
        "dns": "192.0.2.1;192.0.2.2;",
    }
    assert dict(found["ipv6"]) == {"method": "auto", "dns": "2001:db8::53;"}
    assert "multi-connect" not in found["connection"]


def test_a_fixed_address_of_ipv6_means_no_dhcp() -> None:
    found = read(Network("2001:db8::7/64", "2001:db8::1"))
    assert dict(found["ipv6"]) == {"method": "manual", "address1": "2001:db8::7/64,2001:db8::1"}
    assert dict(found["ipv4"]) == {"method": "disabled"}


def test_an_address_without_a_gateway_has_no_comma() -> None:
    assert read(Network("192.0.2.7/24"))["ipv4"]["address1"] == "192.0.2.7/24"


def test_a_card_is_told_by_its_hardware_address() -> None:
    assert read(Network(mac="dc:a6:32:01:02:03"))["ethernet"]["mac-address"] == "dc:a6:32:01:02:03"


@pytest.mark.parametrize("name", ["node-1", "node-2"])
def test_the_id_is_the_nodes_own_and_the_same_at_every_build(name: str) -> None:
    first, second = (uuid.UUID(read(Network(), name)["connection"]["uuid"]) for _ in range(2))
    assert first == second
    assert (first == uuid.UUID(read(Network())["connection"]["uuid"])) is (name == "node-1")
