"""Who founds a cluster, and since when it is there: facts of a vault's index that count for its authorities alone.

Called by `workflow`. Under other authorities, imported or drawn anew, another cluster is meant, which nobody has seen:
what is remembered carries the hash of its authorities, and is as nothing beside another hash. Indexes of before have
facts without one, which count until the authorities change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagesmith.vault.names import CA, CA_HASH, FOUNDED, FOUNDER, FOUNDING_OF, ROTATING

if TYPE_CHECKING:
    from imagesmith.vault.store import Change


@dataclass(frozen=True, slots=True)
class Founding:
    founder: str = ""
    """The node whose image was first built to found it; empty = none."""
    founded: str = ""
    """Since when it is known to exist, UTC; empty = it is not, as far as the vault knows."""


def founding(facts: Mapping[str, str]) -> Founding:
    """What is remembered of the cluster whose authorities the vault has."""
    if FOUNDING_OF in facts and facts[FOUNDING_OF] != facts.get(CA_HASH):
        return Founding()
    return Founding(facts.get(FOUNDER, ""), facts.get(FOUNDED, ""))


def remember_founder(change: Change, node: str) -> None:
    """`node` has an image that founds the cluster."""
    _remember(change, Founding(node, founding(change.index.facts).founded))


def remember_founded(change: Change, when: str) -> None:
    """The cluster exists."""
    _remember(change, Founding(founding(change.index.facts).founder, when))


def bind(change: Change) -> None:
    """Before the authorities change: what is remembered so far is of those that the vault has now."""
    facts = change.index.facts
    if FOUNDING_OF not in facts and (FOUNDER in facts or FOUNDED in facts):
        change.remember({FOUNDING_OF: facts.get(CA_HASH, "")})


def _remember(change: Change, found: Founding) -> None:
    of = change.index.facts.get(CA_HASH, "")
    # From now on there is something under these authorities, so that they are kept when others come.
    change.remember({FOUNDER: found.founder, FOUNDED: found.founded, FOUNDING_OF: of, ROTATING + CA: ""})
