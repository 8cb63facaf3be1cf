"""Nodes' backups, told and judged; and what it takes to lay one back, as steps. For `health` and `workflow.backup`.

Pure: the time is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from imagesmith.cluster.k3s import unit_of
from imagesmith.errors import ContentMalformed, UsageError
from imagesmith.planning.life import ByHand, Run, Step, answers, is_ready

AHEAD = timedelta(days=1)
"""How far a node's clock may be before this one: more is no zone mixed up, but a clock that is wrong."""
LATE = timedelta(days=2)
"""Twice the interval: one night may fail, and is made up for in the next."""
BACKUP = "/usr/lib/imagesmith/backup-node"
RESTORE = "/usr/lib/imagesmith/backup-restore"
IDENTITY = "what opens it"
"""The name of what steps send where backups are encrypted."""
LONGEST_S = 10 * 3600
_LACKS = (
    "its image was built without backups (it is in `backup: without`, or its card is older): give it a card that has "
    "them, or switch it off until this is done; nothing was changed"
)
_NAME = re.compile(r"(.+)-([0-9]{8}T[0-9]{6}Z)\.tar\.zst(\.age)?")


@dataclass(frozen=True, slots=True)
class Kept:
    """A whole backup, as the place where it is kept tells."""

    name: str
    when: datetime
    size: int

    @property
    def encrypted(self) -> bool:
        return self.name.endswith(".age")


@dataclass(frozen=True, slots=True)
class Restoring:
    """A backup that is to be laid, and whose it is."""

    node: str
    duty: str
    kept: Kept
    servers: Sequence[str]
    """Every server of the inventory."""
    datastore: str
    silent: Sequence[str] = ()
    """Those of them that do not answer."""


def judged(told: Mapping[str, str], now: datetime) -> Iterable[str]:
    """What is wrong with a node's backups, by the facts `backup.` that it tells; nothing where it makes none."""
    since = told.get("backup.asked_since", "")
    if not since:
        return
    state, reason = told.get("backup.state", ""), told.get("backup.reason", "")
    if state == "failed":
        yield f"its backup failed: {reason}"
    elif state == "held":
        yield f"it is not backed up: {reason}"
    good = last_good(told)
    if good and now - good > LATE:
        yield f"its last backup is {(now - good).days} days old"
    if good and good - now > AHEAD:
        yield f"its last backup is of {good:%Y-%m-%d}, which is yet to come: its clock was wrong, or this one is"
    old = since.isdecimal() and now - datetime.fromtimestamp(int(since), UTC) > LATE
    if not good and old and state not in ("failed", "held"):
        yield "it was never backed up"


def last_good(told: Mapping[str, str]) -> datetime | None:
    """When a node's last good backup was made; None = none was, or nobody can read when."""
    try:
        return datetime.strptime(told.get("backup.last_good", ""), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def read_kept(output: bytes, where: str) -> tuple[Kept, ...]:
    """What `backup-restore list` printed. Raises ContentMalformed."""
    found = []
    for line in output.decode("utf-8", "replace").splitlines():
        name, _, size = line.partition(" ")
        stamp = _NAME.fullmatch(name)
        if not stamp or not size.isdecimal():
            raise ContentMalformed("its list of backups can't be read", where=where)
        found.append(Kept(name, datetime.strptime(stamp[2], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC), int(size)))
    return tuple(sorted(found, key=lambda one: one.when))


def chosen(kept: Sequence[Kept], date: str, node: str) -> Kept:
    """The newest, or the newest of a date or before it; or the one of a name. Raises UsageError."""
    if not kept:
        raise UsageError(f"there is no backup of {node}", hint=f"imagesmith backup run {node} makes one")
    if not date:
        return kept[-1]
    for one in kept:
        if one.name == date:
            return one
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", date):
        raise UsageError(f"{date[:80]!r} is no date and no backup's name", hint="write it like 2026-11-23, in UTC")
    try:
        end = datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    except ValueError:
        raise UsageError(f"there is no day {date}") from None
    before = [one for one in kept if one.when < end]
    if not before:
        raise UsageError(
            f"there is no backup of {node} from {date} or before", hint=f"the oldest is of {kept[0].when:%Y-%m-%d}"
        )
    return before[-1]


def restoration(wanted: Restoring) -> tuple[Step, ...]:
    """A node's backup back onto its fresh card."""
    node, name = wanted.node, wanted.kept.name
    # A card knows of as many servers as there were when it was made; the inventory knows of those of now.
    what = "all" if wanted.duty != "agent" and len(wanted.servers) == 1 else "files"
    steps: list[Step] = [_checked(wanted), _laid(wanted, "lay it, with k3s and its pods stopped", "lay", what)]
    if wanted.duty == "agent" or not wanted.duty:
        return tuple(steps)
    if len(wanted.servers) > 1:
        return (
            *steps,
            ByHand(
                f"mind that the state of k3s is not laid: {node} is one of {len(wanted.servers)} servers, and gets it "
                f"from the others; where its card was lost: imagesmith replace {node}. Where all of them lost it: "
                f"imagesmith restore {node} --snapshot --from {name}"
            ),
        )
    return (*steps, answers(node))


def from_snapshot(wanted: Restoring) -> tuple[Step, ...]:
    """A whole cluster with etcd, from the snapshot in one server's backup: the other servers forget what they have.

    Raises UsageError where there is no etcd, or the node is no server.
    """
    node = wanted.node
    if wanted.duty == "agent":
        raise UsageError(f"{node} is an agent; snapshots of the cluster are in the backups of servers")
    if wanted.datastore != "etcd":
        raise UsageError("the cluster's state is a file on its one server", hint=f"imagesmith restore {node}")
    others = [name for name in wanted.servers if name != node]
    there = [name for name in others if name not in wanted.silent]
    steps: list[Step] = [ByHand(f"keep {name} switched off; its next card joins") for name in wanted.silent]
    # A server that could not join again would stay stopped, so all of them are asked before anything.
    steps += [Run(name, "see that it can restore", (RESTORE, "hello"), hint=_LACKS) for name in (node, *there)]
    steps.append(_checked(wanted))
    steps += [Run(name, "stop k3s", ("systemctl", "stop", unit_of("server")), limit_s=300) for name in there]
    steps += [_laid(wanted, "begin etcd anew from it", "snapshot"), answers(node)]
    for name in there:
        steps.append(Run(name, "forget its datastore, and join", (RESTORE, "rejoin"), limit_s=600))
        steps.append(is_ready(node, name))
    return tuple(steps)


def _checked(wanted: Restoring) -> Run:
    """Nothing is changed before all of it was read through once."""
    return _laid(wanted, f"read {wanted.kept.name} through", "check")


def _laid(wanted: Restoring, doing: str, *words: str) -> Run:
    sends = IDENTITY if wanted.kept.encrypted else ""
    return Run(wanted.node, doing, (RESTORE, *words, wanted.kept.name), limit_s=LONGEST_S, sends=sends)
