"""A part of a recipe as pods: containers, what they are given, what they may do. Called by `parts`. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from imagesmith.cluster.addons.objects import NAME, Object, quantity
from imagesmith.model.addons import Addon, Beside, Files, RecipePart, Share, Volume
from imagesmith.units import MiB

PASSWORDS = "passwords"
"""The Secret of an add-on, its keys are the passwords' purposes."""
SCRIPTS = "/imagesmith/scripts"
BESIDE_VOLUMES = "/imagesmith/volumes"
"""Where scripts that run before a part see its volumes, so that they see what its image has in their places."""
DUMP = "dump.sh"
_MOVED_AFTER_S = 60
"""How long a pod stays with a node that is silent; Kubernetes' own 300 s are long for a web site."""
_START_S, _OFTEN_S, _SELDOM_S, _PATIENCE_S = 10, 10, 20, 5
_TRIES_TO_START = 90
"""A database that is made anew on a slow card takes minutes."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A part, as one add-on of an inventory has it."""

    addon: Addon
    part: RecipePart

    @property
    def volumes(self) -> tuple[Volume, ...]:
        return tuple(volume for volume in self.part.volumes if self.addon.storage or not volume.optional)

    @property
    def files(self) -> tuple[Files, ...]:
        """The catalogue's page too, where it has no volume for pages."""
        page = self.part.page
        fitting = (one for one in self.part.files if one.where in ("", *self.addon.besides))
        return (*fitting, *((page,) if page and not self.volumes else ()))

    @property
    def replicas(self) -> int:
        return self.addon.replicas if self.part.several else 1

    @property
    def scripts(self) -> dict[str, str]:
        """By the name of the file."""
        found = {f"{one.name}.sh": one.script for one in (*self.part.before, *self.part.beside)}
        return {**found, **({DUMP: self.part.dump} if self.part.dump else {})}

    @property
    def has_account(self) -> bool:
        return bool(self.part.rules) or "api" in self.part.reaches

    def claim(self, volume: Volume) -> str:
        return f"{self.part.name}-{volume.name}"


def template(placed: Placed) -> Object:
    """The pod template of a part."""
    part = placed.part
    told = json.dumps([placed.scripts, [dict(one.files) for one in placed.files]], sort_keys=True)
    return {
        "metadata": {
            "labels": {NAME: part.name},
            # Pods don't see that a ConfigMap changed; that their template did makes new ones.
            "annotations": {"imagesmith/files": hashlib.sha256(told.encode()).hexdigest()[:16]},
        },
        "spec": _spec(placed),
    }


def _spec(placed: Placed) -> Object:
    part = placed.part
    spec: Object = {
        "automountServiceAccountToken": placed.has_account,
        "enableServiceLinks": False,
        "securityContext": _pod_security(part),
        "containers": [
            _main(placed),
            *(_script(placed, one, _mounts(placed)) for one in part.beside),
        ],
        "volumes": _volumes(placed),
    }
    if placed.has_account:
        spec["serviceAccountName"] = part.name
    if part.before:
        spec["initContainers"] = [_script(placed, one, _beside_mounts(placed)) for one in part.before]
    if len(part.architectures) == 1:
        spec["nodeSelector"] = {"kubernetes.io/arch": part.architectures[0]}
    if part.keeping == "everywhere":
        spec["tolerations"] = [{"operator": "Exists"}]
    elif part.keeping == "deployment":
        spec["tolerations"] = [_leaves(f"node.kubernetes.io/{why}") for why in ("not-ready", "unreachable")]
    if placed.replicas > 1:
        spec["topologySpreadConstraints"] = [_spread(part.name)]
    return spec


def _main(placed: Placed) -> Object:
    part = placed.part
    found: Object = {
        "name": part.name,
        "image": part.reference,
        "imagePullPolicy": "IfNotPresent",
        "env": _environment(placed),
        "resources": _resources(part.share),
        "securityContext": _security(part),
        "volumeMounts": _mounts(placed),
    }
    if part.args:
        found["args"] = list(part.args)
    if part.port:
        found["ports"] = [{"name": "main", "containerPort": part.port, "protocol": "TCP"}]
        check = {"httpGet": {"path": part.health, "port": "main"}} if part.health else {"tcpSocket": {"port": "main"}}
        found["startupProbe"] = _probe(check, _START_S, _TRIES_TO_START)
        found["readinessProbe"] = _probe(check, _OFTEN_S, 3)
        found["livenessProbe"] = _probe(check, _SELDOM_S, 6)
    return found


def _script(placed: Placed, one: Beside, mounts: list[Object]) -> Object:
    return {
        "name": one.name,
        "image": placed.part.reference,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", f"{SCRIPTS}/{one.name}.sh"],
        "env": _environment(placed),
        "resources": _resources(one.share),
        "securityContext": {**_security(placed.part), **({"runAsUser": one.user} if one.user else {})},
        "volumeMounts": mounts,
    }


