"""The cluster's nodes: registered once, Ready while their heartbeats are young, seen as Kubernetes objects."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from .store import Store
from .words import PACE, VERSION

FRESH_S = 20.0 * PACE
"""A node without a heartbeat for longer is NotReady."""
Object = dict[str, Any]


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Nodes:
    """Reads and writes `nodes/NAME`, `passwords/NAME` and `members/NAME` of the store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.removed: list[tuple[int, Object]] = []
        self._beats: dict[str, float] = {}
        self._since: dict[str, tuple[bool, str]] = {}
        self._shown: dict[str, tuple[int, int, Object]] = {}
        self._version = int(time.time() * 10)
        self._lock = threading.RLock()

    def register(self, name: str, facts: Object, roles: list[str]) -> None:
        """Labels and taints count the first time only; address and system are brought up to date."""
        known = self.store.get(f"nodes/{name}")
        node = known or _new(name, facts, roles)
        updated = {**node, "status": _status(facts)}
        if updated != known:
            self.store.put(f"nodes/{name}", updated)
        self.beat(name)

    def beat(self, name: str, age: float = 0.0) -> None:
        self._beats[name] = max(self._beats.get(name, 0.0), time.monotonic() - age)

    def ages(self) -> dict[str, float]:
        return {name: time.monotonic() - seen for name, seen in list(self._beats.items())}

    def change(self, name: str, patch: Object) -> None:
        node = merged(self.store.get(f"nodes/{name}"), {k: v for k, v in patch.items() if k in ("metadata", "spec")})
        self.store.put(f"nodes/{name}", node)

    def remove(self, name: str) -> None:
        """The object goes, its password with it; the member too, as k3s does it for an etcd server."""
        for kind in ("nodes", "passwords"):
            self.store.remove(f"{kind}/{name}")
        self._beats.pop(name, None)

    def look(self) -> tuple[int, dict[str, tuple[int, int, Object]]]:
        """The version of everything, and by name: version when first seen, version of the last change, object."""
        with self._lock:
            present = self.store.under("nodes/")
            for name in [name for name in self._shown if name not in present]:
                self._version += 1
                self.removed.append((self._version, _versioned(self._shown.pop(name)[2], self._version)))
            for name, node in present.items():
                shown = {**node, "status": {**node["status"], "conditions": self._conditions(name)}}
                born, _, before = self._shown.get(name, (self._version + 1, 0, None))
                if before is None or _versioned(shown, 0) != _versioned(before, 0):
                    self._version += 1
                    self._shown[name] = (born, self._version, _versioned(shown, self._version))
            return self._version, dict(self._shown)

    def _conditions(self, name: str) -> list[Object]:
        ready = time.monotonic() - self._beats.get(name, -FRESH_S) < FRESH_S
        if self._since.get(name, (None, ""))[0] is not ready:
            self._since[name] = (ready, now())
        common = {"lastHeartbeatTime": self._since[name][1], "lastTransitionTime": self._since[name][1]}
        pressures = [
            {"type": kind, "status": "False", "reason": "StandIn", "message": "stand-in: not measured", **common}
            for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")
        ]
        words = (
            ("True", "KubeletReady", "stand-in: heartbeats arrive") if ready
            else ("Unknown", "NodeStatusUnknown", "stand-in: Kubelet stopped posting node status.")
        )  # fmt: skip
        return [
            *pressures,
            dict(zip(("type", "status", "reason", "message"), ("Ready", *words), strict=True), **common),
        ]


def watched(nodes: Nodes, since: int, everything: bool, wanted: Callable[[Object], bool], until: float) -> Any:
    """The events of a watch, and None now and then so that a closed connection is noticed."""
    known: set[str] = set()
    version, shown = nodes.look()
    if everything:
        since = 0
    else:
        since = since or version
        known = {name for name, (born, _, _) in shown.items() if born <= since}
    first = True
    while time.monotonic() < until:
        version, shown = nodes.look()
        for gone, node in list(nodes.removed):
            if gone > since and node["metadata"]["name"] in known and wanted(node):
                known.discard(node["metadata"]["name"])
                yield {"type": "DELETED", "object": node}
        for name, (_, changed, node) in shown.items():
            if changed > since and wanted(node):
                yield {"type": "MODIFIED" if name in known else "ADDED", "object": node}
                known.add(name)
        since = version
        if first and everything:
            yield {"type": "BOOKMARK", "object": _bookmark(version)}
        first = False
        yield None
        time.sleep(0.3)


def _bookmark(version: int) -> Object:
    annotations = {"k8s.io/initial-events-end": "true"}
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": str(version), "annotations": annotations},
    }


def _versioned(node: Object, version: int) -> Object:
    return {**node, "metadata": {**node["metadata"], "resourceVersion": str(version)}}


def merged(target: Any, patch: Any) -> Any:
    """A merge patch (RFC 7386); for what is patched in nodes the strategic one does the same."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def _new(name: str, facts: Object, roles: list[str]) -> Object:
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/arch": facts["architecture"],
        "kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": facts["architecture"],
        "beta.kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": "k3s",
        **{f"node-role.kubernetes.io/{role}": "true" for role in roles},
        **facts["labels"],
    }
    annotations = {"k3s.io/hostname": name, "k3s.io/internal-ip": facts["ip"], "stand-in": "true"}
    if "etcd" in roles:
        annotations["etcd.k3s.cattle.io/node-name"] = name
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {
            "name": name, "uid": str(uuid.uuid4()), "creationTimestamp": now(), "labels": labels,
            "annotations": annotations,
        },
        "spec": {"providerID": f"k3s://{name}", **({"taints": facts["taints"]} if facts["taints"] else {})},
    }  # fmt: skip


def _status(facts: Object) -> Object:
    addresses = [{"type": "InternalIP", "address": address} for address in facts["ip"].split(",")]
    addresses += [{"type": "ExternalIP", "address": address} for address in facts["external"].split(",") if address]
    room = {"cpu": str(facts["cpus"]), "memory": f"{facts['memory']}Ki", "pods": "110"}
    return {
        "addresses": [*addresses, {"type": "Hostname", "address": facts["name"]}],
        "capacity": room,
        "allocatable": room,
        "nodeInfo": {
            "architecture": facts["architecture"], "operatingSystem": "linux", "osImage": facts["system"],
            "kernelVersion": facts["kernel"], "containerRuntimeVersion": "stand-in://0", "kubeletVersion": VERSION,
            "kubeProxyVersion": VERSION, "machineID": facts["machine_id"], "bootID": facts["boot_id"],
            "systemUUID": "",
        },
    }  # fmt: skip
