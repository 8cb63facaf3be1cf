"""Kubernetes' objects as data: what every add-on has, whatever it runs. Called by `cluster.addons.manifests`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from imagesmith.model.addons import Rule
from imagesmith.units import MiB

Object = dict[str, Any]
NAME = "app.kubernetes.io/name"
"""The label that a part's pods are told by."""
MANAGED = {"app.kubernetes.io/managed-by": "imagesmith"}
NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""A label that every namespace has of itself."""
_RBAC = "rbac.authorization.k8s.io"


def namespace(name: str, *, sees_the_node: bool = False) -> Object:
    """`sees_the_node`: its pods have folders of the nodes, which the baseline of pod security refuses."""
    level = "privileged" if sees_the_node else "baseline"
    return _object("v1", "Namespace", name, "", labels={"pod-security.kubernetes.io/enforce": level})


def secret(place: str, name: str, values: Mapping[str, object]) -> Object:
    """`values` are `SecretRef`s by their keys."""
    return {**_object("v1", "Secret", name, place), "type": "Opaque", "stringData": dict(values)}


def config_map(place: str, name: str, files: Mapping[str, str]) -> Object:
    return {**_object("v1", "ConfigMap", name, place), "data": dict(files)}


def claim(place: str, name: str, size: int, storage_class: str, *, shared: bool) -> Object:
    """A volume; `shared`: pods on several nodes may have it at once."""
    mode = "ReadWriteMany" if shared else "ReadWriteOnce"
    spec = {
        "accessModes": [mode],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": quantity(size)}},
    }
    return {**_object("v1", "PersistentVolumeClaim", name, place), "spec": spec}


def service(place: str, name: str, port: int, target: int) -> Object:
    ports = [{"name": "main", "port": port, "targetPort": target, "protocol": "TCP"}]
    return {**_object("v1", "Service", name, place), "spec": {"selector": {NAME: name}, "ports": ports}}


def ingress(place: str, name: str, host: str, port: int) -> Object:
    """What Traefik serves under a host name."""
    backend = {"service": {"name": name, "port": {"number": port}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    spec = {"ingressClassName": "traefik", "rules": [{"host": host, "http": {"paths": paths}}]}
    return {**_object("networking.k8s.io/v1", "Ingress", name, place), "spec": spec}


def disruption_budget(place: str, name: str) -> Object:
    """A node that is drained takes one of several at a time."""
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {NAME: name}}}
    return {**_object("policy/v1", "PodDisruptionBudget", name, place), "spec": spec}


def network_policy(
    place: str, name: str, pods: Mapping[str, str], ingress: Iterable[Object] = (), egress: Iterable[Object] = ()
) -> Object:
    """What pods with these labels may be asked and may ask; what no policy lets through is dropped."""
    spec = {
        "podSelector": {"matchLabels": dict(pods)} if pods else {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": list(ingress),
        "egress": list(egress),
    }
    return {**_object("networking.k8s.io/v1", "NetworkPolicy", name, place), "spec": spec}


def account(place: str, name: str) -> Object:
    return {**_object("v1", "ServiceAccount", name, place), "automountServiceAccountToken": False}


def cluster_role(name: str, rules: Iterable[Rule]) -> Object:
    told = [
        {"apiGroups": list(rule.groups), "resources": list(rule.resources), "verbs": list(rule.verbs)} for rule in rules
    ]
    return {**_object(f"{_RBAC}/v1", "ClusterRole", name, ""), "rules": told}


def cluster_binding(name: str, role: str, place: str, account: str) -> Object:
    return {
        **_object(f"{_RBAC}/v1", "ClusterRoleBinding", name, ""),
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": place}],
    }


def storage_class(name: str, provisioner: str, parameters: Mapping[str, str], options: Iterable[str]) -> Object:
    """Volumes of it are kept when they are no longer asked for, as `parameters` says; nobody waits for a pod."""
    return {
        **_object("storage.k8s.io/v1", "StorageClass", name, ""),
        "provisioner": provisioner,
        "parameters": dict(parameters),
        "mountOptions": list(options),
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def helm_chart(name: str, spec: Mapping[str, object]) -> Object:
    """What k3s installs by Helm."""
    return {**_object("helm.cattle.io/v1", "HelmChart", name, "kube-system"), "spec": dict(spec)}


def workload(place: str, kind: str, name: str, spec: Mapping[str, object]) -> Object:
    return {**_object("apps/v1", kind, name, place), "spec": dict(spec)}


def quantity(size: int) -> str:
    """Bytes, as Kubernetes writes them."""
    return f"{size // MiB}Mi" if size % MiB == 0 else str(size)


def _object(version: str, kind: str, name: str, place: str, labels: Mapping[str, str] | None = None) -> Object:
    metadata: Object = {"name": name}
    if place:
        metadata["namespace"] = place
    return {"apiVersion": version, "kind": kind, "metadata": {**metadata, "labels": {**MANAGED, **(labels or {})}}}
