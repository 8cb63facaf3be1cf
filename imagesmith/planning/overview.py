"""The plans of many nodes side by side, a line each: the answer of `plan --all`. Decides nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from imagesmith.model import Base, BuildPlan, FileSource, Network
from imagesmith.planning.explain import fetch_size
from imagesmith.units import show_size

_HEADINGS = ("NODE", "BOARD", "K3S ROLE", "BASE", "ADDRESS", "FETCHES", "BOOT TEST")


def overview(plans: Sequence[BuildPlan], cached: Collection[str]) -> str:
    """A table of the plans, and what all of them fetch together; `cached` names those whose base is in the cache."""
    rows = [_HEADINGS, *(_row(plan, plan.name in cached) for plan in plans)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    table = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join((*table, "", *_together(plans, cached))) + "\n"


def _row(plan: BuildPlan, cached: bool) -> tuple[str, ...]:
    size = 0 if cached else fetch_size(plan.base)
    return (
        plan.name,
        plan.board,
        plan.duty or plan.role,
        f"{plan.base.name} ({plan.base.family})",
        _address(plan.node.network),
        "unknown" if size is None else show_size(size) if size else "nothing",
        plan.machine.machine if plan.machine else "-",
    )


def _address(network: Network) -> str:
    return network.address or (f"DHCP, {network.reserved}" if network.reserved else "DHCP")


def _together(plans: Sequence[BuildPlan], cached: Collection[str]) -> Iterator[str]:
    """What is fetched, a base that several nodes share counted once."""
    bases: list[Base] = []
    for plan in plans:
        local = isinstance(plan.base.source, FileSource)
        if plan.name not in cached and not local and plan.base not in bases:
            bases.append(plan.base)
    sizes = [fetch_size(base) for base in bases]
    unknown = f" ({sizes.count(None)} of unknown size)" if None in sizes else ""
    images = f"{len(bases)} base image{'' if len(bases) == 1 else 's'}{unknown}"
    fetched = f"{images}{_sum(sizes)}" if bases else "nothing"
    yield f"{len(plans)} nodes; a build fetches {fetched}. All about one of them: imagesmith plan {plans[0].name}"


def _sum(sizes: Sequence[int | None]) -> str:
    known = sum(size or 0 for size in sizes)
    return f", {show_size(known)}" if known else ""
