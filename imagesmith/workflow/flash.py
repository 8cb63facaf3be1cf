"""Flash images to cards: find cards and images, refuse what must not be written, ask, write, read back, keep a receipt.

Called by `cli.flash`. Meets `flash/` (devices, cards), `jobs` (what was typed), `asking` (refusals and questions), the
output folder (`built`, `receipts`) and what lies beside an image.
Nothing is written to any device before all devices and images were looked at and all questions answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from imagesmith.errors import ImagesmithError, Interrupted
from imagesmith.events import Event, Listener, Noted, Progress, StepFinished, StepStarted, Warned
from imagesmith.flash.cards import PATIENT, Card, Patience
from imagesmith.flash.conduct import Stopped
from imagesmith.flash.devices import list_devices
from imagesmith.flash.system import numbers_beneath
from imagesmith.flash.writing import Errand, Receipt
from imagesmith.invoker import become, behind_sudo
from imagesmith.model import Device, Refusal
from imagesmith.planning.flash import FlashPlan, gpt_sector, map_tells_less, plan_flash
from imagesmith.planning.receipt import CardRecord, replaced
from imagesmith.planning.refusals import why_typed
from imagesmith.planning.resume import resume_key
from imagesmith.units import show_size
from imagesmith.workflow import receipts, turns
from imagesmith.workflow.asking import Ask, Objection, Question, confirm, objections, question, question_for_all, refuse
from imagesmith.workflow.beside import Beside
from imagesmith.workflow.built import CurrentPlanId
from imagesmith.workflow.crew import Team, hired
from imagesmith.workflow.jobs import AllNodes, Jobs, NodeImage, devices_of, images_of, jobs_for_all
from imagesmith.workflow.journals import journal
from imagesmith.workflow.source import AS_IT_IS, Opened, Trust, opened, opened_file
from imagesmith.workflow.turns import Fed


@dataclass(frozen=True, slots=True)
class Request:
    """What the user typed."""

    jobs: Jobs
    output_dir: Path
    allow_fixed: bool = False
    yes: bool = False
    """Don't ask; only for devices whose name lasts."""
    to_file: bool = False
    eject: bool = True
    trust: Trust = AS_IT_IS
    patience: Patience = PATIENT


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one device, in the order of the arguments."""

    device: Device
    receipt: Receipt | None
    error: ImagesmithError | None
    record: CardRecord
    """The same, as it is kept."""


def flash(
    request: Request,
    *,
    ask: Ask,
    current_plan_id: CurrentPlanId,
    listener: Listener,
    listed: Callable[[], Sequence[Device]] = list_devices,
) -> tuple[Outcome, ...]:
    """Write every job's image to its devices, all side by side; a bad card or image does not stop the others.

    Under sudo this process is the user's when it returns. Raises UsageError, DeviceRefused (with every reason for
    every device), ContentMalformed and so on while nothing is written yet; Interrupted at any time. Later failures
    are in the outcomes. `listed` tells what this machine has.
    """
    if request.to_file and (user := behind_sudo()):
        become(user)  # root is for devices
    devices = devices_of(request.jobs, listed, listener, to_file=request.to_file, yes=request.yes)
    with (
        asyncio.Runner() as runner,
        hired(devices) as teams,
        contextlib.ExitStack() as stack,
    ):
        # Root is gone from here on: what follows reads documents and images.
        tasks = _tasks(request, devices, teams, current_plan_id, listener)
        ready: list[_Ready] = []
        for task in tasks:
            ready.append(stack.enter_context(_looked_at(task, runner, request, current_plan_id, listener)))
            turns.rest_if_late([one.fed for one in ready], len(tasks))
        plans = _planned(request, ready, listener)
        turns.tell([(one.fed, len(one.devices)) for one in ready], listener)
        if not request.yes:
            confirm(_questions(ready, plans), ask)
        results, stopped = _written(runner, request, ready, plans, listener)
    outcomes = _outcomes(ready, plans, results)
    receipts.keep([outcome.record for outcome in outcomes], request.output_dir, listener)
    if stopped:
        raise stopped
    return outcomes


def first_failure(outcomes: Sequence[Outcome]) -> ImagesmithError | None:
    """The error that decides the exit code."""
    return next((outcome.error for outcome in outcomes if outcome.error), None)


# -- which image to which cards -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Task:
    """A job whose devices are found, and whose card writers are started."""

    source: str | None
    image: NodeImage | None
    """The image itself, where a node was named."""
    devices: tuple[Device, ...]
    team: Team


def _tasks(
    request: Request,
    devices: Sequence[tuple[Device, ...]],
    teams: Sequence[Team],
    current_plan_id: CurrentPlanId,
    listener: Listener,
) -> list[_Task]:
    """The jobs with all that they need. Of all nodes, only as many as there are cards: other writers just leave."""
    jobs = request.jobs
    if isinstance(jobs, AllNodes):
        jobs = jobs_for_all(jobs, [card for (card,) in devices], listener)
    images = iter(images_of([job.node for job in jobs if job.node], request.output_dir, current_plan_id))
    manned = {group[0].path: (group, team) for group, team in zip(devices, teams, strict=True)}
    return [_Task(job.source, next(images) if job.node else None, *manned[job.devices[0]]) for job in jobs]


# -- before anything is written -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ready:
    """One image and its cards, both looked at."""

    node: str
    """Whose image it is; "" where nothing tells."""
    source: Opened
    beside: Beside
    fed: Fed
    devices: tuple[Device, ...]

    @property
    def described(self) -> str:
        note = f" ({self.source.note})" if self.source.note else ""
        size = show_size(self.beside.image.size) if self.beside.image.size else "size not known before its end"
        return f"{self.source.look.name}{note}, {size}"


@contextlib.contextmanager
def _looked_at(
    task: _Task, runner: asyncio.Runner, request: Request, current_plan_id: CurrentPlanId, listener: Listener
) -> Iterator[_Ready]:
    if task.image:
        opening = opened_file(task.image.path, listener, task.image.note)
    else:
        opening = opened(task.source, request.output_dir, current_plan_id, listener, request.trust)
    with opening as source, task.team.feed(source.descriptors) as feed:
        looked = runner.run(feed.look(source.look))
        beside = source.beside(looked.looked, looked.head)
        name = beside.manifest.name if beside.manifest else ""
        node = task.image.node if task.image else name
        fed = Fed(source, looked, feed, task.team)
        try:
            yield _Ready(node, source, beside, fed, task.devices)
        finally:
            fed.rest()


def _planned(request: Request, ready: Sequence[_Ready], listener: Listener) -> list[list[FlashPlan]]:
    """The plans for the cards of each image. Refuses all that must not be written, and tells what should be known."""
    for one in ready:
        listener(Noted(f"image: {one.described}"))
        if one.beside.image.block_map is None:
            listener(Noted("no block map beside it: every byte of the image is written, zeros too"))
        elif map_tells_less(one.beside.image):
            words = "its block map has no sha256 digests, but a digest of the whole image is known"
            listener(Noted(f"{words}: every byte is written, and that digest checked"))
    refuse([found for one in ready for device in one.devices for found in _objections(request, device, one, ready)])
    plans = [[plan_flash(device, one.beside.image) for device in one.devices] for one in ready]
    for note in dict.fromkeys(plan.note for group in plans for plan in group if plan.note):
        listener(Warned(note, "look at the image with `imagesmith inspect`"))
    kept = receipts.earlier(request.output_dir, listener) if any(one.node for one in ready) else ()
    for one in ready:
        for words in filter(None, (replaced(one.node, device, kept) for device in one.devices)):
            listener(Warned(words, "two machines can't be the same node: take the old card out of use"))
    return plans


def _objections(request: Request, device: Device, one: _Ready, ready: Sequence[_Ready]) -> Iterator[Objection]:
    """All that speaks against writing `one`'s image there; no image of this command may lie on the device."""
    files = [other.source.path for other in ready if other.source.path]
    if request.to_file and any(Path(device.path).samefile(file) for file in files):
        yield device, Refusal("is the image itself")
    if device.backing and any(_is_same(Path(device.backing), file) for file in files):
        yield device, Refusal("is the image itself, as a loop device")
    yield from objections(
        device,
        # Of all nodes nobody named a card, so the flag stands for no name; fixed disks are not among them anyway.
        allow_fixed=request.allow_fixed and not isinstance(request.jobs, AllNodes),
        yes=request.yes,
        image_size=one.beside.image.size,
        table_sector=gpt_sector(one.beside.image.head),
        holds_image=any(device.number in numbers_beneath(file) for file in files),
    )


