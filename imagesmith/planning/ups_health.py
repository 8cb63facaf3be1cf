"""What a node tells of its UPS, judged. Called by `planning.health`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from imagesmith.units import show_duration

DRAIN_CERTIFICATE = "etc/imagesmith/drain/drain.crt"
"""What the end of a node's certificate for draining is told by."""


def wrong_ups(told: Callable[[str], str]) -> Iterable[str]:
    """All that is wrong, in words; nothing where the node has no UPS. `told` gives a fact by its name."""
    if not told("ups.name"):
        return
    status = told("ups.status").split()
    if not status:
        yield f"it hears nothing of the UPS {told('ups.name')}: {_silence(told('ups.error'))}"
        return
    if "OB" in status:
        yield f"it is on battery{_left(told('ups.charge'), told('ups.runtime'))}"
    elif "OL" not in status:
        yield f"its UPS is neither on mains nor on battery: {' '.join(status)[:60]}"
    if "FSD" in status:
        yield "the UPS's primary has given the word: the whole rack goes down"
    if "LB" in status:
        yield "the UPS's battery is low"
    if "RB" in status:
        yield "the UPS's battery is to be replaced"
    if "OVER" in status:
        yield "the UPS bears more than it can"


def ups_word(told: Mapping[str, str]) -> str:
    """The UPS in a word or two, as `OL CHRG 80%`; `?` where it is not heard, empty where there is none."""
    if "ups.name" not in told:
        return ""
    charge = told.get("ups.charge", "")
    return f"{told.get('ups.status') or '?'}{f' {charge[:8]}%' if charge else ''}"


def _silence(error: str) -> str:
    known = {
        "Data stale": "the primary has lost it; is its cable plugged in?",
        "Driver not connected": "the primary's driver does not run; is its cable plugged in?",
    }
    if error in known:
        return known[error]
    return f"its primary does not answer ({error[:80]})" if error else "upsc did not answer; is NUT installed?"


def _left(charge: str, runtime: str) -> str:
    left = [f"{charge[:8]}%"] if charge.replace(".", "", 1).isdecimal() else []
    seconds = runtime.partition(".")[0]
    if seconds.isdecimal() and int(seconds):
        left.append(f"which it says lasts {show_duration(int(seconds[:6]))}")
    return f": {', '.join(left)}" if left else ""
