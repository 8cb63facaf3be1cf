"""What is settled before a device is written: whether it may be, and whether the user says so.

Called by every workflow that writes to devices. Touches none of them; it asks through what `cli` gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagesmith.errors import DeviceRefused, Interrupted
from imagesmith.model import Device, Refusal
from imagesmith.planning.receipt import columns
from imagesmith.planning.refusals import expected_answer, has_stable_name, refusals, unmountable, why_typed
from imagesmith.units import show_size


@dataclass(frozen=True, slots=True)
class Question:
    """Asked before anything is written."""

    devices: tuple[Device, ...]
    facts: tuple[str, ...]
    """Lines that tell what will be lost, and what comes instead."""
    expected: str
    """The answer that means go: `yes`, or the device's name."""
    doing: str = "write it"

    @property
    def where(self) -> str:
        return ", ".join(device.path for device in self.devices)


Ask = Callable[[Question], str]
Objection = tuple[Device, Refusal]


def objections(
    device: Device,
    *,
    allow_fixed: bool,
    yes: bool,
    image_size: int = 0,
    table_sector: int | None = None,
    holds_image: bool = False,
) -> list[Objection]:
    """All that speaks against writing `device`. `yes`: nobody is asked; the rest is as for `planning.refusals`."""
    found = refusals(
        device,
        image_size,
        allow_fixed=allow_fixed,
        # Asking demands the name; where nobody is asked, the flag for fixed disks stands for it.
        name_typed=allow_fixed or not yes,
        table_sector=table_sector,
        holds_image=holds_image,
    )
    unstable = (_unstable(device),) if yes and not has_stable_name(device) else ()
    return [(device, refusal) for refusal in (*found, *unstable)]


def refuse(found: Sequence[Objection]) -> None:
    """Raise DeviceRefused with all reasons against all devices at once, or return when there is none."""
    if found:
        raise refused(found)


def refused(found: Sequence[Objection]) -> DeviceRefused:
    """One error for every reason; its hint names the flags, or says that there is no way round."""
    lines = [f"{device.path} {refusal.reason}" for device, refusal in found]
    text = (
        lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} reasons not to write:", *(f"  {x}" for x in lines)])
    )
    overrides = dict.fromkeys(refusal.override for _, refusal in found if refusal.override)
    if any(not refusal.override for _, refusal in found):
        hint = "nothing was written; look at all devices with `imagesmith devices`"
    else:
        hint = f"nothing was written; if you are sure: {', '.join(overrides)}"
    return DeviceRefused(text, hint=hint)


def question(device: Device, *facts: str, doing: str = "write it") -> Question:
    """The question about one device: what it is and what is lost, and then `facts`."""
    return Question((device,), (*facts_of(device), *facts), expected_answer(device), doing)


def question_for_all(given: Sequence[tuple[str, Device, str]]) -> Question:
    """One question about several cards: (node, its card, what is written) each, as a table node <- card."""
    make = [
        (device.model or "no model known", f"serial {device.serial}" if device.serial else "") for _, device, _ in given
    ]
    rows = [
        (node, "<-", device.path, show_size(device.size), *words)
        for (node, device, _), words in zip(given, make, strict=True)
    ]
    margin = " " * (max(len(node) for node, *_ in given) + 6)
    facts: list[str] = []
    for row, (_, device, image) in zip(columns(rows), given, strict=True):
        facts += [row, *(margin + fact for fact in (*facts_of(device)[1:], image))]
    return Question(tuple(device for _, device, _ in given), tuple(facts), "yes", f"write these {len(given)} cards")


def facts_of(device: Device) -> tuple[str, ...]:
    """What a person must see before saying yes: which device it is, and what is lost."""
    words = (device.model, f"serial {device.serial}" if device.serial else "", device.bus)
    make = ", ".join(word for word in words if word) or "no model known"
    named = f" ({device.name})" if Path(device.path).name != device.name else ""
    mounted = unmountable(device)
    return (
        f"{device.path}{named}: {show_size(device.size)}, {make}",
        f"what is on it will be lost: {'; '.join(device.contents) or 'nothing that is recognised'}",
        *(f"note: it {reason}" for reason in why_typed(device)),
        *((f"it is mounted and will be unmounted: {', '.join(mounted)}",) if mounted else ()),
    )


def confirm(questions: Iterable[Question], ask: Ask) -> None:
    """Ask one after the other. Raises Interrupted at the first answer that is not the expected one."""
    for one in questions:
        if ask(one).strip() != one.expected:
            raise Interrupted("not confirmed, nothing was written", where=one.where)


def _unstable(device: Device) -> Refusal:
    names = [name for name in device.by_id if name.startswith("/dev/disk/by-id/")]
    advice = f"use {names[0]}" if names else "use its name in /dev/disk/by-id, or answer the question"
    return Refusal(f"may be another disk tomorrow, so --yes does not take this name: {advice}")
