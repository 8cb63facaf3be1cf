"""Add-ons on clusters that run: brought there, taken away, and tokens for their people. Called by `cli.addons`.

What an image of each node would have of them now is compared with what the node has; only digests come back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from imagesmith import resources
from imagesmith.cluster.addons import manifests
from imagesmith.cluster.parts import part_of
from imagesmith.cluster.vip import MANIFESTS
from imagesmith.errors import NodeUnreachable, UsageError
from imagesmith.events import Listener, unheard
from imagesmith.formats.credentials import revealed
from imagesmith.model import Cluster, PutFile
from imagesmith.model.addons import Addons
from imagesmith.planning.applying import File, There, Wanted, apply_steps, read_survey, sent_as, survey_argv
from imagesmith.planning.life import KUBECTL, ByHand
from imagesmith.profile.schema import did_you_mean
from imagesmith.remote.session import Session
from imagesmith.secret import VAULT, Secret, SecretRef, SecretText
from imagesmith.vault.index import read_index
from imagesmith.vault.names import missing
from imagesmith.workflow.doing import Agree, agreed, do
from imagesmith.workflow.nodes import Rack, asked_cluster, each, reached
from imagesmith.workflow.sealed import sealed_cluster
from imagesmith.workflow.target import catalogue_of
from imagesmith.workflow.vault import Opening, draw_missing, names_for

Contents = dict[str, dict[str, tuple[Secret, int]]]
"""What each node is to have: content and mode by path, by node."""


def apply(of: Rack, opening: Opening, agree: Agree, listener: Listener = unheard) -> tuple[int, tuple[str, ...]]:
    """All nodes have what the inventory says now; in how many steps (0: they had it), and what is left to a person.

    Raises UsageError without k3s or a whole vault and where a storage or a volume would have to be another,
    NodeUnreachable where a node is away (its files would stay behind), Interrupted where it is not agreed upon.
    """
    addons = _addons(of)
    # Without one the nodes' keys are not known either, so that none of them could be asked.
    _vault(of)
    with reached(of) as nodes:
        asked_cluster(nodes, of.servers)
        contents = _contents(of, opening)
        there = _survey(of, nodes, contents)
        files = {node: tuple(_file(path, *kept) for path, kept in own.items()) for node, own in contents.items()}
        notes = {addon.name: addon.recipe.notes for addon in addons.wanted}
        volumes = {f"{MANIFESTS}/{name}": kept for name, kept in manifests.kept(addons).items()}
        steps = apply_steps(Wanted(files, of.servers, addons.storage, notes, volumes), there)
        if all(isinstance(step, ByHand) for step in steps):
            return 0, tuple(step.doing for step in steps)
        agreed(steps, agree)
        sent = {sent_as(node, path): content for node, own in contents.items() for path, (content, _) in own.items()}
        return len(steps), do(nodes, steps, sent, listener)


def token(of: Rack, name: str, *, read_only: bool, hours: int) -> Secret:
    """A token of an add-on's account, which the cluster makes now and which ends by itself.

    Raises UsageError for an add-on without accounts or that is not wanted here, NodeUnreachable.
    """
    addon = _addons(of).addon(name)
    if addon is None or not addon.recipe.accounts:
        having = [one.name for one in _addons(of).wanted if one.recipe.accounts]
        wanting = "headlamp is one: addons: {headlamp: {}} in the inventory, then imagesmith addons apply"
        raise UsageError(
            f"there is no add-on {name[:60]!r} here that asks for tokens{did_you_mean(name, having)}",
            where=of.cluster.path, hint=f"there is: {', '.join(having)}" if having else wanting,
        )  # fmt: skip
    role = "view" if read_only else "cluster-admin"
    account = next(own for own, has in addon.recipe.accounts.items() if has == role)
    words = (*KUBECTL, "-n", name, "create", "token", account, f"--duration={hours}h")
    with reached(of) as nodes:
        server, _ = asked_cluster(nodes, of.servers)
        told = nodes.run(server, words, doing=f"asking for a token of {account}").text.strip()
    if not re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", told):
        raise NodeUnreachable("what it gave is no token", where=server, hint="imagesmith addons apply; try again")
    return Secret(told.encode())


def _addons(of: Rack) -> Addons:
    if of.cluster.k3s is None:
        raise UsageError(
            "this inventory has no k3s, so nothing runs on it", where=of.cluster.path,
            hint="add-ons are for the nodes of a k3s cluster: k3s: {channel: stable}, then build and flash its nodes",
        )  # fmt: skip

    return of.cluster.addons or Addons()


def _vault(of: Rack) -> Path:
    if of.vault is None:
        raise UsageError(
            "there is no vault, and without the one that the nodes were built with none of them can be asked",
            hint="--vault DIR says where it is; was it lost, restore it from a backup, see docs/vault.md",
        )
    return of.vault


def _contents(of: Rack, opening: Opening) -> Contents:
    """What every node's image would have of it, were it built now. Passwords that are new are drawn first."""
    vault = _vault(of)
    draw_missing(vault, manifests.secrets(of.cluster))
    profiles = catalogue_of(of.cluster).profiles
    roles = {node.name: node.role or profiles[node.profile].role for node in of.cluster.nodes}
    materials, found = resources.materials(), {}
    sealed = sealed_cluster(of.cluster, vault)
    if sealed is None:
        # An image would have no add-ons then, and everything on the servers look like what nobody wants.
        raise _lacking(of.cluster, vault)
    open_secret = _opener(of, opening)
    for node in of.cluster.nodes:
        part = part_of(of.cluster, node, roles, sealed)
        edits = manifests.edits(part, profiles[node.profile], materials)
        puts = (edit for edit in edits if isinstance(edit, PutFile))
        found[node.name] = {put.path: (_content(put, open_secret), put.mode) for put in puts}
    return found


