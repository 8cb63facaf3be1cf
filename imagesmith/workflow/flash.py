"""Flash an image to cards: choose the image, refuse what must not be written, ask, write, read back.

Called by `cli.flash`. Meets `flash/` (devices, cards), the output folder (`built`) and what lies beside an image.
Nothing is written to any device before all devices were looked at and all questions answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagesmith.errors import ImagesmithError, UsageError
from imagesmith.events import Listener, Noted, Warned
from imagesmith.flash.cards import PATIENT, Patience
from imagesmith.flash.conduct import Errand, Receipt, write_cards
from imagesmith.flash.devices import file_as_device, find_device, list_devices
from imagesmith.flash.system import numbers_beneath
from imagesmith.invoker import become, behind_sudo
from imagesmith.model import Device, Refusal
from imagesmith.planning.flash import FlashPlan, SourceImage, gpt_sector, plan_flash
from imagesmith.units import show_size
from imagesmith.workflow.asking import Ask, Objection, Question, confirm, objections, question, refuse
from imagesmith.workflow.built import CurrentPlanId
from imagesmith.workflow.crew import hired
from imagesmith.workflow.source import Opened, opened


@dataclass(frozen=True, slots=True)
class Request:
    """What the user typed. `source` None means the image built last."""

    source: str | None
    devices: tuple[str, ...]
    output_dir: Path
    allow_fixed: bool = False
    yes: bool = False
    """Don't ask; only for devices whose name lasts."""
    to_file: bool = False
    eject: bool = True
    patience: Patience = PATIENT


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one device, in the order of the arguments."""

    device: Device
    receipt: Receipt | None
    error: ImagesmithError | None


def flash(request: Request, *, ask: Ask, current_plan_id: CurrentPlanId, listener: Listener) -> tuple[Outcome, ...]:
    """Write one image to every device of the request, side by side; a bad card does not stop the others.

    Under sudo this process is the user's when it returns. Raises UsageError, DeviceRefused (with every reason for
    every device), ContentMalformed and so on while nothing is written yet; Interrupted at any time. Later failures
    are in the outcomes.
    """
    if request.to_file and (user := behind_sudo()):
        become(user)  # root is for devices
    devices = found_devices(request)
    with (
        asyncio.Runner() as runner,
        hired([[device.path for device in devices]]) as (team,),
        opened(request.source, request.output_dir, current_plan_id, listener) as source,
        team.feed(source.descriptors) as feed,
    ):
        looked = runner.run(feed.look(source.look))
        image = source.beside(looked.looked, looked.head).image
        listener(Noted(f"image: {_described(source, image)}"))
        if image.block_map is None:
            listener(Noted("no block map beside it: every byte of the image is written, zeros too"))
        beneath = numbers_beneath(source.path) if source.path else frozenset()
        refuse([found for device in devices for found in _objections(request, device, image, beneath)])
        plans = [plan_flash(device, image) for device in devices]
        for note in dict.fromkeys(plan.note for plan in plans if plan.note):
            listener(Warned(note, "look at the image with `imagesmith inspect`"))
        if not request.yes:
            confirm([_question(plan, source) for plan in plans], ask)
        errands = [Errand(plan, card, request.eject) for plan, card in zip(plans, team.cards, strict=True)]
        results = runner.run(
            write_cards(errands, feed, again=looked.looked.again, listener=listener, patience=request.patience)
        )
    return tuple(_outcome(device, result) for device, result in zip(devices, results, strict=True))


def first_failure(outcomes: Sequence[Outcome]) -> ImagesmithError | None:
    """The error that decides the exit code."""
    return next((outcome.error for outcome in outcomes if outcome.error), None)


def found_devices(request: Request) -> tuple[Device, ...]:
    """The devices that the arguments mean, each once. Raises DeviceRefused, UsageError; nothing is ever created."""
    if request.to_file:
        devices = [file_as_device(path) for path in request.devices]
    else:
        listed = list_devices()
        devices = [find_device(path, listed) for path in request.devices]
    seen: dict[str, str] = {}
    for device in devices:
        key = device.number or str(Path(device.path).resolve())
        if key in seen:
            raise UsageError(f"{seen[key]} and {device.path} are the same device", hint="name each device once")
        seen[key] = device.path
    return tuple(devices)


def _objections(request: Request, device: Device, image: SourceImage, beneath: frozenset[str]) -> Iterator[Objection]:
    """`beneath` = the numbers of the devices that the image's file lies on."""
    if request.to_file and image.path.exists() and Path(device.path).samefile(image.path):
        yield device, Refusal("is the image itself")
    yield from objections(
        device,
        allow_fixed=request.allow_fixed,
        yes=request.yes,
        image_size=image.size,
        table_sector=gpt_sector(image.head),
        holds_image=device.number in beneath,
    )


def _question(plan: FlashPlan, source: Opened) -> Question:
    amount = f"{show_size(plan.body_bytes)} will be" if plan.body_bytes else "all of it will be"
    return question(plan.device, f"image: {_described(source, plan.image)}; {amount} written and read back")


def _described(source: Opened, image: SourceImage) -> str:
    note = f" ({source.note})" if source.note else ""
    size = show_size(image.size) if image.size else "size not known before its end"
    return f"{source.look.name}{note}, {size}"


def _outcome(device: Device, result: Receipt | ImagesmithError) -> Outcome:
    return Outcome(device, None, result) if isinstance(result, ImagesmithError) else Outcome(device, result, None)
