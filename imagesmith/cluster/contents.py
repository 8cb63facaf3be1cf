"""All that a node's part in its cluster puts into its image. Called by `planning.build`."""

from __future__ import annotations

from imagesmith.model import Edit, Materials, Part, Profile, Promise


def edits(part: Part, profile: Profile, materials: Materials) -> tuple[Edit, ...]:
    """In the order in which they are to be made, after those of the node's family."""
    return ()


def promises(part: Part) -> tuple[Promise, ...]:
    """What the first boot must bring about of it."""
    return ()


def packages(part: Part) -> tuple[str, ...]:
    """The names of Debian packages that it needs, whether a base has them or not."""
    return ()
