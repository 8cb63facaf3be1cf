"""An inventory that was read and not yet found consistent: its cluster, and where each of its words stands.

Made by `profile.cluster` for `cluster_checks` and `network_checks`, which complain about what takes several of its
tables to see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imagesmith.model import Cluster, Node, Profile, Role
from imagesmith.profile.schema import Fields


@dataclass(frozen=True, slots=True)
class Entry:
    """One of its nodes."""

    node: Node
    profile: Profile | None
    """None where the inventory names one that there is not; that was complained about."""
    fields: Fields
    zerotier: str = ""
    """Its address in the ZeroTier network, as `ZeroTier.members` has it, or `none`."""

    @property
    def role(self) -> Role | None:
        return self.node.role or (self.profile.role if self.profile else None)


@dataclass(frozen=True, slots=True)
class Inventory:
    cluster: Cluster
    entries: tuple[Entry, ...]
    top: Fields
    tables: Mapping[str, Fields]
    """Those of the inventory's own tables that are written: `k3s`, `network`, `ssh` and others."""

    @property
    def servers(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.role == "server")

    @property
    def roles_known(self) -> bool:
        """Whether every node's profile was found, so that its servers can be counted."""
        return all(entry.role for entry in self.entries)

    def says(self, table: str, key: str) -> bool:
        return table in self.tables and self.tables[table].has(key)

    def complain(self, table: str, key: str, message: str, hint: str = "") -> None:
        """At the key of a table; where the table is not written, at `k3s`, which made it matter."""
        if table in self.tables:
            self.tables[table].complain(key, message, hint)
        else:
            self.top.at(f"{table}.{key}").complain(self.top.line_of("k3s"), message, hint)
