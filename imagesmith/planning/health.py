"""What nodes that run tell of themselves, read and judged: facts, the API's list of nodes, what is wrong.

Called by `workflow.status`, and by `workflow` before and between the steps of an upgrade. Pure: the time is given.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from imagesmith.errors import ContentMalformed
from imagesmith.identity import certificates
from imagesmith.planning.backing import judged
from imagesmith.planning.ups_health import DRAIN_CERTIFICATE, wrong_ups
from imagesmith.planning.vpn_health import vpn_wrong

SOON = timedelta(days=30)
"""A certificate that ends within this is told of. k3s renews its own at a start, 90 days and more before they end."""
CLOCK_OFF_S = 5
_TOLD_BY_S = 300
"""So long after its start a node's kubelet has told the cluster of it, for sure."""
_LEAST_FREE_KIB = 1024 * 1024
_LEAST_FREE_SHARE = 0.05
_CERTIFICATE = "certificate."
_ETCD_ROLE = "node-role.kubernetes.io/etcd"
MEMBER, MEMBER_REMOVED = "etcd.k3s.cattle.io/node-name", "etcd.k3s.cattle.io/removed-node-name"


@dataclass(frozen=True, slots=True)
class Facts:
    """What `node-status` told, and when it was asked."""

    told: Mapping[str, str]
    certificates: Mapping[str, datetime] = field(default_factory=dict)
    """When each ends, by its file below /var/lib/rancher/k3s."""
    unreadable: tuple[str, ...] = ()
    """Files that should hold a certificate, and hold none that can be read."""
    asked: tuple[float, float] = (0, 0)
    """Our clock before and after, seconds since 1970."""

    def get(self, key: str) -> str:
        return self.told.get(key, "")

    @property
    def gate(self) -> str:
        """What k3s waits for; empty = nothing, or nobody said."""
        waits = self.get("gate.waits_for")
        return "" if waits == "nothing" else waits

    @property
    def first_end(self) -> datetime | None:
        return min(self.certificates.values(), default=None)


@dataclass(frozen=True, slots=True)
class KubeNode:
    """A node as the cluster's API has it."""

    name: str
    ready: bool
    version: str
    """Of its kubelet, which is that of the k3s that runs there."""
    etcd: bool = False
    member: str = ""
    """Its name among etcd's members; empty where it is none."""
    schedulable: bool = True
    machine: str = ""
    """The machine-id that its kubelet told last."""
    boot: str = ""
    """The start of the system that its kubelet told last."""


@dataclass(frozen=True, slots=True)
class State:
    """One node: what it is in the inventory, and what could be found out."""

    node: str
    duty: str
    """`founder`, `server`, `agent`; empty where the inventory has no k3s."""
    silence: str = ""
    """Why it could not be asked."""
    facts: Facts | None = None
    kube: KubeNode | None = None


def read_facts(output: bytes, where: str, asked: tuple[float, float] = (0, 0)) -> Facts:
    """What firstboot/cluster/node-status printed. Raises ContentMalformed where it is cut off, or something else."""
    lines = [line for line in output.decode("utf-8", "replace").splitlines() if "=" in line]
    told = dict(line.split("=", 1) for line in lines)
    if told.get("node_status") != "1" or told.get("end") != "1":
        hint = "a shell's start files there may print something, or the connection broke: try again"
        raise ContentMalformed("its answer is cut off, or is none", where=where, hint=hint)
    plain = {key: value for key, value in told.items() if not key.startswith(_CERTIFICATE)}
    ends = {key.removeprefix(_CERTIFICATE): _end(told[key]) for key in told if key.startswith(_CERTIFICATE)}
    unreadable = tuple(name for name, end in ends.items() if end is None)
    return Facts(plain, {name: end for name, end in ends.items() if end}, unreadable, asked)


