"""As much of the Kubernetes API as a kubectl needs to look at nodes and to look after them."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any

from .nodes import Nodes, watched
from .tables import table
from .web import Answer, Call, text
from .words import VERSION

Object = dict[str, Any]
ADMINS, NODES = "system:masters", "system:nodes"
REMOVE_MEMBER, REMOVED_MEMBER = "etcd.k3s.cattle.io/remove", "etcd.k3s.cattle.io/removed-node-name"
_EPOCH = "2000-01-01T00:00:00Z"
_KINDS = {  # plural: kind, in a namespace or not, what can be done
    "nodes": ("Node", False, ["delete", "get", "list", "patch", "watch"]),
    "secrets": ("Secret", True, ["delete", "get", "list"]),
    "namespaces": ("Namespace", False, ["get", "list"]),
    "pods": ("Pod", True, ["get", "list"]),
    "services": ("Service", True, ["get", "list"]),
    "events": ("Event", True, ["get", "list"]),
    "configmaps": ("ConfigMap", True, ["get", "list"]),
}
_APPS = {name: (kind, True, ["get", "list"]) for name, kind in (
    ("daemonsets", "DaemonSet"), ("deployments", "Deployment"), ("statefulsets", "StatefulSet"),
    ("replicasets", "ReplicaSet"))}  # fmt: skip
_SHORT = {"nodes": ["no"], "namespaces": ["ns"], "pods": ["po"], "services": ["svc"], "events": ["ev"],
          "configmaps": ["cm"], "daemonsets": ["ds"], "deployments": ["deploy"]}  # fmt: skip

_ALL = {"Pod", "Service", "DaemonSet", "Deployment", "StatefulSet", "ReplicaSet"}


def failure(code: int, reason: str, message: str, **details: str) -> Answer:
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return Answer(code, {**status, "reason": reason, "details": details, "code": code})


class Api:
    """Answers for one server; `remove_member` takes a server out of the cluster's members."""

    def __init__(self, nodes: Nodes, has_quorum: Callable[[], bool], remove_member: Callable[[str], None]) -> None:
        self.nodes = nodes
        self.has_quorum = has_quorum
        self.remove_member = remove_member

    def answer(self, call: Call) -> Answer:
        if call.who is None or call.who.password is not None:
            return failure(401, "Unauthorized", "Unauthorized")
        if call.path in ("/readyz", "/livez", "/healthz"):
            return text(200, "ok") if self.has_quorum() else text(500, "[-]etcd failed: etcdserver: no leader")
        if call.path in _DISCOVERY:
            return Answer(200, _DISCOVERY[call.path])
        for head, kinds in (("/api/v1/", _KINDS), ("/apis/apps/v1/", _APPS)):
            if call.path.startswith(head):
                return self._resource(call, call.path[len(head) :].split("/"), kinds)
        return text(404, "404 page not found")

    def _resource(self, call: Call, words: list[str], kinds: dict[str, Any]) -> Answer:
        namespace = ""
        if words[0] == "namespaces" and len(words) > 2:
            namespace, words = words[1], words[2:]
        plural, name = words[0], words[1] if len(words) > 1 else ""
        if plural not in kinds or len(words) > 2:
            return failure(404, "NotFound", "the server could not find the requested resource")
        if not _may(call, plural, name):
            who = call.who.name if call.who else ""
            verb = call.method.lower() if name else "list"
            message = f'{plural} is forbidden: User "{who}" cannot {verb} resource "{plural}" in API group ""'
            return failure(403, "Forbidden", message, name=name, kind=plural)
        if not self.has_quorum():
            return failure(503, "ServiceUnavailable", "etcdserver: no leader")
        verb = {"GET": "get", "DELETE": "delete", "PATCH": "patch"}.get(call.method, call.method)
        if verb not in kinds[plural][2] or (verb != "get" and not name):
            return failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        if not name:
            return self._listed(call, plural, kinds[plural][0], namespace)
        return self._one(call, plural, name, namespace)

    def _listed(self, call: Call, plural: str, kind: str, namespace: str) -> Answer:
        wanted = _selector(call.query)
        if call.query.get("watch") in ("1", "true"):
            return Answer(200, stream=self._watch(call, plural, wanted))
        version, items = self._items(plural, namespace)
        chosen = [item for item in items if wanted(item)]
        if "as=Table" in (call.headers.get("Accept") or ""):
            return Answer(200, table(plural, chosen, call.query.get("includeObject") == "Object", str(version)))
        version_of = "apps/v1" if plural in _APPS else "v1"
        metadata = {"resourceVersion": str(version)}
        return Answer(200, {"kind": f"{kind}List", "apiVersion": version_of, "metadata": metadata, "items": chosen})

    def _watch(self, call: Call, plural: str, wanted: Callable[[Object], bool]) -> Iterator[Any]:
        until = time.monotonic() + float(call.query.get("timeoutSeconds") or 300)
        everything = call.query.get("sendInitialEvents") == "true" or call.query.get("resourceVersion") in (
            None,
            "",
            "0",
        )
        as_table = "as=Table" in (call.headers.get("Accept") or "")
        if plural != "nodes":
            while time.monotonic() < until:  # nothing else is watched for what it says, only for being there
                yield None
                time.sleep(0.5)
            return
        since = int(call.query.get("resourceVersion") or 0)
        for event in watched(self.nodes, since, everything, wanted, until):
            if event and event["type"] == "BOOKMARK" and call.query.get("sendInitialEvents") != "true":
                continue
            if event and as_table and event["type"] != "BOOKMARK":
                event = {**event, "object": table(plural, [event["object"]], False, "")}
            yield event

    def _items(self, plural: str, namespace: str) -> tuple[int, list[Object]]:
        version, shown = self.nodes.look()
        if plural == "nodes":
            return version, [node for _, _, node in shown.values()]
        if plural == "secrets" and namespace in ("", "kube-system"):
            stored = self.nodes.store.under("passwords/")
            return version, [_secret(name, digest) for name, digest in stored.items()]
        if plural == "namespaces":
            return version, [_namespace(name) for name in ("default", "kube-node-lease", "kube-public", "kube-system")]
        return version, []

    def _one(self, call: Call, plural: str, name: str, namespace: str) -> Answer:
        found = [item for item in self._items(plural, namespace)[1] if item["metadata"]["name"] == name]
        if not found:
            return failure(404, "NotFound", f'{plural} "{name}" not found', name=name, kind=plural)
        if call.method == "PATCH":
            return self._patched(call, name)
        if call.method == "DELETE":
            if plural == "nodes":
                self.nodes.remove(name)
                self.remove_member(name)
            else:
                self.nodes.store.remove(f"passwords/{name.removesuffix('.node-password.k3s')}")
            details = {"name": name, "kind": plural, "uid": found[0]["metadata"]["uid"]}
            status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
            return Answer(200, status)
        if "as=Table" in (call.headers.get("Accept") or ""):
            return Answer(200, table(plural, found, call.query.get("includeObject") == "Object", ""))
        return Answer(200, found[0])

    def _patched(self, call: Call, name: str) -> Answer:
        kind = (call.headers.get("Content-Type") or "").partition(";")[0]
        if kind not in ("application/strategic-merge-patch+json", "application/merge-patch+json"):
            return failure(415, "UnsupportedMediaType", f"the stand-in does not patch by {kind}")
        patch = call.document()
        self.nodes.change(name, patch)
        if (patch.get("metadata", {}).get("annotations") or {}).get(REMOVE_MEMBER) == "true":
            self.remove_member(name)
            gone = {"labels": {"node-role.kubernetes.io/etcd": None}, "annotations": {REMOVED_MEMBER: name}}
            self.nodes.change(name, {"metadata": gone})
        return Answer(200, self.nodes.look()[1][name][2])


