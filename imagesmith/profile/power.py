"""Reads `power:` of an inventory: the UPS, who has its cable, how long it lasts, when which nodes go down.

Called by `profile.cluster`; what takes the nodes to decide is `power_checks`'. The drivers that are known are data,
read here too: profiles/cluster/ups-drivers.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from imagesmith.errors import Problem
from imagesmith.model import STAGES, Power, Stage, Threshold, Ups, UpsDriver
from imagesmith.profile import names
from imagesmith.profile.document import Listing, Scalar, Value
from imagesmith.profile.schema import (
    Fields,
    Kind,
    Place,
    boolean,
    choice,
    did_you_mean,
    listed,
    mapping,
    parsed,
    read_document,
    settle,
    table,
    text,
)
from imagesmith.units import parse_duration

STOP_S = 90
"""How long a node takes to be off where nobody said: pods have 30 s, the rest is k3s's and the system's."""
T = TypeVar("T")
_LONGEST_S = 24 * 3600
_NO_DRIVER = UpsDriver("")


def load_drivers(content: str, file: str) -> dict[str, UpsDriver]:
    """The drivers that are known, by name. Raises DocumentInvalid."""
    problems: list[Problem] = []
    kind = mapping(_driver_name, table(_driver))

    def read(fields: Fields) -> dict[str, UpsDriver]:
        return {name: replace(found, name=name) for name, found in fields.need("drivers", kind, {}).items()}

    return settle(read_document(content, file, read, problems), problems)


def read_power(fields: Fields, drivers: Mapping[str, UpsDriver]) -> Power:
    """What is said; `primary` is empty where nothing is, see `power_checks.settled`."""
    said = fields.take("stop", table(lambda inner: _each_stage(inner, parsed(_duration))), {})
    power = Power(
        ups=fields.need("ups", table(lambda inner: _ups(inner, drivers)), Ups("", _NO_DRIVER)),
        primary=fields.take("primary", _one_node, ""),
        runtime_s=fields.need("runtime", parsed(_duration), 0),
        thresholds=fields.need("stages", table(lambda inner: _each_stage(inner, table(_threshold))), {}),
        stop_s={stage: said.get(stage, STOP_S) for stage in STAGES},
        drain_s=fields.take("drain", parsed(_duration), 0),
        when_back=fields.take("when_back", choice("stay", "cycle"), "stay"),
        without=tuple(dict.fromkeys(fields.take("without", listed(text(names.host_name)), ()))),
    )
    if power.when_back == "cycle" and power.ups.driver.name and not power.ups.driver.cuts:
        message = f"the driver {power.ups.driver.name} can't switch the UPS off and on, so nothing would come back"
        fields.complain("when_back", message, "write `when_back: stay`, and switch the workers on by hand")
    return power


def _ups(fields: Fields, drivers: Mapping[str, UpsDriver]) -> Ups:
    known = fields.take("driver", text(lambda name: _known(name, drivers)), "")
    own = fields.take("own_driver", text(_driver_name), "")
    if fields.has("driver") == fields.has("own_driver"):
        found = "both are there" if fields.has("driver") else "neither is there"
        message = f"a UPS has one driver of NUT: `driver`, one that is known, or `own_driver`, any other; {found}"
        fields.complain("own_driver" if fields.has("driver") else "driver", message, "like driver: riello_usb")
    ups = Ups(
        name=fields.take("name", text(_ups_name), "ups"),
        driver=drivers.get(known, UpsDriver(known or own)),
        port=fields.take("port", text(_port), "auto"),
        options=fields.take("options", mapping(_option, _option_value), {}),
        usb=fields.take("usb", text(_usb), ""),
    )
    if own in drivers:
        fields.complain("own_driver", f"the driver {own} is known", f"write `driver: {own}`")
    return ups


def _driver(fields: Fields) -> UpsDriver:
    return UpsDriver(
        name="",
        usb=fields.take("usb", listed(text(_usb)), ()),
        package=fields.take("package", text(names.word), ""),
        cuts=fields.take("cuts", boolean, True),
    )


def _each_stage(fields: Fields, kind: Kind[T]) -> dict[Stage, T]:
    found = {stage: fields.take(stage, kind, None) for stage in STAGES}
    return {stage: value for stage, value in found.items() if value is not None}


def _threshold(fields: Fields) -> Threshold:
    return Threshold(fields.need("after", parsed(_duration), 0), fields.need("below", _percent, 0))


def _percent(value: Value, place: Place) -> int | None:
    """Hundredths of the battery, as `60%`."""

    def parse(word: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}%?", word):
            raise ValueError(f"{word[:40]!r} is not a share of the battery; write it like 60%")
        found = int(word.removesuffix("%"))
        if not 1 <= found <= 100:
            raise ValueError(f"{word} is not between 1% and 100%, and no battery holds that")
        return found

    return parsed(parse)(value, place)


def _one_node(value: Value, place: Place) -> str | None:
    """A UPS has one cable; who writes a list is told so, not that a list is no text."""
    if isinstance(value, Listing) and len(value.items) > 1:
        written = ", ".join(item.text for item in value.items if isinstance(item, Scalar))
        message = f"two primaries ({written}): the UPS has one cable, and who has it switches the UPS off"
        place.complain(value.line, message, "name the one node that the cable leads to")
        return None
    return text(names.host_name)(value, place)


def _duration(word: str) -> int:
    found = parse_duration(word)
    if not 1 <= found <= _LONGEST_S:
        raise ValueError(f"{word[:40]!r} is not between 1s and 24h")
    return found


def _known(name: str, drivers: Mapping[str, UpsDriver]) -> str:
    if name not in drivers:
        raise ValueError(
            f"{name[:60]!r} is none of the drivers that are known{did_you_mean(name, drivers)} "
            f"(known: {', '.join(sorted(drivers))}); any other driver of NUT is named by `own_driver`"
        )
    return name


def _driver_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", name):
        raise ValueError(f"{name[:60]!r} is not a driver of NUT; write it as its program is called, like riello_usb")
    return name


def _ups_name(name: str) -> str:
    # As a unit's instance, a section of ups.conf and a word of upsc it needs no quotes anywhere.
    if not re.fullmatch(r"[a-z][a-z0-9]{0,30}", name):
        raise ValueError(f"{name[:60]!r} is not a UPS's name; use small letters and digits, like ups or riello")
    return name


def _port(word: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9/][A-Za-z0-9/_.:@-]{0,120}", word):
        raise ValueError(f"{word[:60]!r} is not a port; write auto for USB, /dev/ttyS0, or the UPS's address")
    return word


def _usb(word: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{4}", word):
        raise ValueError(f"{word[:40]!r} is not what lsusb calls a device; write it like 04b4:5500, quoted")
    return word


def _option(word: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,60}", word) or word in ("driver", "port", "desc"):
        raise ValueError(f"{word[:60]!r} is not an option of ups.conf that goes here; see the driver's manual page")
    return word


def _option_value(value: Value, place: Place) -> str | None:
    """What stands behind the = of ups.conf; `true` stands for a word alone."""

    def check(word: str) -> str:
        if not re.fullmatch(r"[ !#-\[\]-~]{1,200}", word):
            raise ValueError(f"{word[:60]!r} can't be written to ups.conf: no quotes, no backslash, one line")
        return word

    found = text(check)(value, place)
    return "" if found == "true" else found
