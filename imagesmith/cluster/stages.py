"""When which nodes go down in a power cut, and whether the battery lasts for it. Pure arithmetic.

Called by `profile.power_checks` for its complaints, and by `cluster.power` and `cluster.nut` for what nodes go by.
Times are the longest that something may take; a rack at rest has a battery that lasts longer than what is declared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imagesmith.model import STAGES, Part, Power, Stage

POLL_S = 5
"""How often everybody looks; upsmon's POLLFREQ, and ours."""
NOTICE_S = 15
"""Until every node knows what the UPS has told: its driver looks every 2 s, who asks upsd every POLL_S, twice."""
DEAD_S = 25
"""How long a UPS that was last seen on battery may be silent until it counts as empty; a multiple of POLL_S."""
FINAL_S = 5
"""NUT's FINALDELAY, for the word to whoever is logged in."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a sum, in words and seconds."""

    what: str
    seconds: int


def stage_of(part: Part, power: Power) -> Stage:
    """With whom the node goes down."""
    if part.node.name == power.primary:
        return "primary"
    return "workers" if part.duty == "agent" else "servers"


def others_stop_s(power: Power) -> int:
    """The longest that a node beside the primary takes to be off, pods not moved; 0 = there is none."""
    return max((power.stop_s[stage] for stage in power.thresholds if stage != "primary"), default=0)


def host_sync_s(power: Power) -> int:
    """How long the primary waits, once it gave the word, for the others to be off."""
    return NOTICE_S + others_stop_s(power)


def leaves_after(power: Power, stage: Stage) -> tuple[Span, ...]:
    """What a node of the stage still needs once its threshold is met, until it is off."""
    stop = Span(f"to stop {_WHO[stage]}", power.stop_s[stage])
    notices = Span("to notice it", NOTICE_S)
    if stage == "primary":
        waits = (Span("to wait for the others (HOSTSYNC)", host_sync_s(power)),) if others_stop_s(power) else ()
        return (notices, *waits, Span("for NUT's FINALDELAY", FINAL_S), stop)
    drains = (Span("to drain them", power.drain_s),) if stage == "workers" and power.drain_s else ()
    return (notices, *drains, stop)


def total_s(spans: tuple[Span, ...]) -> int:
    return sum(span.seconds for span in spans)


def left_s(power: Power, stage: Stage) -> int:
    """How long the battery lasts on once it holds what the stage's threshold says, at full load."""
    return power.runtime_s * power.thresholds[stage].below // 100


@dataclass(frozen=True, slots=True)
class Moment:
    stage: Stage
    goes_s: int
    """On battery for so long when the word to go down is given, at the latest."""
    off_s: int
    """And when the last of them is off, at the latest."""


def moments(power: Power) -> Iterator[Moment]:
    """The stages in their order, for a battery that was full."""
    for stage in STAGES:
        if stage in power.thresholds:
            goes = power.thresholds[stage].after_s
            yield Moment(stage, goes, goes + total_s(leaves_after(power, stage)))


_WHO: dict[Stage, str] = {"workers": "the workers", "servers": "the servers", "primary": "the primary"}