def _may(call: Call, plural: str, name: str) -> bool:
    who = call.who
    if who is None:
        return False
    if ADMINS in who.groups:
        return True
    return call.method == "GET" and plural == "nodes" and NODES in who.groups and who.name == f"system:node:{name}"


def _selector(query: dict[str, str]) -> Callable[[Object], bool]:
    fields = [part.partition("=") for part in query.get("fieldSelector", "").split(",") if part]
    labels = [part.strip() for part in query.get("labelSelector", "").split(",") if part]

    def wanted(item: Object) -> bool:
        for field, _, value in fields:
            if field in ("metadata.name", "metadata.namespace") and item["metadata"].get(field[9:]) != value.lstrip(
                "="
            ):
                return False
        return all(_label_fits(part, item["metadata"].get("labels", {})) for part in labels)

    return wanted


def _label_fits(part: str, labels: dict[str, str]) -> bool:
    if "!=" in part:
        key, _, value = part.partition("!=")
        return labels.get(key) != value
    if "=" in part:
        key, _, value = part.partition("=")
        return labels.get(key) == value.lstrip("=")
    return part[1:] not in labels if part.startswith("!") else part in labels


def _secret(node: str, digest: str) -> Object:
    metadata = {"name": f"{node}.node-password.k3s", "namespace": "kube-system", "uid": f"stand-in-{node}",
                "creationTimestamp": _EPOCH}  # fmt: skip
    data = {"hash": base64.b64encode(digest.encode()).decode()}
    return {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": metadata,
        "type": "Opaque",
        "immutable": True,
        "data": data,
    }


def _namespace(name: str) -> Object:
    metadata = {"name": name, "uid": f"stand-in-{name}", "creationTimestamp": _EPOCH}
    return {"kind": "Namespace", "apiVersion": "v1", "metadata": metadata, "status": {"phase": "Active"}}


def _resources(group: str, kinds: dict[str, Any]) -> Object:
    resources = [
        {"name": plural, "singularName": kind.lower(), "namespaced": spaced, "kind": kind, "verbs": verbs,
         "shortNames": _SHORT.get(plural, []), "categories": ["all"] if kind in _ALL else []}
        for plural, (kind, spaced, verbs) in kinds.items()
    ]  # fmt: skip
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": resources}


_APPS_GROUP = {"groupVersion": "apps/v1", "version": "v1"}
_DISCOVERY: dict[str, Object] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1",
              "groups": [{"name": "apps", "versions": [_APPS_GROUP], "preferredVersion": _APPS_GROUP}]},
    "/api/v1": _resources("v1", _KINDS),
    "/apis/apps/v1": _resources("apps/v1", _APPS),
    "/version": {"major": "0", "minor": "0", "gitVersion": VERSION, "gitCommit": "stand-in", "gitTreeState": "clean",
                 "buildDate": _EPOCH, "goVersion": "stand-in", "compiler": "stand-in", "platform": "linux/stand-in"},
}  # fmt: skip
