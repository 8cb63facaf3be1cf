"""Another version of k3s on nodes that run, one after the other. Called by `cli.cluster`.

The programs are files of this machine that were held to their digest; each is compared again on the node before it
takes the place of the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagesmith.errors import NodeUnreachable, UsageError
from imagesmith.events import Listener, unheard
from imagesmith.formats.elf import HEAD, architecture_of
from imagesmith.model import Architecture
from imagesmith.planning.health import KubeNode
from imagesmith.planning.life import RESTART, Run
from imagesmith.planning.upgrading import Program, Running, check, parse_version, upgrade
from imagesmith.remote.session import Session
from imagesmith.workflow.doing import Agree, agreed, do
from imagesmith.workflow.nodes import Rack, architectures, asked_cluster, each, reached
from imagesmith.workflow.status import facts_of
from imagesmith.workflow.supplies import Kind
from imagesmith.workflow.upgrade_images import given_images, images_on, lacking_images, sha256

Given = tuple[str, Path]
"""A file, and the architecture that it is for; empty = its header or its name says."""
Obtain = Callable[[Kind, Architecture], Path]
"""Gets the program or the images of the release for an architecture, held to their digest."""


@dataclass(frozen=True, slots=True)
class Release:
    """What of k3s's release is given, and how the rest is got."""

    programs: Sequence[Given] = ()
    images: Sequence[Given] = ()
    obtain: Obtain | None = None
    """None = what is not given is not to be had."""


@dataclass(frozen=True, slots=True)
class Upgraded:
    changed: tuple[str, ...]
    """Nodes that got it now."""
    before: tuple[str, ...]
    """Nodes that had it."""


def upgrade_nodes(
    of: Rack,
    target: str,
    release: Release,
    agree: Agree,
    listener: Listener = unheard,
    *,
    without: Sequence[str] = (),
) -> Upgraded:
    """All nodes on this version, the servers first; agents named in `without` stay as they are.

    Of the release only what nodes need is got; a cluster that is `airgap` gets its container images too. Raises
    UsageError with all reasons against it, Interrupted, NodeUnreachable at the first node that fails.
    """
    parse_version(target)
    kinds = architectures(of)
    names = _chosen(of, without)
    programs = _programs(release.programs)
    images = given_images(of, release.images)
    with reached(of) as nodes:
        _, known = asked_cluster(nodes, of.servers)
        running = tuple(each(names, lambda name: _running(of, nodes, name, kinds[name], known, images)).values())
        check(running, target)
        for kind in {one.architecture for one in running if one.program != target} - programs.keys():
            if release.obtain:
                programs |= _programs([(kind, release.obtain("program", kind))])
        if of.cluster.k3s and of.cluster.k3s.airgap:
            images |= lacking_images(of, {one.architecture for one in running} - images.keys(), release.obtain)
        datastore = of.cluster.k3s.datastore if of.cluster.k3s else ""
        steps = upgrade(
            running, target, [one for one, _ in programs.values()], datastore, [one for one, _ in images.values()]
        )
        restarted = {step.node for step in steps if isinstance(step, Run) and step.argv[:2] == RESTART}
        changed = tuple(one.node for one in running if one.node in restarted)
        if steps:
            agreed(steps, agree)
            sent = {name: path for name, (_, path) in programs.items()}
            do(nodes, steps, sent | {one.sent: path for one, path in images.values()}, listener)
    return Upgraded(changed, tuple(name for name in names if name not in changed))


def _chosen(of: Rack, without: Sequence[str]) -> tuple[str, ...]:
    if not of.servers:
        raise UsageError("this inventory has no k3s, so there is nothing to upgrade", where=of.cluster.path)
    for name in without:
        if of.duties[of.node(name).name] != "agent":
            raise UsageError(f"{name} is a server; servers are upgraded before every agent, and all of them")
    return tuple(name for name in of.duties if name not in without)


def _programs(files: Sequence[Given]) -> dict[str, tuple[Program, Path]]:
    """The files by their architecture, each with its digest. Raises UsageError for what is no such program."""
    found: dict[str, tuple[Program, Path]] = {}
    for said, path in files:
        if not path.is_file():
            raise UsageError("there is no such file", where=str(path), hint="correct the path behind --file")
        with path.open("rb") as stream:
            kind = said or architecture_of(stream.read(HEAD)) or ""
        if not kind:
            hint = f"give k3s as it was released; if you know what it is for: --file amd64={path}"
            raise UsageError("it is no program for amd64 or arm64", where=str(path), hint=hint)
        if kind in found:
            raise UsageError(f"there are two programs for {kind}", where=str(path), hint="give one of each")
        found[kind] = (Program(kind, sha256(path)), path)
    return found


def _running(
    of: Rack,
    nodes: Session,
    name: str,
    kind: Architecture,
    known: Mapping[str, KubeNode],
    given: Collection[str],
) -> Running:
    """`given`: the architectures that images are given for."""
    kube = known.get(name)
    try:
        program = facts_of(nodes, name).get("k3s_version")
    except NodeUnreachable as error:
        hint = f"bring it back, or leave an agent out: --without {name}"
        raise NodeUnreachable(error.what, where=name, hint=hint) from None
    images = ""
    # Also where they are only given: a node that is not asked lacks them for ever.
    if kind in given or (of.cluster.k3s and of.cluster.k3s.airgap):
        images = images_on(of, nodes, name, kind)
    return Running(
        name, of.duties[name], kind, kube.version if kube else "", program, bool(kube and kube.ready), images
    )
