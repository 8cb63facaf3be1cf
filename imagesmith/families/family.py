"""What every operating-system family can tell: the edits that make its image a node's, and what its boot promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from imagesmith.model import Base, Documents, Edit, Materials, Node, Profile, Promise


@dataclass(frozen=True, slots=True)
class Given:
    """The node that an image is to become, and what it is made of."""

    node: Node
    profile: Profile
    base: Base
    documents: Documents
    materials: Materials


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
        """What of it has been booted, one clause for `profiles show`."""
        ...

    def edits(self, given: Given) -> tuple[Edit, ...]: ...

    def promises(self, given: Given) -> tuple[Promise, ...]: ...