def _is_same(one: Path, other: Path) -> bool:
    """Whether both lead to the same file. What can't be reached from here is compared by its path."""
    try:
        return one.samefile(other)
    except OSError:
        return one == other.resolve()


def _questions(ready: Sequence[_Ready], plans: Sequence[Sequence[FlashPlan]]) -> list[Question]:
    """One for each device; or one for all nodes, and then one for each card of which the name must be typed."""
    cards = [(one, plan, _amount(one, plan)) for one, group in zip(ready, plans, strict=True) for plan in group]
    if len(ready) == 1:
        return [question(plan.device, words) for _, plan, words in cards]
    dear = [question(plan.device, words) for _, plan, words in cards if why_typed(plan.device)]
    return [question_for_all([(one.node, plan.device, words) for one, plan, words in cards]), *dear]


def _amount(one: _Ready, plan: FlashPlan) -> str:
    amount = f"{show_size(plan.body_bytes)} will be" if plan.body_bytes else "all of it will be"
    return f"image: {one.described}; {amount} written and read back"


# -- writing --------------------------------------------------------------------------------------

_Results = Sequence[Receipt | ImagesmithError]
"""What became of the cards of one image."""


def _written(
    runner: asyncio.Runner,
    request: Request,
    ready: Sequence[_Ready],
    plans: Sequence[Sequence[FlashPlan]],
    listener: Listener,
) -> tuple[list[_Results], Interrupted | None]:
    """Every image to its cards, side by side; and the word to end with where the user stopped it."""
    room = turns.Room(turns.room_for(len(ready)))
    writings = []
    for one, group in zip(ready, plans, strict=True):
        errands = [_errand(request, one, plan, card) for plan, card in zip(group, one.fed.team.cards, strict=True)]
        told = _told_of(f"{one.node} ({one.devices[0].path})", listener) if len(ready) > 1 else listener
        writings.append(turns.in_turns(turns.Work(one.fed, errands, told), room, request.patience))
    ends = runner.run(_gathered(writings))
    results: list[_Results] = [end.results if isinstance(end, Stopped) else end for end in ends]
    if not any(isinstance(end, Stopped) for end in ends):
        return results, None
    paths = [device.path for one in ready for device in one.devices]
    stopped = Stopped(paths, [result for group in results for result in group])
    return results, Interrupted(stopped.what, where=stopped.where, hint=stopped.hint)


