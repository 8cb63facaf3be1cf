"""The manifests that every server of a cluster has: one file an add-on, a volume, a chart, a manifest of one's own.

Called by `cluster.contents` for images, and by `workflow.addons` for servers that run. Pure. The servers have the same
files, or each would undo what the others apply. k3s deletes what is no longer in a file, and leaves alone what a file
that is gone had: so nothing but a volume is in a volume's file, and only who says so deletes what is in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from imagesmith.cluster.addons import objects
from imagesmith.cluster.addons.dumps import dump_files
from imagesmith.cluster.addons.metrics import metrics_files
from imagesmith.cluster.addons.objects import Object
from imagesmith.cluster.addons.parts import addon_objects, password_name, storage_objects, volumes_of
from imagesmith.cluster.addons.yaml_text import yaml_text
from imagesmith.cluster.vip import MANIFESTS
from imagesmith.model import Cluster, Edit, MakeDir, Materials, Part, Profile, Promise, PutFile, Sealed
from imagesmith.model.addons import Addons, Chart, Kept
from imagesmith.secret import VAULT, SecretRef, SecretText

OURS = "imagesmith-"
"""What the names of all files begin with that are written here: none of k3s's own does."""
ADDON, CHART, OWN, STORAGE = f"{OURS}addon-", f"{OURS}chart-", f"{OURS}own-", f"{OURS}storage"
VOLUME = f"{OURS}volume-"
BETWEEN = "--"
"""What is between the add-on's name and the volume's in that of a file."""


def edits(part: Part, profile: Profile, materials: Materials) -> tuple[Edit, ...]:
    """All manifests on every server, root's alone, and what its backup asks of databases; what every node tells."""
    addons = part.cluster.addons
    if part.sealed is None or addons is None:
        return ()
    told = metrics_files(addons, materials)
    if part.duty == "agent":
        return told
    made = manifests(addons, part.sealed.more)
    return (
        *told,
        MakeDir("root", MANIFESTS.rpartition("/")[0], 0o700),
        MakeDir("root", MANIFESTS, 0o700),
        *(PutFile("root", f"{MANIFESTS}/{name}", content, 0o600) for name, content in made.items()),
        *dump_files(addons, materials),
    )


def promises(part: Part) -> tuple[Promise, ...]:
    """None: k3s applies them once the cluster is there, which a machine alone never shows."""
    return ()


def packages(part: Part) -> tuple[str, ...]:
    """What mounts a NAS's folder for a pod, on every node."""
    addons = part.cluster.addons
    return ("nfs-common",) if addons and addons.storage else ()


def secrets(cluster: Cluster) -> tuple[str, ...]:
    """The names of all passwords that add-ons have."""
    wanted = cluster.addons.wanted if cluster.addons else ()
    return tuple(password_name(addon.name, purpose) for addon in wanted for purpose in addon.recipe.purposes)


def manifests(addons: Addons, sealed: Mapping[str, Sealed]) -> dict[str, bytes | SecretText]:
    """By the file's name, in the order in which they are best applied; as plain text where no secret is in one."""
    by_file = objects_of(addons, sealed)
    found = {name: _plain(yaml_text(made)) for name, made in by_file.items()}
    return found | {f"{OWN}{one.name}.yaml": one.content for one in addons.manifests}


def objects_of(addons: Addons, sealed: Mapping[str, Sealed] | None = None) -> dict[str, list[Object]]:
    """The objects in each file; passwords by name, with what `sealed` knows of them."""
    known = sealed or {}

    def reference(name: str) -> SecretRef:
        return known[name].ref if name in known else SecretRef(VAULT + name)

    found: dict[str, list[Object]] = {}
    if addons.storage and addons.provisioner:
        found[f"{STORAGE}.yaml"] = storage_objects(addons.storage, addons.provisioner)
    for addon in addons.wanted:
        # Its namespace is there first: k3s goes by the files' names.
        found[f"{ADDON}{addon.name}.yaml"] = addon_objects(addon, reference)
        found |= {_volume_file(addon.name, name): [made] for name, made in volumes_of(addon).items()}
    found |= {f"{CHART}{chart.name}.yaml": [_chart(chart)] for chart in addons.charts}
    return found


def kept(addons: Addons) -> dict[str, Kept]:
    """Where all volumes are to lie and how large, by the names of their files."""
    return {
        _volume_file(addon.name, name): Kept(
            made["spec"]["storageClassName"], made["spec"]["resources"]["requests"]["storage"]
        )
        for addon in addons.wanted
        for name, made in volumes_of(addon).items()
    }


def _volume_file(addon: str, volume: str) -> str:
    return f"{VOLUME}{addon}{BETWEEN}{volume}.yaml"


def _plain(text: SecretText) -> bytes | SecretText:
    known = [part for part in text.parts if isinstance(part, bytes)]
    return b"".join(known) if len(known) == len(text.parts) else text


def _chart(chart: Chart) -> Object:
    spec: dict[str, object] = {
        "chart": chart.chart,
        "version": chart.version,
        "targetNamespace": chart.namespace,
        "createNamespace": True,
    }
    if chart.repo:
        spec["repo"] = chart.repo
    if chart.values:
        # Text in every version of k3s, while the structured key is of the newest alone; a JSON text is YAML too.
        spec["valuesContent"] = json.dumps(chart.values)
    return objects.helm_chart(chart.name, spec)
