"""What was typed after `flash`, as jobs: which image goes to which devices.

Called by `cli.flash` (what the words say) and `workflow.flash` (which devices and images they mean). Looks at devices,
at the inventory and at what was built; writes nothing. Under sudo `devices_of` is called as root, the rest is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imagesmith.errors import DeviceRefused, UsageError
from imagesmith.events import Listener, Noted, Warned
from imagesmith.flash.devices import file_as_device, find_device
from imagesmith.model import Device
from imagesmith.planning.assign import assign, inserted
from imagesmith.profile.names import host_name
from imagesmith.profile.schema import did_you_mean
from imagesmith.workflow.built import Built, CurrentPlanId, recorded
from imagesmith.workflow.chosen import built_for, name_and_age
from imagesmith.workflow.target import load_inventory

_EACH = "for a node each: imagesmith flash NODE=DEVICE..."
_ONE = "for one image on all: imagesmith flash SOURCE DEVICE..."


@dataclass(frozen=True, slots=True)
class Job:
    """One image and the devices that get it."""

    source: str | None
    """As it was typed; None means the image built last."""
    devices: tuple[str, ...]
    """Paths."""
    node: str = ""
    """Set in NODE=DEVICE: the image is the one built for the node, whatever files lie here."""


@dataclass(frozen=True, slots=True)
class AllNodes:
    """Every node of the inventory, each on one of the cards that are inserted."""

    inventory: Path | None = None
    """None means ./cluster.yaml."""


Jobs = tuple[Job, ...] | AllNodes


@dataclass(frozen=True, slots=True)
class NodeImage:
    """The image built for a node, fit to be written."""

    node: str
    path: Path
    note: str
    """Its name and age."""


def typed(words: Sequence[str], *, to_file: bool = False) -> tuple[Job, ...]:
    """The jobs that the words after `flash` mean: [SOURCE] DEVICE... or NODE=DEVICE... Raises UsageError, once for all.

    A path may hold `=` too, as names of ports do: in NODE=DEVICE a node's name stands before the first one.
    """
    if not words:
        raise UsageError("say which device", hint=f"{_ONE}; {_EACH}")
    pairs = [(word, _pair(word)) for word in words]
    named = [pair for _, pair in pairs if pair]
    if not named:
        source, devices = (None, words) if len(words) == 1 else (words[0], words[1:])
        return (Job(source, tuple(devices)),)
    if len(named) < len(words):
        lone = next(word for word, pair in pairs if not pair)
        node, device = named[0]
        raise UsageError(
            f"{node}={device} names a node, {lone} does not: use one form for all",
            hint=f"{_EACH}; {_ONE} (a path that looks like NODE=DEVICE is written ./{node}=...)",
        )
    _refuse_all(complaint for node, device in named for complaint in _wrong(node, device, to_file))
    _refuse_twice([node for node, _ in named])
    return tuple(Job(node, (device,), node) for node, device in named)


def devices_of(
    jobs: Jobs, listed: Callable[[], Sequence[Device]], listener: Listener, *, to_file: bool, yes: bool
) -> tuple[tuple[Device, ...], ...]:
    """The devices of each job; for all nodes every inserted card, by itself, since their number is not known yet.

    Nothing is ever created. Raises DeviceRefused, and UsageError for a device that is named twice.
    """
    if isinstance(jobs, AllNodes):
        cards = _inserted(listed(), listener)
        # Where nobody is asked only a name that lasts will do, and where there is one it is what was meant.
        return tuple((replace(one, path=one.by_id[0]) if yes and one.by_id else one,) for one in cards)
    if to_file:
        found = [tuple(file_as_device(path) for path in job.devices) for job in jobs]
    else:
        known = listed()
        found = [tuple(find_device(path, known) for path in job.devices) for job in jobs]
    seen: dict[str, str] = {}
    for device in (device for devices in found for device in devices):
        key = device.number or str(Path(device.path).resolve())
        if key in seen:
            raise UsageError(f"{seen[key]} and {device.path} are the same device", hint="name each device once")
        seen[key] = device.path
    return tuple(found)


def jobs_for_all(wanted: AllNodes, cards: Sequence[Device], listener: Listener) -> tuple[Job, ...]:
    """A job for each node that has a card; who goes without is told. Reads the inventory, and raises what is wrong."""
    cluster = load_inventory(wanted.inventory)
    if cluster is None:
        raise UsageError("there is no inventory here, so --all means nothing", hint="imagesmith init writes one")
    found = assign([node.name for node in cluster.nodes], cards)
    if found.nodes_left:
        names = ", ".join(found.nodes_left)
        later = f"put more cards in, or afterwards: imagesmith flash {found.nodes_left[0]}=DEVICE"
        listener(Warned(f"{len(found.nodes_left)} of {len(cluster.nodes)} nodes get no card: {names}", later))
    for card in found.cards_left:
        listener(Noted(f"{card.path} gets no node: nothing is written to it"))
    return tuple(Job(node, (card.path,), node) for node, card in found.pairs)


def images_of(nodes: Sequence[str], output_dir: Path, current_plan_id: CurrentPlanId) -> tuple[NodeImage, ...]:
    """The image built for each node. Raises UsageError for all that are missing, gone or stale at once.

    A profile that one node uses means that node, as everywhere.
    """
    known = recorded(output_dir)
    complaints: list[UsageError] = []
    images: list[NodeImage] = []
    for node in nodes:
        try:
            images.append(_image(node, output_dir, known, current_plan_id))
        except UsageError as error:
            complaints.append(error)
    _refuse_all(complaints)
    _refuse_twice([image.node for image in images])
    return tuple(images)


def _inserted(listed: Sequence[Device], listener: Listener) -> tuple[Device, ...]:
    cards = inserted(listed)
    for device, reason in cards.left_out:
        listener(Noted(f"{device.path} is left out: it {reason}"))
    if not cards.taken:
        raise DeviceRefused(
            "there is no card that may be written without a flag",
            hint="put the cards in; `imagesmith devices` tells why one is refused",
        )
    return cards.taken


def _pair(word: str) -> tuple[str, str] | None:
    """NODE and DEVICE, where the word is no plain path."""
    node, equals, device = word.partition("=")
    if not equals or not node or "/" in node:
        return None
    return (node, device) if _is_host_name(node) or device.startswith("/") else None


def _wrong(node: str, device: str, to_file: bool) -> Iterable[UsageError]:
    if not _is_host_name(node):
        yield UsageError(f"{node!r} is no node's name", hint=f"names are in small letters: {node.lower()}={device}")
    if not device:
        yield UsageError(f"{node}= names no device", hint=f"write it like {node}=/dev/sdX; see imagesmith devices")
    elif "/" not in device and not to_file:
        yield UsageError(f"{node}={device}: {device} is no device's path", hint=f"write it like {node}=/dev/{device}")


def _is_host_name(text: str) -> bool:
    try:
        return host_name(text) == text
    except ValueError:
        return False


def _image(node: str, output_dir: Path, known: Sequence[Built], current_plan_id: CurrentPlanId) -> NodeImage:
    try:
        built = built_for(node, output_dir)
    except UsageError as error:
        if any(node in (one.name, one.target) for one in known):
            raise
        names = [one.name for one in known]
        raise UsageError(
            f"no image was built for {node}{did_you_mean(node, names)}; built here: {', '.join(names) or 'nothing'}",
            hint=f"imagesmith build {node}",
        ) from error
    return NodeImage(built.name, built.path, name_and_age(built, current_plan_id))


def _refuse_twice(nodes: Sequence[str]) -> None:
    for node in dict.fromkeys(nodes):
        if nodes.count(node) > 1:
            raise UsageError(
                f"{node} is given to {nodes.count(node)} cards, but two machines can't be the same node",
                hint=f"name each node once; for a spare card write the image itself: imagesmith flash {node} DEVICE...",
            )


def _refuse_all(complaints: Iterable[UsageError]) -> None:
    found = list(complaints)
    if not found:
        return
    if len(found) == 1:
        raise found[0]
    text = "\n".join([f"{len(found)} nodes can't be written:", *(f"  {error}" for error in found)])
    raise UsageError(text, hint="; ".join(dict.fromkeys(error.hint for error in found)))
