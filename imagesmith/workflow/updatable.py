"""Which bases an `imagesmith update` is about: of one TARGET, of a board, of the inventory, of every board.

Called by `cli.cache`. Reads profiles and the inventory.
"""

from __future__ import annotations

from collections.abc import Iterable

from imagesmith.errors import UsageError
from imagesmith.model import Base, Board
from imagesmith.profile.load import Catalogue
from imagesmith.profile.schema import did_you_mean
from imagesmith.workflow.target import (
    TargetChoice,
    Wanted,
    all_wanted,
    catalogue_here,
    catalogue_near,
    inventory_of,
    looks_like_path,
)

Bases = tuple[tuple[Board, Base], ...]


def bases_meant(choice: TargetChoice) -> Bases | None:
    """The bases that are meant when no node and no profile is named; None when one is.

    A board means its bases; no TARGET the bases of the inventory's nodes, else those of every board; `--base` keeps
    those of that name. Raises UsageError for a base that none of the boards has, and for a TARGET that is nothing.
    """
    cluster = inventory_of(choice)
    catalogue = catalogue_near(choice.cluster.parent) if choice.cluster else catalogue_here()
    if choice.target:
        named = (cluster and cluster.node(choice.target)) or choice.target in catalogue.profiles
        if named or looks_like_path(choice.target):
            return None
        if choice.target not in catalogue.boards:
            raise _unknown(choice.target, [node.name for node in cluster.nodes] if cluster else [], catalogue)
        return _named(choice.base, _of_boards([catalogue.boards[choice.target]]))
    if cluster:
        return _unlike((found.profile.board, found.base) for found in all_wanted(choice))
    return _named(choice.base, _of_boards(_boards(catalogue)))


def nodes_meant(choice: TargetChoice, one: Wanted | None) -> tuple[Wanted, ...]:
    """The nodes whose other files an update is about: `one` that was named, else all of the inventory."""
    if one or choice.target:
        return (one,) if one else ()
    return all_wanted(choice) if inventory_of(choice) else ()


def _unknown(target: str, nodes: Iterable[str], catalogue: Catalogue) -> UsageError:
    known = {"boards": sorted(catalogue.boards), "nodes": list(nodes), "profiles": sorted(catalogue.profiles)}
    near = did_you_mean(target, [name for listed in known.values() for name in listed])
    listing = "; ".join(f"{what}: {', '.join(listed)}" for what, listed in known.items() if listed)
    return UsageError(f"there is no board, node or profile {target[:80]!r}{near}", hint=listing)


def _boards(catalogue: Catalogue) -> list[Board]:
    """Every board, and as profiles have them, who may bring bases of their own."""
    return [*catalogue.boards.values(), *(profile.board for profile in catalogue.profiles.values())]


def _of_boards(boards: Iterable[Board]) -> Bases:
    return _unlike((board, base) for board in boards for base in board.bases)


def _unlike(bases: Iterable[tuple[Board, Base]]) -> Bases:
    return tuple({(board.name, base.name): (board, base) for board, base in bases}.values())


def _named(name: str, bases: Bases) -> Bases:
    if not name:
        return bases
    known = sorted({base.name for _, base in bases})
    if name not in known:
        near = did_you_mean(name, known)
        raise UsageError(f"there is no base {name[:80]!r}{near}", hint=f"there is: {', '.join(known)}")
    return tuple(one for one in bases if one[1].name == name)
