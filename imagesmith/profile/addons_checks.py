"""Finds add-ons that the nodes of an inventory could never run, or that lack a part of k3s which was taken away.

Called by `profile.cluster` once everything is read; complaints go to the inventory's own list.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagesmith.model.addons import Addon, RecipePart
from imagesmith.profile.addons import LOCAL
from imagesmith.profile.inventory import Entry, Inventory
from imagesmith.units import MiB, show_size

KEPT_ON_SERVER, KEPT_ON_WORKER = 1024 * MiB, 448 * MiB
"""Memory that the system and k3s take of a node, as a rule of thumb: k3s asks for 1.6 GiB on a busy server."""
_REPELS = ("NoSchedule", "NoExecute")


def check_addons(inventory: Inventory) -> None:
    """Whether each add-on has a node for each of its parts, and what it needs of k3s."""
    addons, k3s = inventory.cluster.addons, inventory.cluster.k3s
    if addons is None or k3s is None:
        return
    for addon in addons.wanted:
        table = f"addons.{addon.name}"
        if addon.host and {"traefik", "servicelb"} & set(k3s.disable):
            gone = "traefik" if "traefik" in k3s.disable else "servicelb"
            message = f"a host name is served by Traefik, through ServiceLB, and {gone} is disabled in k3s"
            inventory.complain(table, "host", message, "take `host` away, or keep traefik and servicelb")
        if "local-storage" in k3s.disable and _keeps_locally(addon):
            message = f"{addon.name} keeps its data on the nodes' disks, and local-storage is disabled in k3s"
            inventory.complain(table, "storage", message, "give it a `storage` on a NAS, or keep local-storage")
        if inventory.roles_known:
            fields = inventory.tables[table]
            for message, hint in _homeless(inventory, addon):
                fields.place.complain(fields.line, message, hint)


def _keeps_locally(addon: Addon) -> bool:
    volumes = [volume for part in addon.recipe.parts for volume in part.volumes]
    return addon.storage == LOCAL or (not addon.storage and any(not volume.optional for volume in volumes))


def _homeless(inventory: Inventory, addon: Addon) -> Iterator[tuple[str, str]]:
    """Parts that fit no node, each with the reason."""
    told: set[str] = set()
    for part in addon.recipe.parts:
        fitting = [entry for entry in inventory.entries if entry.profile and _runs_on(part, entry)]
        if not fitting:
            kinds = " or ".join(part.architectures)
            reason = f"{addon.name} runs on {kinds} alone, and no node is that: {part.because}"
            hint = "take it away, or add a PC" + ("; or `light: true`" if addon.recipe.light else "")
        elif not any(_has_room(part, entry) for entry in fitting):
            needs = show_size(part.share.memory)
            reason = f"{addon.name} ({part.name}) asks for {needs} of memory, which no node has left beside k3s"
            hint = "take it away, or add a larger node"
        elif all(_repels(entry) for entry in fitting):
            reason = f"{addon.name} ({part.name}) has no node to run on: all that could are tainted"
            hint = "take the taint of one of them away"
        else:
            continue
        if reason not in told:
            told.add(reason)
            yield reason, hint


def _runs_on(part: RecipePart, entry: Entry) -> bool:
    return entry.profile is not None and entry.profile.board.architecture in part.architectures


def _has_room(part: RecipePart, entry: Entry) -> bool:
    kept = KEPT_ON_SERVER if entry.role == "server" else KEPT_ON_WORKER
    asked = part.share.memory + sum(one.share.memory for one in part.beside)
    return entry.profile is not None and entry.profile.board.memory - kept >= asked


def _repels(entry: Entry) -> bool:
    return any(taint.rpartition(":")[2] in _REPELS for taint in entry.node.taints)
