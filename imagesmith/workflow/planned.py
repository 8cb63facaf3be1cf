"""From what is wanted to its plan, with the base as `imagesmith.lock` pins it, now and when the image is used later.

Called by every command that needs a plan or its id. Reads the lock; fetches and writes nothing.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path

from imagesmith import resources
from imagesmith.cluster.parts import part_of
from imagesmith.errors import UsageError
from imagesmith.formats.canonical import plan_id
from imagesmith.model import BuildPlan, Part
from imagesmith.planning.build import plan_build
from imagesmith.sources import lock
from imagesmith.workflow.built import Built
from imagesmith.workflow.sealed import beside, has_k3s, host_keys_of, sealed_cluster, vault_of
from imagesmith.workflow.supplies import fetched_for
from imagesmith.workflow.target import DEFAULT_INVENTORY, TargetChoice, Wanted, catalogue_of, looks_like_path, wanted

LOCK = "imagesmith.lock"


def lock_file(choice: TargetChoice) -> Path:
    """Where the lock of a choice is: beside its inventory, else in the current folder."""
    return (choice.cluster.parent if choice.cluster else Path()) / LOCK


@functools.cache
def shipped_lock() -> lock.Lock:
    """The lock that comes with imagesmith: what the shipped bases were when it was made. The user's goes before it."""
    return lock.read(resources.folder("profiles") / LOCK)


def plan(found: Wanted, lock_path: Path, *, epoch: int = 0, vault: Path | None = None) -> BuildPlan:
    """The plan of what is wanted, with what `vault` shows of its secrets.

    Raises DocumentInvalid for a broken lock, what `plan_build` raises, and what `read_index` does of a vault.
    """
    base = lock.locked(found.base, lock.read(lock_path), found.profile.board.name, shipped_lock())
    part = part_in_cluster(found, vault)
    fetched = fetched_for(found, part, base, lock_path, shipped_lock())
    return plan_build(
        found.profile,
        found.node,
        base,
        resources.materials(),
        epoch=epoch,
        host_keys=host_keys_of(vault, found.node.name),
        part=part,
        supplies=fetched.supplies,
        downloads=fetched.downloads,
    )


def unresolved(found: Wanted, lock_path: Path) -> tuple[str, ...]:
    """What a build has to look up first of what it fetches beside the base, in words. Raises as `plan` does."""
    base = lock.locked(found.base, lock.read(lock_path), found.profile.board.name, shipped_lock())
    return fetched_for(found, part_in_cluster(found, None), base, lock_path, shipped_lock()).unresolved


def part_in_cluster(found: Wanted, vault: Path | None) -> Part | None:
    """The part of what is wanted in its k3s cluster; None where it has none. Raises what `read_index` does."""
    if found.cluster is None or found.cluster.k3s is None:
        return None
    profiles = catalogue_of(found.cluster).profiles
    roles = {node.name: node.role or profiles[node.profile].role for node in found.cluster.nodes}
    return part_of(found.cluster, found.node, roles, sealed_cluster(found.cluster, vault, found.node.name))


def remembered(choice: TargetChoice, epoch: int) -> dict[str, str]:
    """What changes the plan, as text: `record_build` keeps it, `choice_of` brings it back."""
    found = DEFAULT_INVENTORY if DEFAULT_INVENTORY.exists() and not choice.no_cluster else None
    cluster = choice.cluster or found
    written = {
        "cluster": str(cluster.absolute()) if cluster else "",
        "no_cluster": "yes" if choice.no_cluster else "",
        "base": choice.base,
        "hostname": choice.hostname,
        "ssh_key_files": "\n".join(str(path.absolute()) for path in choice.ssh_key_files),
        "overrides": json.dumps(dict(choice.overrides)) if choice.overrides else "",
        "epoch": str(epoch) if epoch else "",
        "vault": str(choice.vault.absolute()) if choice.vault else "",
    }
    return {key: value for key, value in written.items() if value}


def remembered_target(target: str) -> str:
    """TARGET as `record_build` keeps it: the path of a profile's file is made to hold in every folder."""
    return str(Path(target).resolve()) if looks_like_path(target) else target


def choice_of(target: str, options: Mapping[str, str]) -> TargetChoice:
    """The choice that `remembered` wrote down."""
    return TargetChoice(
        target,
        Path(options["cluster"]) if "cluster" in options else None,
        "no_cluster" in options,
        options.get("base", ""),
        options.get("hostname", ""),
        tuple(Path(line) for line in options.get("ssh_key_files", "").splitlines()),
        json.loads(options.get("overrides", "{}")),
        Path(options["vault"]) if "vault" in options else None,
    )


def current_plan_id(built: Built) -> str:
    """The id of the plan that a built image would have if it were built again now, with the same options."""
    choice = choice_of(built.target, built.options)
    epoch = int(built.options.get("epoch", "0"))
    found, vault = wanted(choice), vault_of(choice)
    if vault is None and has_k3s(found.cluster):
        raise UsageError(
            f"{built.name} was built with the secrets of a vault, and the vault of its inventory is gone",
            where=str(beside(choice.cluster or DEFAULT_INVENTORY)),
            hint="bring it back from a backup, see docs/vault.md; or give the image's path to use it as it is: "
            f"{built.path}",
        )
    return plan_id(plan(found, lock_file(choice), epoch=epoch, vault=vault))