def _environment(placed: Placed) -> list[Object]:
    """Passwords by reference; what the inventory says of host, release and size as plain values."""
    part, addon = placed.part, placed.addon
    plain = dict(part.environment)
    if part.site and addon.host:
        plain["SITE_HOST"] = addon.host
    if part.site and addon.release:
        plain |= {"RELEASE_URL": addon.release.url, "RELEASE_SHA256": addon.release.sha256}
    plain |= {one.told_as: str(addon.size_of(one) * 4 // 5 // MiB) for one in placed.volumes if one.told_as}
    secret = {name: {"secretKeyRef": {"name": PASSWORDS, "key": purpose}} for name, purpose in part.passwords.items()}
    return [
        *({"name": name, "value": value} for name, value in plain.items()),
        *({"name": name, "valueFrom": source} for name, source in secret.items()),
    ]


def _resources(share: Share) -> Object:
    return {
        "requests": {"memory": quantity(share.memory), "cpu": f"{share.cpu}m"},
        "limits": {"memory": quantity(share.memory_limit), "cpu": f"{share.cpu_limit}m"},
    }


def _pod_security(part: RecipePart) -> Object:
    seccomp: Object = {"seccompProfile": {"type": "RuntimeDefault"}}
    if not part.user:
        return seccomp
    who = {"runAsUser": part.user, "runAsGroup": part.user, "fsGroup": part.user}
    return {**seccomp, "runAsNonRoot": True, **who, "fsGroupChangePolicy": "OnRootMismatch"}


def _security(part: RecipePart) -> Object:
    capabilities: Object = {"drop": ["ALL"]}
    if part.capabilities:
        capabilities["add"] = list(part.capabilities)
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": part.read_only,
        "capabilities": capabilities,
    }


def _probe(check: Mapping[str, object], period_s: int, tries: int) -> Object:
    return {**check, "periodSeconds": period_s, "timeoutSeconds": _PATIENCE_S, "failureThreshold": tries}


def _leaves(taint: str) -> Object:
    return {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _MOVED_AFTER_S}


def _spread(name: str) -> Object:
    """One on each node as far as that goes; where a node is away, two on another are better than none."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {NAME: name}},
    }


# -- what it sees of the disk ---------------------------------------------------------------------


def _volumes(placed: Placed) -> list[Object]:
    part = placed.part
    return [
        *(
            {"name": volume.name, "persistentVolumeClaim": {"claimName": placed.claim(volume)}}
            for volume in placed.volumes
        ),
        *({"name": f"scratch-{number}", "emptyDir": {"sizeLimit": "256Mi"}} for number, _ in enumerate(part.scratch)),
        *(
            {"name": f"host-{number}", "hostPath": {"path": path, "type": _kind_of(path)}}
            for number, path in enumerate(part.host_folders.values())
        ),
        *(_config(f"files-{number}", f"{part.name}-files", one.files) for number, one in enumerate(placed.files)),
        *([_config("scripts", f"{part.name}-scripts", placed.scripts)] if placed.scripts else []),
    ]


def _kind_of(path: str) -> str:
    """One of ours is made where it is not there yet."""
    return "DirectoryOrCreate" if path.startswith("/var/lib/imagesmith/") else "Directory"


def _config(name: str, config_map: str, files: Iterable[str]) -> Object:
    items = [{"key": key, "path": key} for key in files]
    return {"name": name, "configMap": {"name": config_map, "items": items}}


def _mounts(placed: Placed) -> list[Object]:
    part = placed.part
    found: list[Object] = [{"name": volume.name, "mountPath": volume.path} for volume in placed.volumes]
    found += [{"name": f"scratch-{number}", "mountPath": path} for number, path in enumerate(part.scratch)]
    found += [
        {"name": f"host-{number}", "mountPath": path, "readOnly": True, "mountPropagation": "HostToContainer"}
        for number, path in enumerate(part.host_folders)
    ]
    for number, one in enumerate(placed.files):
        name = f"files-{number}"
        if one.alone:
            found += [
                {"name": name, "mountPath": f"{one.path}/{key}", "subPath": key, "readOnly": True} for key in one.files
            ]
        else:
            found.append({"name": name, "mountPath": one.path, "readOnly": True})
    return [*found, *_scripts_mount(placed)]


def _beside_mounts(placed: Placed) -> list[Object]:
    volumes = [{"name": one.name, "mountPath": f"{BESIDE_VOLUMES}/{one.name}"} for one in placed.volumes]
    return [*volumes, *_scripts_mount(placed)]


def _scripts_mount(placed: Placed) -> list[Object]:
    return [{"name": "scripts", "mountPath": SCRIPTS, "readOnly": True}] if placed.scripts else []
