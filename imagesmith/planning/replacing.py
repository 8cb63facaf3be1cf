"""What it takes to replace a node by a new card under its name, and to add one. Called by `workflow.replace`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagesmith.cluster.k3s import unit_of
from imagesmith.errors import UsageError
from imagesmith.planning.health import KubeNode
from imagesmith.planning.life import ByHand, Run, Step, kubectl

DRAIN_S = 180
"""What its pods get to end, elsewhere begun anew by then."""
_MEMBER_S = 120
_BACKED_UP = (
    "its backup has that too: build {node} and flash a new card, switch it on, then imagesmith restore {node}. Without "
    "one, --empty founds the cluster anew, with nothing in it"
)
_NO_BACKUP = (
    "--empty founds the cluster anew, with nothing in it; save what you need first: k3s kubectl get ... -o yaml. With "
    "`backup:` in the inventory it could be restored (docs/backup.md)"
)
_REMOVE = "etcd.k3s.cattle.io/remove=true"
_REMOVED = r"jsonpath={.metadata.annotations.etcd\.k3s\.cattle\.io/removed-node-name}"


@dataclass(frozen=True, slots=True)
class Replacement:
    """A node that is to come back on a new card, and what is known of its cluster."""

    node: str
    duty: str
    servers: tuple[str, ...]
    """Every server of the inventory, this node too where it is one."""
    datastore: str
    server: str = ""
    """A server beside it that answers; empty = none does."""
    nodes: Mapping[str, KubeNode] | None = None
    """What the cluster says of its nodes; None = nobody could be asked."""
    answers: bool = False
    """Whether the node itself, on its old card, can be reached."""
    password_changed: bool = False
    """Its node password was drawn anew since it joined."""
    backed_up: bool = False
    """The inventory asks for backups of it."""


def replacement(wanted: Replacement, *, empty: bool, drain: bool = True) -> tuple[Step, ...]:
    """All steps in their order. Raises UsageError where the cluster would be lost, or is not there to be asked."""
    if wanted.duty != "agent":
        _refuse_loss(wanted, empty)
    if wanted.server and wanted.nodes is not None and not empty:
        return (*_in_cluster(wanted, drain), *_by_hand(wanted))
    if wanted.duty != "agent" and not empty:
        raise UsageError(
            f"no other server answers, so {wanted.node} can't be taken out of the cluster before it comes back",
            hint="bring one back first (imagesmith status says how they are)",
        )
    return (*_switched_off(wanted), *_by_hand(wanted))


def founds_anew(wanted: Replacement, *, empty: bool) -> bool:
    """Whether the vault must forget that the cluster was founded: the new card founds another."""
    return empty and wanted.duty != "agent"


def addition(node: str, duty: str, servers: Sequence[str], nodes: Mapping[str, KubeNode] | None) -> tuple[Step, ...]:
    """What adding a node takes beside its image. Raises UsageError where the cluster has it already."""
    if nodes is not None and node in nodes:
        raise UsageError(
            f"the cluster has a {node} already", hint=f"for a new card under its name: imagesmith replace {node}"
        )
    notes = [ByHand(f"imagesmith build {node}"), ByHand(f"imagesmith flash /dev/sdX, and switch {node} on")]
    if duty != "agent":
        notes.append(ByHand("imagesmith status, until it is Ready; only then the next server"))
        members = [one for one in nodes.values() if one.etcd] if nodes else []
        if len(members) == 1 and len(servers) > 1:
            notes.append(ByHand(
                "mind that two servers bear no loss at all: the cluster stops where either does, until the third is in"
            ))  # fmt: skip
    return tuple(notes)


def _refuse_loss(wanted: Replacement, empty: bool) -> None:
    others = [name for name in wanted.servers if name != wanted.node]
    if empty:
        alive = [name for name in others if wanted.nodes and name in wanted.nodes and wanted.nodes[name].ready]
        if alive and wanted.server:
            raise UsageError(
                f"--empty is for a cluster that is lost, and {', '.join(alive)} still has it",
                hint=f"imagesmith replace {wanted.node}, without --empty",
            )
        # Once the founding is forgotten, it is the inventory's first server again that founds.
        first = wanted.servers[0]
        if wanted.node != first:
            raise UsageError(
                f"{wanted.node} would found nothing: the next image of {first}, the inventory's first server, founds "
                f"the cluster anew, and {wanted.node} joins it",
                hint=f"imagesmith replace {first} --empty, then build {wanted.node} too; where {first} does not come "
                f"back, write {wanted.node} before it in the inventory",
            )
        return
    if not others or wanted.datastore != "etcd":
        raise UsageError(
            f"{wanted.node} is the only server: all that the cluster knows is on its card, and goes with it",
            hint=_BACKED_UP.format(node=wanted.node) if wanted.backed_up else _NO_BACKUP,
        )
    if wanted.nodes is None:
        return
    members = [one for one in wanted.nodes.values() if one.etcd]
    ready = [one for one in members if one.ready]
    needed = len(members) // 2 + 1
    if members and len(ready) < needed:
        raise UsageError(
            f"etcd has {len(members)} members and {len(ready)} of them are Ready, {needed} are needed: it can't take "
            f"{wanted.node} out",
            hint="bring a server back; where that can't be: docs/life.md, a cluster without a majority",
        )


def _in_cluster(wanted: Replacement, drain: bool) -> tuple[Step, ...]:
    node, server = wanted.node, wanted.server
    assert wanted.nodes is not None
    known = wanted.nodes.get(node)
    steps: list[Step] = []
    if known and known.ready and drain:
        words = ("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={DRAIN_S}s")
        hint = "a pod may not be moved (its disruption budget, or nobody owns it); --no-drain goes on without"
        steps.append(kubectl(server, f"move the pods of {node} elsewhere", *words, limit_s=DRAIN_S + 30, hint=hint))
    if known and known.etcd and known.member:
        steps.append(kubectl(server, f"ask etcd to let {node} go", "annotate", "--overwrite", "node", node, _REMOVE))
        words = ("get", "node", node, "-o", _REMOVED)
        steps.append(kubectl(server, "wait until it did", *words, until=r".+", limit_s=_MEMBER_S))
    steps += _switched_off(wanted)
    if known:
        steps.append(kubectl(server, f"forget {node}", "delete", "node", node, "--timeout=60s", limit_s=90))
    if wanted.password_changed:
        secret = ("-n", "kube-system", "delete", "secret", f"{node}.node-password.k3s", "--ignore-not-found")
        steps.append(kubectl(server, "forget its password, which is another now", *secret))
    return tuple(steps)


def _switched_off(wanted: Replacement) -> tuple[Step, ...]:
    """Two cards with one identity would fight: the old one stops, and must not come back."""
    off: list[Step] = []
    if wanted.answers:
        stop = ("systemctl", "stop", unit_of(wanted.duty))
        off.append(Run(wanted.node, "stop k3s on the old card", stop, limit_s=120))
    return (*off, ByHand(f"switch {wanted.node} off and take its old card out; never start it again"))


def _by_hand(wanted: Replacement) -> tuple[Step, ...]:
    node = wanted.node
    return (ByHand(f"imagesmith build {node}"), ByHand(f"imagesmith flash /dev/sdX, and switch {node} on"))
