"""What every operating-system family can tell: what its images look like, and what makes one of them a node's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from imagesmith.families.findings import Clue, Findings
from imagesmith.model import Base, Documents, Edit, Materials, Node, Profile, Promise, SealedHostKey


@dataclass(frozen=True, slots=True)
class Given:
    """The node that an image is to become, and what it is made of."""

    node: Node
    profile: Profile
    base: Base
    documents: Documents
    materials: Materials
    host_keys: tuple[SealedHostKey, ...] = ()
    """What a vault keeps for the node; empty = it makes its own."""


class Family(Protocol):
    """Pure: what is given decides the edits, in the order in which they are to be made, and the promises."""

    @property
    def name(self) -> str:
        """As a base's `family` names it."""
        ...

    @property
    def wired(self) -> str:
        """What network-config calls the wired interfaces; some renderers take it for their name."""
        ...

    @property
    def proven(self) -> str:
        """What was shown of it and how, one clause in the words of docs/boards.md."""
        ...

    @property
    def facts(self) -> Mapping[str, str]:
        """What a base may say otherwise under `facts`, as file names, with what is taken where it does not."""
        ...

    @property
    def clues(self) -> tuple[Clue, ...]:
        """The paths in an image that `claims` and `objections` ask for."""
        ...

    def claims(self, found: Findings) -> str:
        """What shows that an image is of this family, one clause; empty when it is not. Exactly one family claims."""
        ...

    def objections(self, found: Findings, base: Base) -> tuple[str, ...]:
        """What in an image of this family the edits would not fit, each a clause that says what was found."""
        ...

    def edits(self, given: Given) -> tuple[Edit, ...]: ...

    def promises(self, given: Given) -> tuple[Promise, ...]: ...


def fact(family: Family, base: Base, name: str) -> str:
    """A fact as the base says it, else as the family takes it."""
    return base.facts.get(name, family.facts[name])


def facts_of(family: Family, base: Base) -> Mapping[str, str]:
    """All facts of a family, as the base says them where it does."""
    return {name: fact(family, base, name) for name in family.facts}
