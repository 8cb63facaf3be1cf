"""Who is to be let into a ZeroTier network, compared with who is: what is to be done, and what stands in its way.

Called by `workflow.vpn`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

from imagesmith.errors import UsageError
from imagesmith.model import Membership, ZeroTierNetwork


def to_let_in(
    network: ZeroTierNetwork, wanted: Sequence[Membership], there: Iterable[Membership]
) -> tuple[Membership, ...]:
    """Those that are not let in yet, or not as they should be. Raises UsageError with all that is in the way."""
    known = {one.member: one for one in there}
    ours = {one.member for one in wanted}
    problems = [problem for one in wanted for problem in _wrong(one, network, known, ours)]
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise UsageError(
            f"nobody was let in:\n{listed}", where=f"network {network.network}",
            hint="correct it in the inventory, or on the network's page, and run it again",
        )  # fmt: skip
    return tuple(one for one in wanted if not _is_in(one, known.get(one.member)))


def _wrong(one: Membership, network: ZeroTierNetwork, known: dict[str, Membership], ours: set[str]) -> Iterable[str]:
    there = known.get(one.member)
    if there and there.identity and there.identity != one.identity:
        yield (
            f"{one.name}: somebody else's identity has its address {one.member}; take that member away there, or the "
            "node's identity out of the vault, which draws another"
        )
    elif there and there.name and there.name != one.name:
        yield f"{one.name}: its identity {one.member} is already there as {there.name!r}; give it that name there"
    for address in one.addresses:
        if not any(_holds(route, address) for route in network.routes):
            routes = ", ".join(network.routes) or "none"
            yield f"{one.name}: {address} is in none of the network's managed routes ({routes})"
        for other in known.values():
            if other.member not in ours and address in other.addresses:
                yield f"{one.name}: {address} is the member {other.member}'s ({other.name or 'without a name'})"


def _holds(route: str, address: str) -> bool:
    try:
        return ip_address(address) in ip_network(route, strict=False)
    except ValueError:
        return False


def _is_in(wanted: Membership, there: Membership | None) -> bool:
    return (
        there is not None and there.let_in and there.name == wanted.name
        and (not wanted.addresses or set(there.addresses) == set(wanted.addresses))
    )  # fmt: skip
