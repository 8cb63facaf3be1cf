"""Private networks over the internet that nodes are members of: ZeroTier and, on PCs, Hamachi.

Made by `profile.vpn` from an inventory's `vpn:`; read by `cluster` and, for who may be a member, by `workflow`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from imagesmith.model.origins import Digest
from imagesmith.secret import SecretRef

Route = Literal["managed", "global", "default", "dns"]
"""What a node takes from its ZeroTier network: addresses and private routes, public ones, the way to the whole
internet, name servers."""
STAYS_OUT = "none"
"""For an address: the node is no member."""


@dataclass(frozen=True, slots=True)
class ZeroTierApi:
    """Who is asked to let members in."""

    kind: Literal["central", "controller"]
    url: str
    token: SecretRef
    scheme: Literal["token", "bearer"] = "token"
    """The word before Central's token."""


@dataclass(frozen=True, slots=True)
class ZeroTier:
    network: str
    """Its id, 16 hex digits."""
    routes: tuple[Route, ...] = ("managed",)
    k3s: bool = False
    """The nodes of k3s speak to each other over it, in place of their own network."""
    api: ZeroTierApi | None = None
    """None = a person lets members in, by the list that `vpn members` prints."""
    members: Mapping[str, str] = field(default_factory=dict)
    """By each node's name its address there, without prefix; empty = whatever the controller gives it. Those that stay
    out are not among them."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The package by architecture, as a file beside the inventory; others come from ZeroTier's own archive."""


@dataclass(frozen=True, slots=True)
class Hamachi:
    network: str
    """Its id, as 123-456-789, or its name."""
    nodes: tuple[str, ...]
    account: str = ""
    """The e-mail address of the account that owns the nodes; empty = of none."""
    password: SecretRef | None = None
    """The network's."""
    file: str = ""
    """The package, beside the inventory; else it is at `url`."""
    url: str = ""
    digest: Digest | None = None
    """Of what is at `url`."""


@dataclass(frozen=True, slots=True)
class Vpn:
    zerotier: ZeroTier | None = None
    hamachi: Hamachi | None = None


@dataclass(frozen=True, slots=True)
class ZeroTierNetwork:
    """A network as its controller has it."""

    network: str
    name: str
    routes: tuple[str, ...]
    """The networks that it gives addresses of, as 10.147.17.0/24."""


@dataclass(frozen=True, slots=True)
class Membership:
    """A member of a network: as it should be, or as a controller has it."""

    member: str
    """Its address in ZeroTier, 10 hex digits."""
    name: str
    addresses: tuple[str, ...] = ()
    """In the network; none = whatever it gets."""
    let_in: bool = False
    identity: str = ""
    """Its public half; empty = the controller has not met it yet."""
