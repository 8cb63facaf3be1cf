"""Backups of nodes that run: how they are, made now, listed, laid back; and what the NAS must let in.

Called by `cli.backup`. Asks nodes over SSH; a restore changes one of them, as it was agreed. The vault is opened for
what opens an encrypted backup alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagesmith import resources
from imagesmith.cluster.backup import RECEIVE, authorized_line, identity_name, key_name, secrets
from imagesmith.errors import ContentMalformed, NodeUnreachable, UsageError
from imagesmith.events import Listener, StepFinished, StepStarted, unheard
from imagesmith.model import Sealed
from imagesmith.model.backup import Backup, SshStore
from imagesmith.planning.backing import (
    BACKUP,
    IDENTITY,
    LONGEST_S,
    RESTORE,
    Kept,
    Restoring,
    chosen,
    from_snapshot,
    read_kept,
    restoration,
)
from imagesmith.planning.health import Facts
from imagesmith.profile.backup import path
from imagesmith.remote.session import Session
from imagesmith.secret import VAULT, Secret, SecretRef
from imagesmith.vault.index import read_index
from imagesmith.vault.names import OLD
from imagesmith.workflow.doing import Agree, Sent, agreed, do
from imagesmith.workflow.nodes import Rack, each, reached
from imagesmith.workflow.status import facts_of
from imagesmith.workflow.vault import Opening, draw_missing

LIST_S = 120.0


@dataclass(frozen=True, slots=True)
class Told:
    """What one node tells of its backups."""

    node: str
    facts: Facts | None = None
    silence: str = ""
    """Why it could not be asked."""


def asked_for(of: Rack) -> Backup:
    """Raises UsageError where the inventory asks for no backups."""
    if of.cluster.backup is None:
        raise UsageError(
            "the inventory asks for no backups", where=of.cluster.path, hint="`backup:` does, see docs/backup.md"
        )
    return of.cluster.backup


def covered(of: Rack, names: Sequence[str] = ()) -> tuple[str, ...]:
    """The nodes of these names, else all that are backed up. Raises UsageError."""
    backup = asked_for(of)
    found = tuple(of.node(name).name for name in names)
    for name in found:
        if not backup.covers(name):
            raise UsageError(f"{name} is not backed up", where=of.cluster.path, hint="it is in `backup: without`")
    return found or tuple(node.name for node in of.cluster.nodes if backup.covers(node.name))


def told(of: Rack, names: Sequence[str] = ()) -> tuple[Told, ...]:
    """How every node's backups are, by what it says itself."""
    with reached(of) as nodes:
        return tuple(each(covered(of, names), lambda name: _told(nodes, name)).values())


def run(of: Rack, names: Sequence[str], listener: Listener = unheard) -> None:
    """Back these nodes up now, one after the other, since they share a disk. Raises NodeUnreachable at the first."""
    chosen_names = covered(of, names)
    with reached(of) as nodes:
        for name in chosen_names:
            listener(StepStarted("back it up", "", name))
            nodes.run(name, (BACKUP, "now"), limit_s=LONGEST_S, doing="backing it up")
            listener(StepFinished("back it up", "", name))


def listed(of: Rack, name: str) -> tuple[Kept, ...]:
    """A node's backups, the oldest first, as the node itself sees them."""
    (node,) = covered(of, [name])
    with reached(of) as nodes:
        return _listed(nodes, node)


def restore(
    of: Rack,
    name: str,
    date: str,
    opening: Opening,
    agree: Agree,
    listener: Listener = unheard,
    *,
    snapshot: bool = False,
) -> tuple[str, ...]:
    """Lay a backup back onto a node that runs; what is left to a person.

    `snapshot`: the whole cluster begins anew from what that server's backup has of etcd. Raises UsageError,
    Interrupted where it is not agreed, NodeUnreachable.
    """
    (node,) = covered(of, [name])
    with reached(of) as nodes:
        kept = chosen(_listed(nodes, node), date, node)
        others = [server for server in of.servers if server != node]
        silent = [server for server, why in each(others, nodes.answers).items() if why] if snapshot else []
        datastore = of.cluster.k3s.datastore if of.cluster.k3s else ""
        wanted = Restoring(node, of.duties[node], kept, of.servers, datastore, silent)
        steps = from_snapshot(wanted) if snapshot else restoration(wanted)
        agreed(steps, agree)
        return do(nodes, steps, _opened_by(of, node, kept, opening), listener)


def authorized_keys(of: Rack, program: str) -> tuple[str, ...]:
    """The lines for the NAS, one a node; keys that are missing are drawn.

    `program` is where imagesmith-receive lies there; empty = in the folder of the backups. Raises UsageError.
    """
    backup = asked_for(of)
    if not isinstance(backup.store, SshStore):
        raise UsageError("backups go to NFS, where no key is asked for", where=of.cluster.path)
    try:
        program = path(program or f"{backup.store.folder}/{RECEIVE}")
    except ValueError as error:
        raise UsageError(str(error)) from None
    folder = _vault(of)
    draw_missing(folder, secrets(of.cluster))
    drawn = read_index(folder).secrets
    public = {name: drawn[key_name(name)].public for name in covered(of)}
    return tuple(
        authorized_line(backup.store, name, Sealed(SecretRef(VAULT + key_name(name)), key), program)
        for name, key in public.items()
    )


def receiver() -> bytes:
    """The program that the NAS runs."""
    return resources.materials().files[f"firstboot/backup/{RECEIVE}"]


def _told(nodes: Session, name: str) -> Told:
    try:
        return Told(name, facts_of(nodes, name))
    except (NodeUnreachable, ContentMalformed) as error:
        return Told(name, silence=error.what)


def _listed(nodes: Session, node: str) -> tuple[Kept, ...]:
    done = nodes.run(node, (RESTORE, "list"), limit_s=LIST_S, doing="listing its backups", expect=None)
    if done.returncode:
        message = done.stderr.decode("utf-8", "replace").strip()
        hint = "its image was built before `backup:` was in the inventory" if "not found" in message else ""
        raise NodeUnreachable(message or "it can't list its backups", where=node, hint=hint)
    return read_kept(done.stdout, node)


def _opened_by(of: Rack, node: str, kept: Kept, opening: Opening) -> Sent:
    if not kept.encrypted:
        return {}
    folder, name = _vault(of), identity_name(node)
    # Backups from before it was drawn anew are opened by the one before; age tries all that it is given.
    names = [one for one in (name, name + OLD) if one in read_index(folder).secrets]
    opened = opening(folder)
    return {IDENTITY: Secret(b"\n".join(opened(one).reveal().rstrip(b"\n") for one in names or [name]) + b"\n")}


def _vault(of: Rack) -> Path:
    if of.vault is None:
        raise UsageError("there is no vault, and the keys for backups lie in it", hint="imagesmith vault create")
    return of.vault
