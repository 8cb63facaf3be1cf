"""What stands between a power cut and the nodes: a UPS, who has its cable, and when which nodes go down.

Made by `profile.power` from an inventory; read by `cluster`, which computes from it what the nodes do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Stage = Literal["workers", "servers", "primary"]
"""Who goes down together, in this order: agents; servers; and last the node with the UPS's cable, whatever its duty."""
DRAIN_USER = "imagesmith:drain:"
"""What a node's name follows in the name of the user that it drains itself as."""
STAGES: tuple[Stage, ...] = ("workers", "servers", "primary")


@dataclass(frozen=True, slots=True)
class UpsDriver:
    """A driver of NUT, as far as it matters here; those that are known are data, profiles/cluster/ups-drivers.yaml."""

    name: str
    usb: tuple[str, ...] = ()
    """What its UPSes call themselves on USB, as `04b4:5500`, where NUT's own rule for udev may lack them."""
    package: str = ""
    """The package that brings it, beside nut-server; empty = nut-server itself."""
    cuts: bool = True
    """It can have the UPS switch its outlets off and on again."""


@dataclass(frozen=True, slots=True)
class Ups:
    name: str
    driver: UpsDriver
    port: str = "auto"
    options: Mapping[str, str] = field(default_factory=dict)
    """More lines of ups.conf; an empty value is a word that stands alone."""
    usb: str = ""
    """As `04b4:5500`, in place of what is known of the driver."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """When a stage comes: whichever is first."""

    after_s: int
    """On battery for so long."""
    below: int
    """The battery holds less than so many hundredths."""


@dataclass(frozen=True, slots=True)
class Power:
    ups: Ups
    primary: str
    """The name of the node that the UPS's cable leads to."""
    runtime_s: int
    """How long the full battery carries the whole rack at work."""
    thresholds: Mapping[Stage, Threshold]
    """Of every stage that has a node in it."""
    stop_s: Mapping[Stage, int]
    """How long such a node takes from the word to go down until it is off."""
    workers: tuple[str, ...] = ()
    """The names of the nodes of the stage `workers`."""
    drain_s: int = 0
    """How long workers may take to give their pods to others before they go down; 0 = pods are stopped with them."""
    when_back: Literal["stay", "cycle"] = "stay"
    """Mains are back after workers went and before the primary did. `stay`: the rest runs on, a person switches the
    workers on. `cycle`: the rest goes down too, so that the UPS switches everything on again."""
    without: tuple[str, ...] = ()
    """The names of nodes that hang on another socket: a cut is nothing to them."""

    def covers(self, node: str) -> bool:
        return node not in self.without
