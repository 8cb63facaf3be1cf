"""A node that comes back on a new card under its name, and one that is added.

Called by `cli.cluster`. Asks nodes over SSH, changes the running cluster as it was agreed, remembers in the vault what
the next image must know. The images themselves are `build`'s.
"""

from __future__ import annotations

from imagesmith.events import Listener, unheard
from imagesmith.planning.replacing import Replacement, addition, founds_anew, replacement
from imagesmith.remote.session import Session
from imagesmith.vault.index import read_index
from imagesmith.vault.names import OLD, node_password_name
from imagesmith.workflow.doing import Agree, agreed, do
from imagesmith.workflow.nodes import Rack, ask_cluster, reached, seen_alive
from imagesmith.workflow.sealed import require_vault
from imagesmith.workflow.vault import draw_missing, forget_founded, names_for


def replace(
    of: Rack, name: str, agree: Agree, listener: Listener = unheard, *, empty: bool = False, drain: bool = True
) -> tuple[str, ...]:
    """Take a node out of its cluster, so that its next card joins as the same node; what is left to a person.

    Raises UsageError where the cluster would be lost, Interrupted where it is not agreed, NodeUnreachable.
    """
    node = of.node(name).name
    with reached(of) as nodes:
        wanted = _known(of, nodes, node)
        if wanted.nodes is not None:
            seen_alive(of, nodes, wanted.server)
        steps = replacement(wanted, empty=empty, drain=drain)
        agreed(steps, agree)
        left = do(nodes, steps, listener=listener)
    if of.vault and founds_anew(wanted, empty=empty):
        forget_founded(of.vault)
    return left


def add(of: Rack, name: str, listener: Listener = unheard) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Draw what a node of the inventory lacks in the vault; the names of that, and what is left to a person.

    Raises UsageError where the cluster has it already, or its k3s cluster has no vault.
    """
    node = of.node(name).name
    require_vault(of.cluster, of.vault)
    drawn = draw_missing(of.vault, names_for([node], of.cluster), listener) if of.vault else ()
    with reached(of) as nodes:
        told = ask_cluster(nodes, [server for server in of.servers if server != node])
        steps = addition(node, of.duties[node], of.servers, told[1] if told else None)
        if told:
            seen_alive(of, nodes, told[0])
        return drawn, do(nodes, steps, listener=listener)


def _known(of: Rack, nodes: Session, node: str) -> Replacement:
    # The one that is replaced comes last: asked through it, nothing could be done once it is off.
    others = [server for server in of.servers if server != node]
    told = ask_cluster(nodes, others)
    return Replacement(
        node,
        of.duties[node],
        of.servers,
        of.cluster.k3s.datastore if of.cluster.k3s else "",
        told[0] if told else "",
        told[1] if told else None,
        nodes.answers(node) is None,
        bool(of.vault and node_password_name(node) + OLD in read_index(of.vault).secrets),
        bool(of.cluster.backup and of.cluster.backup.covers(node)),
    )
