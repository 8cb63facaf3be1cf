"""What every operating-system family can tell: the edits that make its image a node's, and what its boot promises."""

from __future__ import annotations

from typing import Protocol

from imagesmith.model import Base, Documents, Edit, Materials, Node, Profile, Promise


class Family(Protocol):
    """Pure: the same arguments give the same edits, in the order in which they are to be made."""

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

    def edits(
        self, node: Node, profile: Profile, base: Base, documents: Documents, materials: Materials
    ) -> tuple[Edit, ...]: ...

    def promises(self, node: Node, profile: Profile, base: Base) -> tuple[Promise, ...]: ...