def read_nodes(output: bytes, where: str) -> dict[str, KubeNode]:
    """What `kubectl get nodes -o json` printed. Raises ContentMalformed."""
    try:
        items = json.loads(output)["items"]
        return {node.name: node for node in map(_kube_node, items)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ContentMalformed("its list of nodes can't be read", where=where) from error


def wrongs(states: Sequence[State], now: datetime, *, asked_cluster: bool) -> tuple[str, ...]:
    """All that is wrong, a line each, beginning with the node's name. `asked_cluster`: the API told of its nodes."""
    found = [f"{state.node}: {wrong}" for state in states for wrong in _wrong(state, now, asked_cluster)]
    servers = [state for state in states if state.duty in ("founder", "server")]
    if servers and not asked_cluster:
        found.append("cluster: no server could be asked for its nodes")
    return (*found, *_twins(states))


def _wrong(state: State, now: datetime, asked_cluster: bool) -> Iterable[str]:
    if state.facts is None:
        yield state.silence or "it was not asked"
        return
    facts = state.facts
    if facts.get("hostname") != state.node:
        yield f"it calls itself {facts.get('hostname') or 'nothing'}"
    if facts.get("firstboot.state") not in ("done", ""):
        undone = [key.removeprefix("firstboot.step.") for key, value in facts.told.items()
                  if key.startswith("firstboot.step.") and value != "done"]  # fmt: skip
        yield f"its first boot is not done: {', '.join(undone) or facts.get('firstboot.state')}"
    if abs(_clock_off(facts)) > CLOCK_OFF_S:
        yield f"its clock is {_clock_off(facts):+.0f} s off ours"
    elif facts.get("clock_synchronized") == "no":
        yield "its clock is not synchronised"
    yield from _full(facts)
    yield from judged(facts.told, now)
    yield from vpn_wrong(facts.told)
    for name, end in facts.certificates.items():
        if end - now < SOON:
            told = "has ended" if end <= now else "ends"
            renewed = f"restart {facts.get('unit')}, which renews its own"
            if name.endswith(DRAIN_CERTIFICATE):
                renewed = "build the node's image anew, or it no longer drains itself"
            yield f"the certificate {name} {told} on {end:%Y-%m-%d}: {renewed}"
    for name in facts.unreadable:
        yield f"the certificate {name} can't be read: openssl x509 -in /var/lib/rancher/k3s/{name} says more"
    yield from wrong_ups(facts.get)
    if state.duty:
        yield from _wrong_k3s(state, facts, asked_cluster)


def _wrong_k3s(state: State, facts: Facts, asked_cluster: bool) -> Iterable[str]:
    if facts.gate:
        reason = facts.get("gate.reason")
        yield f"k3s waits for: {facts.gate}" + (f" ({reason})" if reason else "")
    elif facts.get("unit.ActiveState") != "active":
        yield f"{facts.get('unit')} is {facts.get('unit.ActiveState') or 'unknown'}"
    elif state.duty != "agent" and facts.get("readyz") != "ok":
        yield f"its API is not ready: {facts.get('readyz')[:80] or 'no answer'}"
    if asked_cluster and state.kube is None:
        yield "it is not in the cluster"
    elif state.kube and not state.kube.ready:
        yield "the cluster says that it is not Ready"
    elif state.kube:
        yield from _another(facts, state.kube)


def _another(facts: Facts, kube: KubeNode) -> Iterable[str]:
    """Two cards with one identity: k3s takes both, since they share their password, and has of both what the last one
    told. After a start it takes a while until it was told anything."""
    uptime = facts.get("uptime")
    if facts.get("unit.ActiveState") != "active" or not uptime.isdecimal() or int(uptime) < _TOLD_BY_S:
        return
    asked = (("machine-id", facts.get("machine_id"), kube.machine), ("start", facts.get("boot_id"), kube.boot))
    for what, own, known in asked:
        if own and known and own != known:
            yield (
                f"the cluster has another machine under its name ({what} {known}, here {own}): a second card of this "
                "node is switched on; switch one of them off"
            )
            return


def _full(facts: Facts) -> Iterable[str]:
    free, whole = facts.get("disk_free_kib"), facts.get("disk_kib")
    told = free.isdecimal() and whole.isdecimal()
    if told and int(free) < min(_LEAST_FREE_KIB, int(int(whole) * _LEAST_FREE_SHARE)):
        yield f"its disk is nearly full: {int(free) // 1024} MiB are free"


def _twins(states: Sequence[State]) -> Iterable[str]:
    """Nodes that are one and the same to their cluster or to the network."""
    first: dict[str, str] = {}
    for state in states:
        machine = state.facts.get("machine_id") if state.facts else ""
        if machine and first.setdefault(machine, state.node) != state.node:
            yield f"{state.node}: it has the machine-id of {first[machine]}: a copied card, or one machine twice"


def _clock_off(facts: Facts) -> float:
    """How far it is ahead of ours, beyond what the asking took."""
    clock = facts.get("clock")
    before, after = facts.asked
    if not clock.isdecimal() or not after:
        return 0
    return min(0, int(clock) + 1 - before) or max(0, int(clock) - after)


def _end(value: str) -> datetime | None:
    try:
        pem = b"-----BEGIN CERTIFICATE-----\n" + value.encode() + b"\n-----END CERTIFICATE-----\n"
        base64.b64decode(value, validate=True)
        return certificates.read(pem)[0].not_valid_after_utc
    except (binascii.Error, ValueError, ContentMalformed):
        return None


def _kube_node(item: Mapping[str, Any]) -> KubeNode:
    metadata, status = item["metadata"], item.get("status", {})
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    conditions = {one["type"]: one["status"] for one in status.get("conditions", ())}
    return KubeNode(
        metadata["name"],
        conditions.get("Ready") == "True",
        status.get("nodeInfo", {}).get("kubeletVersion", ""),
        labels.get(_ETCD_ROLE) == "true",
        annotations.get(MEMBER, ""),
        not item.get("spec", {}).get("unschedulable", False),
        status.get("nodeInfo", {}).get("machineID", ""),
        status.get("nodeInfo", {}).get("bootID", ""),
    )
