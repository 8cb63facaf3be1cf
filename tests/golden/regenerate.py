"""Writes the golden plans anew: `make golden`. Read the difference before you commit it.

One file per shipped profile and base, `<profile>[.<base>].plan.yaml`, and `rack.txt`: what `plan --all` tells of
examples/rack.yaml with an empty cache; in addons/ the manifests of the inventory there, with passwords by name. A file
that comes from firstboot/ or cloud-init/ as it is stands there by its name, one that was made for the node with its
whole text.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from imagesmith import resources
from imagesmith.cluster.addons.manifests import manifests
from imagesmith.formats.credentials import named_by
from imagesmith.model import Materials, PutFile, TargetDisk
from imagesmith.planning.build import plan_build
from imagesmith.planning.explain import describe
from imagesmith.planning.overview import overview
from imagesmith.workflow.planned import plan
from imagesmith.workflow.target import TargetChoice, all_wanted, catalogue_near, load_inventory, resolve

FOLDER = Path(__file__).resolve().parent
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBg4TY9TSRWzCp0lVUKWEkyqOcDSAXWxLeqXW8zdDdCv golden@example"
DISK = TargetDisk(serial="S4EVNX0M123456")
"""For what would not be planned without one."""


def golden_plans() -> dict[str, str]:
    """File name to content, for every shipped profile with each of its bases."""
    materials = resources.materials()
    plans = {}
    for profile in catalogue_near(None).profiles.values():
        for base in profile.board.bases:
            name = profile.name if base.name == profile.base else f"{profile.name}.{base.name}"
            plans[f"{name}.plan.yaml"] = _golden(profile.name, base.name, materials)
    return plans


def golden_rack() -> str:
    """The overview of the example's five nodes, where nothing is in the cache and no lock is the user's."""
    rack = TargetChoice(cluster=FOLDER.parents[1] / "examples" / "rack.yaml")
    return overview([plan(one, FOLDER / "imagesmith.lock") for one in all_wanted(rack)], ())


def golden_manifests() -> dict[str, str]:
    """File name to content, of all that a server of addons/cluster.yaml has k3s apply."""
    cluster = load_inventory(FOLDER / "addons" / "cluster.yaml")
    assert cluster and cluster.addons
    found = {}
    for name, made in manifests(cluster.addons, {}).items():
        parts = (made,) if isinstance(made, bytes) else made.parts
        found[name] = "".join(
            part.decode() if isinstance(part, bytes) else f"<{named_by(part).name}>" for part in parts
        )
    return found


def _golden(profile: str, base: str, materials: Materials) -> str:
    found = resolve(profile, cluster=None, base=base, ssh_keys=[KEY])
    node = replace(found.node, disk=DISK) if found.base.family == "ubuntu-live" else found.node
    made = plan_build(found.profile, node, found.base, materials)
    told = describe(made)
    for edit, plain in zip(made.edits, told["plan"]["edits"], strict=True):
        if isinstance(edit, PutFile) and isinstance(edit.content, bytes):
            plain["content"] = _content(edit.content, materials)
    # The id changes with every word of a script: it has a test of its own, not ten files.
    del told["id"]
    return yaml.dump(told, Dumper=_Dumper, sort_keys=False, width=200, allow_unicode=True)


def _content(data: bytes, materials: Materials) -> dict[str, str]:
    source = next((name for name, content in materials.files.items() if content == data), None)
    return {"from": source} if source else {"text": data.decode()}


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


if __name__ == "__main__":
    plans = golden_plans()
    for old in FOLDER.glob("*.plan.yaml"):
        if old.name not in plans:
            old.unlink()
    for name, content in plans.items():
        (FOLDER / name).write_text(content)
    (FOLDER / "rack.txt").write_text(golden_rack())
    made = golden_manifests()
    for old in (FOLDER / "addons").glob("imagesmith-*.yaml"):
        if old.name not in made:
            old.unlink()
    for name, content in made.items():
        (FOLDER / "addons" / name).write_text(content)
    print(f"{len(plans)} golden plans written to {FOLDER}")
