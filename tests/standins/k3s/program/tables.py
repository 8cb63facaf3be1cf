"""Kubernetes' tables, as the server makes them for `kubectl get`."""

from __future__ import annotations

import calendar
import time
from typing import Any

Object = dict[str, Any]
_NODE = ("Status", "Roles", "Age", "Version"), ("Internal-IP", "External-IP", "OS-Image", "Kernel-Version",
                                                "Container-Runtime")  # fmt: skip
_OTHERS = {
    "secrets": ("Type", "Data", "Age"),
    "namespaces": ("Status", "Age"),
    "pods": ("Ready", "Status", "Restarts", "Age"),
}


def table(plural: str, items: list[Object], whole: bool, version: str) -> Object:
    """`whole` puts the objects themselves into the rows, not only what names them."""
    first, wide = _NODE if plural == "nodes" else (_OTHERS.get(plural, ("Age",)), ())
    columns = [_column("Name", 0), *(_column(name, 0) for name in first), *(_column(name, 1) for name in wide)]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": columns,
        "rows": [{"cells": _cells(plural, item), "object": item if whole else _named(item)} for item in items],
    }


def _column(name: str, priority: int) -> Object:
    form = "name" if name == "Name" else ""
    return {"name": name, "type": "string", "format": form, "description": "of the stand-in", "priority": priority}


def _named(item: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}


def _cells(plural: str, item: Object) -> list[str]:
    name, age = item["metadata"]["name"], age_of(item)
    if plural == "nodes":
        return [name, status_of(item), roles_of(item), age, item["status"]["nodeInfo"]["kubeletVersion"], *_wide(item)]
    if plural == "secrets":
        return [name, item["type"], str(len(item["data"])), age]
    return [name, "Active", age] if plural == "namespaces" else [name, age]


def status_of(node: Object) -> str:
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"]["conditions"])
    return ("Ready" if ready else "NotReady") + (",SchedulingDisabled" if node["spec"].get("unschedulable") else "")


def roles_of(node: Object) -> str:
    head = "node-role.kubernetes.io/"
    return ",".join(sorted(key[len(head) :] for key in node["metadata"]["labels"] if key.startswith(head))) or "<none>"


def _wide(node: Object) -> list[str]:
    by_type = {one["type"]: one["address"] for one in reversed(node["status"]["addresses"])}
    info = node["status"]["nodeInfo"]
    addresses = [by_type.get(kind, "<none>") for kind in ("InternalIP", "ExternalIP")]
    return [*addresses, info["osImage"], info["kernelVersion"], info["containerRuntimeVersion"]]


def age_of(item: Object) -> str:
    created = calendar.timegm(time.strptime(item["metadata"]["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ"))
    seconds = max(0, int(time.time() - created))
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"
