"""Systems that are known and can't be set up here: told by name, with the reason, instead of as unknown.

Called by `families.recognise`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from imagesmith.families.findings import Clue, Findings


@dataclass(frozen=True, slots=True)
class Foreign:
    title: str
    clues: tuple[Clue, ...]
    claims: Callable[[Findings], str]
    """What shows it, one clause; empty when it is something else."""
    reason: str
    hint: str


FOREIGN: tuple[Foreign, ...] = ()
