"""Which node gets another version of k3s when, and what is refused. Called by `workflow.upgrade`. Pure.

Kubernetes lets servers run one minor version ahead of the one before and no more, servers before agents
(https://kubernetes.io/releases/version-skew-policy/); k3s says the same of itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from imagesmith.cluster.k3s import unit_of
from imagesmith.errors import UsageError
from imagesmith.model import Architecture
from imagesmith.planning.life import Run, Step, answers, is_ready, restart

PROGRAM = "/usr/local/bin/k3s"
BEFORE = f"{PROGRAM}.before"
"""The program that ran until then, for the way back."""
_NEW = f"{PROGRAM}.imagesmith"
IMAGES = "/var/lib/rancher/k3s/agent/images"
"""k3s loads whatever lies there at its start, so that nothing half-sent may."""
_IMAGES_NEW, _IMAGES_BEFORE = f"{IMAGES}.imagesmith", f"{IMAGES}.before"
_SEND_IMAGES_S = 3600
_SEND_S = 900
_DB = "/var/lib/rancher/k3s/server/db"
_VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.]+))?\+k3s(\d+)")


@dataclass(frozen=True, slots=True, order=True)
class Version:
    major: int
    minor: int
    patch: int
    final: bool
    """A release candidate comes before its release."""
    candidate: str
    build: int
    text: str

    @property
    def line(self) -> str:
        return f"v{self.major}.{self.minor}"


@dataclass(frozen=True, slots=True)
class Running:
    """A node that is to be upgraded."""

    node: str
    duty: str
    architecture: Architecture
    version: str
    """What runs, as the cluster says."""
    program: str
    """What lies there, as the node says; another where an upgrade was interrupted."""
    ready: bool
    images: str = ""
    """The digest of the container images that lie there for a k3s without internet; empty = none."""


@dataclass(frozen=True, slots=True)
class Program:
    """k3s for one architecture, on this machine."""

    architecture: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Images:
    """The container images of that k3s, on this machine, for a cluster that gets none from the internet."""

    architecture: str
    sha256: str
    name: str
    """Of the file on nodes: the same in every release."""

    @property
    def sent(self) -> str:
        return f"images for {self.architecture}"


def parse_version(text: str) -> Version:
    """Raises UsageError for what is none of k3s's."""
    found = _VERSION.fullmatch(text)
    if not found:
        raise UsageError(f"{text[:60]!r} is no version of k3s", hint="write it as v1.36.3+k3s1")
    major, minor, patch, candidate, build = found.groups()
    return Version(int(major), int(minor), int(patch), candidate is None, candidate or "", int(build), text)


def upgrade(
    nodes: Sequence[Running], target: str, programs: Iterable[Program], datastore: str, images: Iterable[Images] = ()
) -> tuple[Step, ...]:
    """All steps, the snapshot first, then the servers in their order, then the agents; none where all is done.

    `images` go to every node of their architecture. Raises UsageError with every reason against it at once.
    """
    wanted = parse_version(target)
    brought = {one.architecture: one for one in images}
    left = [
        one for one in nodes
        if not (one.version == target and one.program == target and one.ready)
        or _lacks(one, brought.get(one.architecture))
    ]  # fmt: skip
    by_architecture = {one.architecture: one for one in programs}
    _refuse(nodes, left, wanted, by_architecture)
    servers = [one for one in left if one.duty != "agent"]
    agents = [one for one in left if one.duty == "agent"]
    asked = next((one.node for one in nodes if one.duty != "agent"), "")
    steps: list[Step] = []
    ready = next((one.node for one in nodes if one.duty != "agent" and one.ready), "")
    # Without a server that is ready this goes on with an upgrade that was stopped, and began with a snapshot.
    if servers and ready and datastore == "etcd":
        name = "before-" + re.sub(r"[^a-z0-9.]", "-", target)
        steps.append(Run(ready, "save etcd to a snapshot of its own folder",
                         ("k3s", "etcd-snapshot", "save", "--name", name), limit_s=300))  # fmt: skip
    for one in (*servers, *agents):
        by = one.node if one.duty != "agent" else asked
        own = brought.get(one.architecture)
        steps += _upgrade_one(one, wanted, by_architecture.get(one.architecture), by, datastore, own)
    return tuple(steps)


def check(nodes: Sequence[Running], target: str) -> None:
    """Raises UsageError where no program would help, so that none need be fetched."""
    _raise(_reasons(nodes, parse_version(target)), target)


def _refuse(
    nodes: Sequence[Running], left: Sequence[Running], wanted: Version, programs: Mapping[str, Program]
) -> None:
    reasons = _reasons(nodes, wanted)
    lacking = sorted({one.architecture for one in left if one.program != wanted.text} - programs.keys())
    if lacking:
        reasons.append(f"there is no program for {', '.join(lacking)}: give it by --file")
    _raise(reasons, wanted.text)


