"""The files that are fetched for an image beside its base: k3s, its container images, packages.

Called by `workflow.planned` for what the locks pin, and by `workflow.build`, which gets them.
"""

from __future__ import annotations

from pathlib import Path

from imagesmith.model import Base, Part, Supply
from imagesmith.workflow.target import Wanted


def supplies_of(found: Wanted, part: Part | None, base: Base, lock_path: Path) -> tuple[Supply, ...]:
    """What the locks pin for the image of what is wanted. Raises DocumentInvalid for a broken lock."""
    return ()
