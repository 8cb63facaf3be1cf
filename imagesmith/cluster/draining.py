"""How a worker gives its pods to others before it goes down: by a certificate of its own. Called by `cluster.power`.

It is the node's alone, and may do three things: cordon this node, list pods, ask for their eviction. The kubelet's own
can't evict (kubernetes#41503), and an admin's has no place on a worker.
"""

from __future__ import annotations

import json

from imagesmith.model import DRAIN_USER, Cluster, Edit, MakeDir, Materials, Part, Power, PutFile

FOLDER = "/etc/imagesmith/drain"
KUBECONFIG, CERTIFICATE, KEY = f"{FOLDER}/kubeconfig", f"{FOLDER}/drain.crt", f"{FOLDER}/drain.key"
MANIFESTS = "/var/lib/rancher/k3s/server/manifests"
MANIFEST = f"{MANIFESTS}/imagesmith-drainers.yaml"
_API = "https://127.0.0.1:6444"
"""k3s's own way from an agent to a server that answers."""
_SERVER_CA = "/var/lib/rancher/k3s/agent/server-ca.crt"


def secret_name(node: str) -> str:
    """Of a node's certificate and key in the vault."""
    return f"nodes/{node}/drain-certificate"


def drained(cluster: Cluster) -> tuple[str, ...]:
    """The nodes that drain themselves."""
    return cluster.power.workers if cluster.power and cluster.power.drain_s else ()


def edits(part: Part, power: Power, materials: Materials) -> tuple[Edit, ...]:
    if part.sealed is None or not power.drain_s:
        return ()
    if part.duty != "agent":
        return _roles(part)
    if part.node.name not in drained(part.cluster):
        return ()
    kept = part.sealed.more[secret_name(part.node.name)]
    return (
        MakeDir("root", FOLDER, 0o700),
        PutFile("root", KUBECONFIG, kubeconfig(), 0o600),
        PutFile("root", CERTIFICATE, kept.public.encode()),
        PutFile("root", KEY, kept.ref, 0o600),
    )


def kubeconfig() -> bytes:
    """Of files beside it: no secret is in it. A JSON text is YAML too."""
    one = "drain"
    found = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": one, "cluster": {"server": _API, "certificate-authority": _SERVER_CA}}],
        "users": [{"name": one, "user": {"client-certificate": CERTIFICATE, "client-key": KEY}}],
        "contexts": [{"name": one, "context": {"cluster": one, "user": one}}],
        "current-context": one,
    }
    return (json.dumps(found, indent=1) + "\n").encode()


def manifest(cluster: Cluster) -> bytes:
    """What the certificates may do: the same on every server. Each line of it is a whole object, as JSON."""
    names = drained(cluster)
    group = "rbac.authorization.k8s.io"
    everybody = {
        **_object("ClusterRole", "imagesmith:drain"),
        "rules": [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
        ],
    }
    bound = {
        **_object("ClusterRoleBinding", "imagesmith:drain"),
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "imagesmith:drain"},
        "subjects": [_user(name) for name in names],
    }
    found: list[object] = [everybody, bound]
    for name in names:
        own = {"apiGroups": [""], "resources": ["nodes"], "resourceNames": [name], "verbs": ["get", "patch"]}
        role = DRAIN_USER + name
        found.append({**_object("ClusterRole", role), "rules": [own]})
        found.append({
            **_object("ClusterRoleBinding", role),
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [_user(name)],
        })  # fmt: skip
    return ("# What nodes may do that drain themselves in a power cut.\n" + _documents(found)).encode()


def _roles(part: Part) -> tuple[Edit, ...]:
    return (
        MakeDir("root", MANIFESTS.rpartition("/")[0], 0o700),
        MakeDir("root", MANIFESTS, 0o700),
        PutFile("root", MANIFEST, manifest(part.cluster), 0o600),
    )


def _documents(objects: list[object]) -> str:
    return "".join(f"---\n{json.dumps(one)}\n" for one in objects)


def _object(kind: str, name: str) -> dict[str, object]:
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}}


def _user(node: str) -> dict[str, str]:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": DRAIN_USER + node}