def _raise(reasons: Sequence[str], target: str) -> None:
    if reasons:
        raise UsageError("\n  ".join([f"not upgraded to {target}:", *reasons]), hint="nothing was changed")


def _reasons(nodes: Sequence[Running], wanted: Version) -> list[str]:
    reasons = []
    for one in nodes:
        begun = one.program == wanted.text
        if not one.ready and not begun:
            way = f"bring it back first, or leave an agent out: --without {one.node}"
            reasons.append(f"{one.node} is not Ready; {way}")
        if not one.version:
            continue
        now = parse_version(one.version)
        if now > wanted:
            reasons.append(f"{one.node} runs {one.version} already; k3s does not go back")
        elif now.major != wanted.major or wanted.minor - now.minor > 1:
            following = f"v{now.major}.{now.minor + 1}"
            reasons.append(
                f"{one.node} runs {one.version}: no minor version may be skipped, so the newest {following} comes first"
            )
    return reasons


def _lacks(one: Running, images: Images | None) -> bool:
    return images is not None and images.sha256 != one.images


def _send_images(node: str, images: Images) -> Iterable[Step]:
    """Beside where k3s looks, until all of it is there."""
    script = f"mkdir -p {IMAGES} && cat >{_IMAGES_NEW} && sync {_IMAGES_NEW}"
    yield Run(node, "send the container images", ("sh", "-c", script), limit_s=_SEND_IMAGES_S, sends=images.sent)
    yield Run(node, "compare the images that arrived", ("sha256sum", _IMAGES_NEW), says=rf"{images.sha256}\s.*",
              limit_s=300)  # fmt: skip


def _put_images(node: str, images: Images, back: str) -> Iterable[Step]:
    """k3s loads them at its next start, and those of before no more; these stay until the node is Ready."""
    path = f"{IMAGES}/{images.name}"
    # One that was stopped here before has kept them already.
    keep = f"[ -e {_IMAGES_BEFORE} ] || [ ! -e {path} ] || ln {path} {_IMAGES_BEFORE}"
    script = f"{{ {keep}; }} && mv -f {_IMAGES_NEW} {path} && sync {IMAGES}"
    yield Run(node, "put the container images in place", ("sh", "-c", script), hint=back)


def _upgrade_one(
    one: Running, wanted: Version, program: Program | None, by: str, datastore: str, images: Images | None
) -> Iterable[Step]:
    node, server = one.node, one.duty != "agent"
    moved = f"mv {BEFORE} {PROGRAM}" + (f", mv {_IMAGES_BEFORE} {IMAGES}/{images.name}" if images else "")
    back = (
        f"the upgrade stopped here, the nodes after it are as they were. Look: ssh to {node}, journalctl -u "
        f"{unit_of(one.duty)} -e. Once the cause is gone the same command goes on here; back to {one.version} "
        f"on this node: {moved} and restart"
    )
    if images and _lacks(one, images):
        if one.program != wanted.text:
            # Of an upgrade before, that was stopped: they would be kept in the place of those that lie there now.
            yield Run(node, "remove images that an upgrade before has kept", ("rm", "-f", _IMAGES_BEFORE))
        yield from _send_images(node, images)
    if program and one.program != wanted.text:
        yield Run(node, "send the program", ("sh", "-c", f"umask 077 && cat >{_NEW} && sync {_NEW}"),
                  limit_s=_SEND_S, sends=program.architecture)  # fmt: skip
        yield Run(node, "compare what arrived", ("sha256sum", _NEW), says=rf"{program.sha256}\s.*", limit_s=60)
        yield Run(node, "let it be run", ("chmod", "0755", _NEW))
        yield Run(node, "ask it for its version", (_NEW, "--version"), limit_s=60,
                  says=rf"(?s)k3s version {re.escape(wanted.text)}\s.*")  # fmt: skip
        yield Run(node, "keep the program of before", ("ln", "-f", PROGRAM, BEFORE))
    if server and datastore == "sqlite":
        unit = unit_of(one.duty)
        yield Run(node, "stop k3s, pods go on", ("systemctl", "stop", unit), limit_s=180, hint=back)
        kept = f"{_DB}.before-{wanted.text}"
        copied = f'rm -rf "{kept}.new" && cp -a {_DB} "{kept}.new" && sync && mv "{kept}.new" "{kept}"'
        script = f'[ -e "{kept}" ] || {{ {copied}; }}'
        yield Run(node, f"copy its data to {kept}", ("sh", "-c", script), limit_s=300, hint=back)
    if images and _lacks(one, images):
        yield from _put_images(node, images, back)
    if one.program != wanted.text:
        yield Run(node, f"put {wanted.text} in place", ("mv", "-f", _NEW, PROGRAM), hint=back)
    yield restart(node, one.duty, back)
    if server:
        yield answers(node, back)
    yield is_ready(by, node, wanted.text, back)
    if images:
        yield Run(node, "remove the container images of before", ("rm", "-f", _IMAGES_BEFORE))
