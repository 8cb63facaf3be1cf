"""What ZeroTier names: networks, what one is called on a node, members by the public half of their identity. Pure.

Called by `identity.zerotier`, `profile`, `cluster` and `workflow`; nothing here takes cryptography along. Sources:
node/Identity.cpp and osdep/LinuxEthernetTap.cpp of ZeroTierOne.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

_PUBLIC = re.compile(r"([0-9a-f]{10}):0:([0-9a-f]{128})")


@dataclass(frozen=True, slots=True)
class Member:
    """Who a node is to the others: the public half of its identity."""

    address: str
    """10 hex digits: what a network's controller knows the node by."""
    public: bytes

    def __str__(self) -> str:
        """The file identity.public."""
        return f"{self.address}:0:{self.public.hex()}"


def read_member(text: str) -> Member:
    """The file identity.public; whether its work was done is not looked at. Raises ValueError."""
    found = _PUBLIC.fullmatch(text.strip())
    if not found or is_reserved(found[1]):
        raise ValueError("it is no identity of ZeroTier")
    return Member(found[1], bytes.fromhex(found[2]))


def is_reserved(address: str) -> bool:
    """Whether it is one of the addresses that no node has."""
    return address.startswith("ff") or not int(address, 16)


def network_id(text: str) -> str:
    """A network's id as people write it, in lower case. Raises ValueError with what is wrong."""
    network = text.lower()
    if not re.fullmatch(r"[0-9a-f]{16}", network):
        raise ValueError(f"{text[:60]!r} is not the id of a ZeroTier network: 16 of 0-9 and a-f, see its web page")
    if network.startswith("ff"):
        raise ValueError(f"{network} is an ad-hoc network: anybody who types it is a member, and nobody is authorised")
    if is_reserved(controller_of(network)):
        raise ValueError(f"{network} names no controller in its first ten digits; copy it from the network's page")
    return network


def controller_of(network: str) -> str:
    """The address of who decides on a network's members."""
    return network[:10]


def interface(network: str) -> str:
    """What a network's interface is called on Linux."""
    number = int(network, 16)
    folded = (number ^ (number >> 24)) & 0xFF_FFFF_FFFF
    return "zt" + base64.b32encode(folded.to_bytes(5, "big")).decode().lower()