def _errand(request: Request, one: _Ready, plan: FlashPlan, card: Card) -> Errand:
    # What comes only once can't be told from other bytes before its end, whatever was promised of it.
    written, keep = journal(resume_key(plan.image, one.source.version, plan.device) if one.fed.again else "")
    return Errand(plan, card, request.eject, written, keep)


async def _gathered(
    writings: Sequence[Coroutine[None, None, list[Receipt | ImagesmithError]]],
) -> list[_Results | Stopped]:
    """What each came to. On Ctrl-C all are stopped, and all are waited for: they blank their cards."""
    tasks = [asyncio.create_task(writing) for writing in writings]
    with _ctrl_c_heard_once(), contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
    ends: list[_Results | Stopped] = []
    for task in tasks:
        try:
            ends.append(task.result())
        except Stopped as stopped:
            ends.append(stopped)
    return ends


@contextlib.contextmanager
def _ctrl_c_heard_once() -> Iterator[None]:
    """A second one would only keep cards from being blanked, and their states from being told, for two seconds."""
    hear = signal.getsignal(signal.SIGINT)
    if not callable(hear) or threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []

    def first(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        if len(pressed) == 1:
            hear(number, frame)

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, hear)


def _told_of(name: str, listener: Listener) -> Listener:
    """The listener for one of several images, each with a card of its own: steps are told with that name."""

    def told(event: Event) -> None:
        if isinstance(event, StepStarted | Progress | StepFinished):
            event = replace(event, of=name)
        listener(event)

    return told


def _outcomes(
    ready: Sequence[_Ready], plans: Sequence[Sequence[FlashPlan]], results: Sequence[_Results]
) -> tuple[Outcome, ...]:
    at = receipts.time_now()
    outcomes = []
    for one, group, ends in zip(ready, plans, results, strict=True):
        for plan, end in zip(group, ends, strict=True):
            record = receipts.record_of(end, plan, one.node, one.beside, at)
            good, bad = (end, None) if isinstance(end, Receipt) else (None, end)
            outcomes.append(Outcome(plan.device, good, bad, record))
    return tuple(outcomes)
