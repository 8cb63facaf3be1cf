"""Finds what of a power cut can't go well: nobody at the UPS's cable, stages out of order, a battery that is too small.

Called by `profile.cluster` once everything is read; complaints go to the inventory's own list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from imagesmith.cluster.stages import Span, leaves_after, left_s, moments, total_s
from imagesmith.model import DRAIN_USER, STAGES, Power, Stage
from imagesmith.profile.inventory import Entry, Inventory
from imagesmith.profile.schema import Fields, did_you_mean
from imagesmith.units import show_duration

_LONGEST_NAME = 64 - len(DRAIN_USER)
"""What of a node's name fits into the certificate that it drains itself by."""


def settled(power: Power, fields: Fields, entries: Sequence[Entry]) -> Power:
    """With the only server as the primary, where none is named; and with the workers' names."""
    servers = [entry.node.name for entry in entries if entry.role == "server"]
    if not fields.has("primary") and len(servers) == 1:
        power = replace(power, primary=servers[0])
    workers = [entry.node.name for entry in entries if entry.role == "worker" and entry.node.name != power.primary]
    power = replace(power, workers=tuple(filter(power.covers, workers)))
    if fields.has("primary") or power.primary:
        return power
    fields.place.complain(
        fields.line,
        f"there are {len(servers)} servers, and nobody says to which node the UPS's cable leads",
        "add `primary:` and that node's name",
    )
    return power


def check_power(inventory: Inventory) -> None:
    """Whether the nodes go down in order before the battery is empty."""
    power = inventory.cluster.power
    if power is None:
        return
    _check_primary(inventory, power)
    _check_without(inventory, power)
    _check_drain(inventory, power)
    if not inventory.roles_known or not power.primary:
        return
    if _has_all_stages(inventory, power) and _in_order(inventory, power) and power.runtime_s:
        _check_lasts(inventory, power)


def _check_primary(inventory: Inventory, power: Power) -> None:
    entry = next((one for one in inventory.entries if one.node.name == power.primary), None)
    if power.primary and entry is None:
        known = [one.node.name for one in inventory.entries]
        message = f"there is no node {power.primary!r}{did_you_mean(power.primary, known)}"
        inventory.complain("power", "primary", message, f"nodes: {', '.join(known)}")
    elif entry and not (entry.node.network.address or entry.node.network.reserved or entry.node.network.resolvable):
        entry.fields.complain(
            "address",
            f"{power.primary} has the UPS's cable, so the others ask it, and nobody knows what DHCP will give it",
            "give it an `address`; or `mac` and `reserved`; or `resolvable: true`",
        )


def _check_without(inventory: Inventory, power: Power) -> None:
    known = [one.node.name for one in inventory.entries]
    for name in power.without:
        if name not in known:
            message = f"there is no node {name!r}{did_you_mean(name, known)}"
            inventory.complain("power", "without", message, f"nodes: {', '.join(known)}")
        elif name == power.primary:
            message = f"{name} has the UPS's cable, and goes down with it: all others ask it"
            hint = "name the node that the cable leads to in `primary`, or take this one out of the list"
            inventory.complain("power", "without", message, hint)


def _check_drain(inventory: Inventory, power: Power) -> None:
    for entry in inventory.entries if power.drain_s else ():
        if entry.node.name in power.workers and len(entry.node.name) > _LONGEST_NAME:
            message = f"{entry.node.name} is too long for the certificate that a node drains itself by"
            entry.fields.complain("name", message, f"{_LONGEST_NAME} letters at most, or leave `drain` away")


def _stages(inventory: Inventory, power: Power) -> dict[Stage, list[str]]:
    """The nodes by their stage; a stage without a node is not there."""
    found: dict[Stage, list[str]] = {}
    for stage in STAGES:
        for entry in inventory.entries:
            if not power.covers(entry.node.name):
                continue
            own = "workers" if entry.role == "worker" else "servers"
            if stage == ("primary" if entry.node.name == power.primary else own):
                found.setdefault(stage, []).append(entry.node.name)
    return found


def _has_all_stages(inventory: Inventory, power: Power) -> bool:
    there = _stages(inventory, power)
    for stage in STAGES:
        if stage in there and stage not in power.thresholds:
            message = f"nothing says when {', '.join(there[stage])} goes down: there is no stage {stage!r}"
            inventory.complain("power", "stages", message, f"add {stage}: {{after: 5m, below: 50%}}")
        elif stage in power.thresholds and stage not in there:
            message = f"no node goes down in the stage {stage!r}: {power.primary} is the primary, and has its own"
            inventory.complain("power", "stages", message, f"take {stage!r} away")
    return set(there) == set(power.thresholds)


def _in_order(inventory: Inventory, power: Power) -> bool:
    good = True
    for one, other in pairwise(stage for stage in STAGES if stage in power.thresholds):
        first, then = power.thresholds[one], power.thresholds[other]
        if first.after_s >= then.after_s:
            message = f"the {one} go at {show_duration(first.after_s)}, and {_who(other)} not later: " + (
                show_duration(then.after_s)
            )
            inventory.complain("power", "stages", message, _ORDER)
        if first.below <= then.below:
            message = f"the {one} go below {first.below}%, and {_who(other)} not later: below {then.below}%"
            inventory.complain("power", "stages", message, _ORDER)
        good = good and first.after_s < then.after_s and first.below > then.below
    return good


def _check_lasts(inventory: Inventory, power: Power) -> None:
    """By time, for a full battery; and by charge, for one that was not."""
    runtime = show_duration(power.runtime_s)
    last = max(moments(power), key=lambda moment: moment.off_s)
    if last.off_s > power.runtime_s:
        spans = (Span(f"on battery until the stage {last.stage!r}", last.goes_s), *leaves_after(power, last.stage))
        message = f"the battery lasts {runtime}, and all this takes {show_duration(last.off_s)}: {_sum(spans)}"
        hint = "let that stage come earlier, declare shorter times in `stop` if you measured them, or take a larger UPS"
        inventory.complain("power", "runtime", message, hint)
    for stage, spans, left in _too_late(power):
        below = power.thresholds[stage].below
        message = (
            f"below {below}% a battery of {runtime} lasts {show_duration(left)}, and what is still to do takes "
            f"{show_duration(total_s(spans))}: {_sum(spans)}"
        )
        fitting = -(-100 * total_s(spans) // power.runtime_s)
        hint = f"{stage}: below: {fitting}% would do" if fitting <= 100 else "take a larger UPS"
        inventory.complain("power", "stages", message, hint)


def _too_late(power: Power) -> Iterator[tuple[Stage, tuple[Span, ...], int]]:
    for stage in power.thresholds:
        spans = leaves_after(power, stage)
        if total_s(spans) > left_s(power, stage):
            yield stage, spans, left_s(power, stage)


def _sum(spans: Sequence[Span]) -> str:
    return " + ".join(f"{show_duration(span.seconds)} {span.what}" for span in spans)


def _who(stage: Stage) -> str:
    return "the primary" if stage == "primary" else f"the {stage}"


_ORDER = "workers go first, then servers, and the primary last, each at a later time and at a lower charge"