def _lacking(cluster: Cluster, vault: Path) -> UsageError:
    """Why there is no telling what nodes are to have: what else the vault lacks of what the inventory asks for."""
    lacking = missing(read_index(vault).secrets, names_for((), cluster))
    return UsageError(
        f"the vault lacks what this inventory asks for: {', '.join(lacking)}; nothing was changed", where=str(vault),
        hint="was it lost, restore the vault from a backup, see docs/vault.md; is it new in the inventory, imagesmith "
             "known-hosts draws it, and imagesmith build makes certificates",
    )  # fmt: skip


def _opener(of: Rack, opening: Opening) -> Callable[[SecretRef], Secret]:
    """Opens the vault for the first secret that is asked for."""

    def open_secret(ref: SecretRef) -> Secret:
        assert of.vault
        return opening(of.vault)(ref.name.removeprefix(VAULT))

    return open_secret


def _content(put: PutFile, open_secret: Callable[[SecretRef], Secret]) -> Secret:
    if isinstance(put.content, bytes):
        return Secret(put.content)
    assert isinstance(put.content, SecretText)
    return revealed(put.content, open_secret)


def _file(path: str, content: Secret, mode: int) -> File:
    return File(path, hashlib.sha256(content.reveal()).hexdigest(), mode)


def _survey(of: Rack, nodes: Session, contents: Contents) -> Mapping[str, There]:
    """What all nodes have. Raises NodeUnreachable at the first that is silent."""

    def ask(node: str) -> There | NodeUnreachable:
        try:
            paths = tuple(contents[node])
            told = nodes.run(node, survey_argv(paths), doing="looking at its manifests")
            return read_survey(told.stdout, node, paths)
        except NodeUnreachable as error:
            return error

    found = each(of.duties, ask)
    for told in found.values():
        if isinstance(told, NodeUnreachable):
            raise told.within("and all nodes must answer, or its files would stay behind; nothing was changed")
    return {node: told for node, told in found.items() if isinstance(told, There)}
