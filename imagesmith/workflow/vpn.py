"""The members of a cluster's ZeroTier network: who they will be, and letting them in before they were switched on.

Called by `cli.vpn`. Reads the vault's index and opens no vault; asks Central or a controller where one is named.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagesmith.cluster import zerotier
from imagesmith.errors import ImagesmithError, UsageError
from imagesmith.events import Listener, StepFinished, StepStarted, unheard
from imagesmith.formats.zerotier import read_member
from imagesmith.model import Cluster, Membership, ZeroTier
from imagesmith.planning.members import to_let_in
from imagesmith.remote.zerotier import Door
from imagesmith.vault.index import read_index
from imagesmith.workflow.secrets import open_file
from imagesmith.workflow.vault import draw_missing


@dataclass(frozen=True, slots=True)
class LetIn:
    members: tuple[Membership, ...]
    """All that the inventory wants."""
    changed: tuple[str, ...] = ()
    """The names of those that were let in now."""
    asked: str = ""
    """Who was; empty = nobody, since the inventory names nobody."""


def network_in(cluster: Cluster) -> ZeroTier:
    """Raises UsageError where there is none."""
    found = zerotier.asked(cluster)
    if found is None:
        hint = "add `vpn: {zerotier: {network: ...}}`, see docs/vpn.md"
        raise UsageError("this inventory has no ZeroTier network", where=cluster.path, hint=hint)
    return found


def members(cluster: Cluster, vault: Path, listener: Listener = unheard) -> tuple[Membership, ...]:
    """As the inventory wants them, in its order; missing identities are drawn. Raises what `read_index` does."""
    found = network_in(cluster)
    draw_missing(vault, zerotier.secrets(cluster), listener)
    kept = read_index(vault).secrets
    nodes = [node for node in cluster.nodes if node.name in found.members]
    made = []
    for node in nodes:
        identity = read_member(kept[zerotier.secret_name(node.name)].public)
        address = zerotier.address_of(node, cluster)
        made.append(Membership(identity.address, node.name, (address,) if address else (), True, str(identity)))
    return tuple(made)


def authorise(cluster: Cluster, vault: Path, listener: Listener, sleep: Callable[[float], None] = time.sleep) -> LetIn:
    """Let all members in, whether they were ever heard of. Nobody, where the inventory says that a person does it.

    Raises DocumentInvalid for a token that can't be read, UsageError with all that is in the way before anything was
    changed, and what `Door` raises.
    """
    found, wanted = network_in(cluster), members(cluster, vault, listener)
    if found.api is None:
        return LetIn(wanted)
    door = Door(found.api, open_file(found.api.token, listener), sleep)
    listener(StepStarted("authorise", f"asking {found.api.url}"))
    missing = to_let_in(door.network(found.network), wanted, door.members(found.network))
    for number, one in enumerate(missing):
        try:
            door.let_in(found.network, one)
        except ImagesmithError as error:
            raise error.within(f"while letting {one.name} in, after {number} of {len(missing)}") from error
    listener(StepFinished("authorise", f"{len(missing)} let in, {len(wanted) - len(missing)} were"))
    return LetIn(wanted, tuple(one.name for one in missing), found.api.url)
