"""Several images to several cards in one command: real loop devices, images as a build leaves and records them."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from faults.badcard import bad_card
from faults.disks import dirty_disk, listed, loop_device, make_image, map_of, needs_root

from imagesmith.errors import DeviceRefused, DigestMismatch, Interrupted, IOFailed, ReadbackDiffers, UsageError
from imagesmith.events import Event, Noted, Progress, StepStarted, Warned
from imagesmith.formats import bmap
from imagesmith.model import Device, Digest, FileSystem, Image
from imagesmith.units import MiB
from imagesmith.workflow.asking import Question
from imagesmith.workflow.built import record_build
from imagesmith.workflow.flash import Outcome, Request, first_failure, flash
from imagesmith.workflow.jobs import AllNodes, Jobs, typed

pytestmark = needs_root
NODES = ("node-1", "node-2", "node-3")
PLAN = "a" * 64
CARD_SIZE = 40 * MiB


@dataclass
class Desk:
    """An output folder with images of nodes, and somebody who answers and listens."""

    folder: Path
    answers: list[str] = field(default_factory=list)
    """To be given one after the other; then always `yes`."""
    questions: list[Question] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    cards: list[Device] = field(default_factory=list)
    """What is inserted, for `--all`."""

    def image(self, node: str) -> Path:
        return self.folder / f"{node}.img"

    def ask(self, question: Question) -> str:
        self.questions.append(question)
        return self.answers.pop(0) if self.answers else "yes"

    def run(self, jobs: Jobs | Sequence[str], *, yes: bool = False, files: bool = False) -> tuple[Outcome, ...]:
        if not isinstance(jobs, AllNodes):
            jobs = typed([str(word) for word in jobs], to_file=files)
        request = Request(jobs, self.folder, yes=yes, to_file=files, eject=False)
        options = {"listed": lambda: self.cards} if self.cards else {}
        return flash(request, ask=self.ask, current_plan_id=lambda _: PLAN, listener=self.events.append, **options)

    @property
    def told(self) -> str:
        return "\n".join(event.message for event in self.events if isinstance(event, Noted | Warned))

    @property
    def receipts(self) -> list[dict[str, object]]:
        paths = sorted((self.folder / "receipts").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        return [card for path in paths for card in json.loads(path.read_text())["cards"]]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for seed, node in enumerate(NODES, 1):
        image = make_image(folder / f"{node}.img", "dos", seed)
        (folder / f"{node}.bmap").write_text(bmap.encode(map_of(image)))
    return folder


@pytest.fixture
def desk(tmp_path: Path, images: Path) -> Desk:
    out = tmp_path / "out"
    out.mkdir()
    made = []
    for node in NODES:
        for ending in ("img", "bmap"):
            os.link(images / f"{node}.{ending}", out / f"{node}.{ending}")
        path = out / f"{node}.img"
        made.append(Image(node, path, None, path.stat().st_size, Digest.of(b""), PLAN, path, path))
    record_build(out, made)
    return Desk(out)


@contextmanager
def inserted(folder: Path, *names: str) -> Iterator[list[str]]:
    """Loop devices over used cards, each by the name of its file."""
    with ExitStack() as stack:
        yield [stack.enter_context(loop_device(dirty_disk(folder / name, CARD_SIZE))) for name in names]


def as_card(path: str, by_id: str, **changes: object) -> Device:
    """A loop device told as a card in a USB reader."""
    found = listed(path)
    card = replace(found, kind="disk", bus="usb", removable=True, by_id=(by_id,) if by_id else ())
    return replace(card, **changes)  # type: ignore[arg-type]


def holds(card: Path, image: Path) -> bool:
    return card.read_bytes()[: 9 * MiB] == image.read_bytes()[: 9 * MiB]


def untouched(card: Path) -> bool:
    return card.read_bytes() == b"\xff" * CARD_SIZE


def test_each_node_s_image_goes_to_its_own_card(desk: Desk, tmp_path: Path) -> None:
    with inserted(tmp_path, "a", "b", "c") as (one, two, three):
        outcomes = desk.run([f"node-2={one}", f"node-1={two}", f"node-3={three}"])
    assert [outcome.device.path for outcome in outcomes] == [one, two, three]
    assert all(outcome.receipt for outcome in outcomes)
    assert holds(tmp_path / "a", desk.image("node-2"))
    assert holds(tmp_path / "b", desk.image("node-1"))
    assert holds(tmp_path / "c", desk.image("node-3"))


def test_they_are_written_side_by_side_and_told_by_node_and_path(desk: Desk, tmp_path: Path) -> None:
    with inserted(tmp_path, "a", "b") as (one, two):
        desk.run([f"node-1={one}", f"node-2={two}"])
    steps = [event.of for event in desk.events if isinstance(event, StepStarted | Progress)]
    first, second = f"node-1 ({one})", f"node-2 ({two})"
    assert set(steps) == {first, second}
    assert steps.index(second) < len(steps) - 1 - steps[::-1].index(first)


def test_one_question_shows_the_whole_assignment(desk: Desk, tmp_path: Path) -> None:
    desk.answers = ["no"]
    with inserted(tmp_path, "a", "b") as (one, two), pytest.raises(Interrupted, match="not confirmed"):
        desk.run([f"node-1={one}", f"node-2={two}"])
    (question,) = desk.questions
    rows = [fact.split() for fact in question.facts if "<-" in fact]
    assert [row[:3] for row in rows] == [["node-1", "<-", one], ["node-2", "<-", two]]
    assert "\n".join(question.facts).count("what is on it will be lost: nothing that is recognised") == 2
    assert question.doing == "write these 2 cards"
    assert untouched(tmp_path / "a")
    assert untouched(tmp_path / "b")


def test_one_node_alone_is_asked_as_any_device(desk: Desk, tmp_path: Path) -> None:
    with inserted(tmp_path, "a") as (one,):
        desk.run([f"node-1={one}"])
    assert [question.where for question in desk.questions] == [one]
    assert "node-1, built just now" in "\n".join(desk.questions[0].facts)


def test_a_bad_card_stops_no_other_node(desk: Desk, tmp_path: Path) -> None:
    with (
        bad_card(tmp_path, dirty_disk(tmp_path / "bad", CARD_SIZE)) as bad,
        inserted(tmp_path, "good") as (good,),
    ):
        bad.arm("drop", 4 * MiB, 4 * MiB + 1)
        outcomes = desk.run([f"node-1={bad.device}", f"node-2={good}"])
    assert isinstance(first_failure(outcomes), ReadbackDiffers)
    assert outcomes[1].receipt
    assert holds(tmp_path / "good", desk.image("node-2"))
    assert [card["outcome"] for card in desk.receipts] == ["failed", "verified"]


def test_an_image_found_damaged_while_it_is_written_stops_no_other(desk: Desk, tmp_path: Path) -> None:
    damaged = desk.image("node-2")
    data = bytearray(damaged.read_bytes())
    data[2 * MiB] ^= 1
    damaged.unlink()
    damaged.write_bytes(data)
    with inserted(tmp_path, "a", "b", "c") as (one, two, three):
        outcomes = desk.run([f"node-1={one}", f"node-2={two}", f"node-3={three}"])
    assert [outcome.receipt is not None for outcome in outcomes] == [True, False, True]
    assert isinstance(outcomes[1].error, DigestMismatch)
    assert (tmp_path / "b").read_bytes()[:MiB] == bytes(MiB)


def test_an_image_that_can_t_be_used_refuses_the_whole_command(desk: Desk, tmp_path: Path) -> None:
    (desk.folder / "node-2.bmap").unlink()
    (desk.folder / "node-2.bmap").write_text("no map")
    with inserted(tmp_path, "a", "b") as (one, two), pytest.raises((DigestMismatch, IOFailed, UsageError)):
        desk.run([f"node-1={one}", f"node-2={two}"])
    assert desk.questions == []
    assert untouched(tmp_path / "a")


def test_every_reason_of_every_node_s_device_comes_at_once(desk: Desk, tmp_path: Path) -> None:
    with (
        loop_device(dirty_disk(tmp_path / "a", 31 * MiB)) as one,
        loop_device(dirty_disk(tmp_path / "b", 30 * MiB)) as two,
        pytest.raises(DeviceRefused, match="2 reasons"),
    ):
        desk.run([f"node-1={one}", f"node-2={two}"])


def test_no_card_is_written_that_holds_the_image_of_another_node(desk: Desk, tmp_path: Path) -> None:
    target = dirty_disk(tmp_path / "card", CARD_SIZE)
    with pytest.raises(DeviceRefused, match="is the image itself"):
        desk.run([f"node-1={desk.image('node-2')}", f"node-2={target}"], files=True)
    assert untouched(target)


# -- all nodes ------------------------------------------------------------------------------------


@pytest.fixture
def all_nodes(tmp_path: Path) -> AllNodes:
    nodes = "".join(f"  - {{name: {name}, profile: qemu-x86-worker}}\n" for name in NODES)
    (tmp_path / "cluster.yaml").write_text(f"schema: 1\nname: home\nnodes:\n{nodes}")
    return AllNodes(tmp_path / "cluster.yaml")


def test_all_nodes_go_to_the_inserted_cards_and_the_rest_is_told(
    desk: Desk, tmp_path: Path, all_nodes: AllNodes
) -> None:
    with inserted(tmp_path, "a", "b") as (one, two):
        desk.cards = [as_card(one, "/dev/disk/by-id/usb-2"), as_card(two, "/dev/disk/by-id/usb-1")]
        outcomes = desk.run(all_nodes)
    assert [(outcome.record.node, outcome.device.path) for outcome in outcomes] == [("node-1", two), ("node-2", one)]
    assert len(desk.questions) == 1
    assert "1 of 3 nodes get no card: node-3" in desk.told
    assert holds(tmp_path / "b", desk.image("node-1"))


def test_a_card_too_many_is_left_alone(desk: Desk, tmp_path: Path, all_nodes: AllNodes) -> None:
    with inserted(tmp_path, "a", "b", "c", "d") as paths:
        desk.cards = [as_card(path, f"/dev/disk/by-id/usb-{number}") for number, path in enumerate(paths)]
        desk.answers = ["no"]
        with pytest.raises(Interrupted):
            desk.run(all_nodes)
        assert f"{paths[3]} gets no node: nothing is written to it" in desk.told
    assert untouched(tmp_path / "d")


def test_a_card_with_someone_s_data_needs_an_answer_of_its_own(desk: Desk, tmp_path: Path, all_nodes: AllNodes) -> None:
    with inserted(tmp_path, "a", "b") as (one, two):
        photos = (FileSystem(Path(two).name, "ntfs", "Photos", CARD_SIZE),)
        desk.cards = [as_card(one, "/dev/disk/by-id/1"), as_card(two, "/dev/disk/by-id/2", filesystems=photos)]
        with pytest.raises(Interrupted, match="not confirmed"):
            desk.run(all_nodes)
    assert [(question.where, question.expected) for question in desk.questions] == [
        (f"{one}, {two}", "yes"),
        (two, Path(two).name),
    ]
    assert untouched(tmp_path / "a")


def test_yes_with_all_wants_a_lasting_name_of_every_card(desk: Desk, tmp_path: Path, all_nodes: AllNodes) -> None:
    with inserted(tmp_path, "a", "b") as (one, two):
        desk.cards = [as_card(one, "/dev/disk/by-id/usb-1"), as_card(two, "")]
        with pytest.raises(DeviceRefused, match=f"{two} may be another disk tomorrow"):
            desk.run(all_nodes, yes=True)
    assert untouched(tmp_path / "a")


def test_no_flag_stands_for_the_name_of_a_card_that_nobody_named(
    desk: Desk, tmp_path: Path, all_nodes: AllNodes
) -> None:
    with inserted(tmp_path, "a") as (one,):
        photos = (FileSystem(Path(one).name, "ntfs", "Photos", CARD_SIZE),)
        card = as_card(one, "/dev/disk/by-id/usb-1", filesystems=photos)
        with pytest.raises(DeviceRefused, match="looks like it holds someone's data"):
            flash(
                Request(all_nodes, desk.folder, allow_fixed=True, yes=True),
                ask=desk.ask, current_plan_id=lambda _: PLAN, listener=desk.events.append, listed=lambda: [card],
            )  # fmt: skip
    assert untouched(tmp_path / "a")


# -- receipts -------------------------------------------------------------------------------------


def test_the_receipt_tells_what_each_card_got(desk: Desk, tmp_path: Path) -> None:
    with inserted(tmp_path, "a", "b") as (one, two):
        desk.run([f"node-1={one}", f"node-2={two}"], yes=True)
    mapped = bmap.parse((desk.folder / "node-2.bmap").read_text()).mapped_bytes
    first, second = desk.receipts
    assert (first["node"], first["device"], first["outcome"]) == ("node-1", one, "verified")
    assert (second["node"], second["written"], second["read_back"]) == ("node-2", mapped, mapped)
    assert second["image"] == str(desk.image("node-2"))
    assert second["size"] == CARD_SIZE


def test_the_digest_of_an_image_that_nothing_lies_beside_is_the_one_that_was_written(
    desk: Desk, tmp_path: Path
) -> None:
    (desk.folder / "node-1.bmap").unlink()
    with inserted(tmp_path, "a") as (one,):
        desk.run([f"node-1={one}"], yes=True)
    assert desk.receipts[0]["digest"] == str(Digest.of(desk.image("node-1").read_bytes()))


def test_a_second_card_for_a_node_is_said_before_the_question(desk: Desk, tmp_path: Path) -> None:
    with inserted(tmp_path, "a", "b") as (one, two):
        desk.run([f"node-1={one}"], yes=True)
        assert "replacement" not in desk.told
        told_when_asked: list[str] = []
        desk.ask = lambda question: told_when_asked.append(desk.told) or "no"  # type: ignore[method-assign]
        with pytest.raises(Interrupted):
            desk.run([f"node-1={two}"])
    assert f"node-1 was already written to card {one} on" in told_when_asked[0]
    assert "this is a replacement" in told_when_asked[0]


def test_a_receipt_that_can_t_be_written_fails_nothing(desk: Desk, tmp_path: Path) -> None:
    (desk.folder / "receipts").write_text("in the way")
    with inserted(tmp_path, "a") as (one,):
        (outcome,) = desk.run([f"node-1={one}"], yes=True)
    assert outcome.receipt
    assert "there is no receipt" in desk.told


def test_ctrl_c_stops_all_cards_tells_the_state_of_each_and_leaves_a_receipt(desk: Desk, tmp_path: Path) -> None:
    with (
        bad_card(tmp_path, dirty_disk(tmp_path / "slow", CARD_SIZE)) as slow,
        inserted(tmp_path, "quick") as (quick,),
    ):
        slow.arm("delay", count=3000)

        def interrupt(event: Event) -> None:
            desk.events.append(event)
            if isinstance(event, Progress) and event.of.startswith("node-1") and not asked.is_set():
                asked.set()
                os.kill(os.getpid(), signal.SIGINT)

        asked = threading.Event()
        request = Request(typed([f"node-1={slow.device}", f"node-2={quick}"]), desk.folder, eject=False)
        with pytest.raises(Interrupted) as caught:
            flash(request, ask=desk.ask, current_plan_id=lambda _: PLAN, listener=interrupt)
        slow.heal()
    assert slow.device in caught.value.where
    assert f"{slow.device}: The card is not bootable" in caught.value.hint
    assert [card["node"] for card in desk.receipts] == ["node-1", "node-2"]
    assert desk.receipts[0]["outcome"] == "interrupted"
    assert (tmp_path / "slow").read_bytes()[:4096] == bytes(4096)
