"""k3s on a node: its units, its gate, its configuration. Called by `cluster.contents`."""

from __future__ import annotations

from imagesmith.model import Edit, Materials, Part, Profile, Promise


def edits(part: Part, profile: Profile, materials: Materials) -> tuple[Edit, ...]:
    return ()


def promises(part: Part) -> tuple[Promise, ...]:
    return ()


def packages(part: Part) -> tuple[str, ...]:
    return ()
