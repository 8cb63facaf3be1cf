"""An add-on as objects: its namespace, each of its parts with all that belongs to it, and its volumes. Pure.

Called by `cluster.addons.manifests`. `reference` gives a password by its name in the vault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from imagesmith.cluster.addons import objects
from imagesmith.cluster.addons.objects import NAME, Object
from imagesmith.cluster.addons.pods import PASSWORDS, Placed, template
from imagesmith.cluster.addons.traffic import policies
from imagesmith.model.addons import Addon, NfsStorage, Recipe, RecipePart
from imagesmith.secret import SecretRef

LOCAL_CLASS = "local-path"
"""k3s's own StorageClass, for folders on the nodes' disks."""
STORAGE_PLACE = "storage-nas"
"""The namespace of what makes folders on NASes."""
_KINDS = {"deployment": "Deployment", "stateful": "StatefulSet", "everywhere": "DaemonSet"}
_OF_NFS = "/persistentvolumes"
Reference = Callable[[str], SecretRef]


def password_name(addon: str, purpose: str) -> str:
    """What one of an add-on's passwords is called in the vault."""
    return f"addons/{addon}/{purpose}"


def addon_objects(addon: Addon, reference: Reference) -> list[Object]:
    """All that an add-on is but its volumes, in an order in which it can be made."""
    place, recipe = addon.name, addon.recipe
    found = [objects.namespace(place, sees_the_node=any(part.host_folders for part in recipe.parts))]
    found += policies(addon, place)
    if recipe.purposes:
        secrets = {purpose: reference(password_name(addon.name, purpose)) for purpose in recipe.purposes}
        found.append(objects.secret(place, PASSWORDS, secrets))
    for name, role in recipe.accounts.items():
        found += [objects.account(place, name), objects.cluster_binding(f"imagesmith-{name}", role, place, name)]
    for part in recipe.parts:
        found += _part(Placed(addon, part), place)
    return found


def volumes_of(addon: Addon) -> dict[str, Object]:
    """What it keeps, by the volumes' names: each stands alone, so that k3s takes none away when the rest changes."""
    every = [(Placed(addon, part), volume) for part in addon.recipe.parts for volume in Placed(addon, part).volumes]
    found = {}
    for placed, volume in every:
        name = placed.claim(volume)
        found[name] = objects.claim(addon.name, name, addon.size_of(volume), _class_of(addon), shared=_is_nas(addon))
    return found


def storage_objects(storage: tuple[NfsStorage, ...], recipe: Recipe) -> list[Object]:
    """What makes a folder on a NAS for every volume of a StorageClass: one of each NAS, in one namespace."""
    parts = tuple(_provisioner(one, recipe.parts[0]) for one in storage)
    addon = Addon(STORAGE_PLACE, replace(recipe, parts=parts))
    found = [objects.namespace(STORAGE_PLACE), *policies(addon, STORAGE_PLACE)]
    for one, part in zip(storage, parts, strict=True):
        made = list(_part(Placed(addon, part), STORAGE_PLACE))
        pod = made[-1]["spec"]["template"]["spec"]
        pod["volumes"].append({"name": "nas", "nfs": {"server": one.server, "path": one.path}})
        pod["containers"][0]["volumeMounts"].append({"name": "nas", "mountPath": _OF_NFS})
        found += [*made, _class(one)]
    return found


def _provisioner(storage: NfsStorage, part: RecipePart) -> RecipePart:
    told = {"PROVISIONER_NAME": f"imagesmith/{storage.name}", "NFS_SERVER": storage.server, "NFS_PATH": storage.path}
    return replace(part, name=storage.name, environment={**part.environment, **told})


def _class(storage: NfsStorage) -> Object:
    """Folders have names that a cluster which is made anew asks for again, and stay when nobody does."""
    parameters = {"pathPattern": "${.PVC.namespace}/${.PVC.name}", "onDelete": "retain"}
    options = ["hard", "noatime", *([f"nfsvers={storage.version}"] if storage.version else [])]
    return objects.storage_class(storage.name, f"imagesmith/{storage.name}", parameters, options)


def _part(placed: Placed, place: str) -> Iterator[Object]:
    """The pods come last."""
    addon, part = placed.addon, placed.part
    if placed.has_account:
        yield objects.account(place, part.name)
    if part.rules:
        role = f"imagesmith-{addon.name}-{part.name}"
        yield objects.cluster_role(role, part.rules)
        yield objects.cluster_binding(role, role, place, part.name)
    files = {name: text for one in placed.files for name, text in one.files.items()}
    if files:
        yield objects.config_map(place, f"{part.name}-files", files)
    if placed.scripts:
        yield objects.config_map(place, f"{part.name}-scripts", placed.scripts)
    if part.port:
        yield objects.service(place, part.name, _served_at(part), part.port)
    if part.site and addon.host:
        yield objects.ingress(place, part.name, addon.host, _served_at(part))
    if placed.replicas > 1:
        yield objects.disruption_budget(place, part.name)
    yield _workload(placed, place)


def _workload(placed: Placed, place: str) -> Object:
    part = placed.part
    spec: Object = {"selector": {"matchLabels": {NAME: part.name}}, "template": template(placed)}
    if part.keeping == "stateful":
        spec = {"serviceName": part.name, "replicas": 1, **spec}
    elif part.keeping == "deployment":
        # One after the other where they would be at the same files.
        strategy = "Recreate" if placed.volumes and placed.replicas == 1 else "RollingUpdate"
        spec = {"replicas": placed.replicas, "revisionHistoryLimit": 2, "strategy": {"type": strategy}, **spec}
    return objects.workload(place, _KINDS[part.keeping], part.name, spec)


def _served_at(part: RecipePart) -> int:
    """The port of its service: a site's is the usual one."""
    return 80 if part.site else part.port


def _class_of(addon: Addon) -> str:
    return addon.storage if _is_nas(addon) else LOCAL_CLASS


def _is_nas(addon: Addon) -> bool:
    return addon.storage not in ("", "local")
