"""How nodes that run are: every one asked over SSH, side by side, and the cluster asked for what it thinks of them.

Called by `cli.cluster`. Changes nothing on a node; that the cluster was seen is remembered in the vault.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from imagesmith import resources
from imagesmith.errors import ContentMalformed, NodeUnreachable
from imagesmith.planning.health import Facts, State, read_facts, wrongs
from imagesmith.remote.session import Session
from imagesmith.workflow.nodes import Rack, ask_cluster, each, reached, seen_alive

_SCRIPT = "firstboot/cluster/node-status"
LIMIT_S = 60.0
"""For one node; a Raspberry Pi 3 takes some seconds to start k3s for its version."""


@dataclass(frozen=True, slots=True)
class Status:
    states: tuple[State, ...]
    wrong: tuple[str, ...]
    """All that is wrong, a line each; none where all is well."""
    server: str = ""
    """Who told of the cluster; empty = nobody."""


def status(of: Rack, names: Sequence[str] = (), *, limit_s: float = LIMIT_S) -> Status:
    """The nodes of these names, else all. Raises UsageError for a name that is none."""
    chosen = tuple(of.node(name).name for name in names) or tuple(of.duties)
    script = resources.materials().files[_SCRIPT]
    with reached(of) as nodes:
        found = each(chosen, lambda name: _ask(nodes, name, of.duties[name], script, limit_s))
        answering = [name for name in of.servers if name not in found or found[name].facts]
        told = ask_cluster(nodes, answering)
        if told:
            seen_alive(of, nodes, told[0])
    if told:
        found = {name: replace(state, kube=told[1].get(name)) for name, state in found.items()}
    states = tuple(found.values())
    wrong = wrongs(states, datetime.now(UTC), asked_cluster=told is not None)
    if not of.servers:
        wrong = tuple(line for line in wrong if not line.startswith("cluster:"))
    return Status(states, wrong, told[0] if told else "")


def _ask(nodes: Session, name: str, duty: str, script: bytes, limit_s: float) -> State:
    try:
        return State(name, duty, facts=facts_of(nodes, name, script, limit_s))
    except (NodeUnreachable, ContentMalformed) as error:
        return State(name, duty, silence=error.what + (f" ({error.hint})" if error.hint else ""))


def facts_of(nodes: Session, name: str, script: bytes | None = None, limit_s: float = LIMIT_S) -> Facts:
    """What one node tells of itself. Raises NodeUnreachable, ContentMalformed."""
    script = script or resources.materials().files[_SCRIPT]
    before = time.time()
    done = nodes.run(name, ("sh", "-s"), stdin=script, limit_s=limit_s, doing="telling its state")
    return read_facts(done.stdout, name, (before, time.time()))
