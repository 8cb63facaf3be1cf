"""An interrupted run goes on where it stopped: less is written, all is read back, and the card is whole."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.disks import dirty_disk, loop_device, make_image, needs_root

from imagesmith.errors import Interrupted
from imagesmith.events import Event, Noted, Progress
from imagesmith.model import Digest
from imagesmith.units import MiB
from imagesmith.workflow.flash import Outcome, Request, flash
from imagesmith.workflow.jobs import Job
from imagesmith.workflow.source import Trust

pytestmark = needs_root


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMAGESMITH_CACHE", str(tmp_path / "cache"))
    return make_image(tmp_path / "i.img", "gpt")


@pytest.fixture
def card(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    disk = dirty_disk(tmp_path / "card", 40 * MiB)
    with loop_device(disk) as device:
        yield disk, device


def run(
    image: Path, device: str, stop_at: int = 0, source: str = "", digest: Digest | None = None
) -> tuple[Outcome, list[Event]]:
    heard: list[Event] = []
    pressed: list[bool] = []

    def listener(event: Event) -> None:
        heard.append(event)
        due = isinstance(event, Progress) and event.step == "write" and event.done >= stop_at > 0
        if due and not pressed:
            pressed.append(True)
            os.kill(os.getpid(), signal.SIGINT)  # as the terminal does

    request = Request((Job(source or str(image), (device,)),), image.parent, yes=True, trust=Trust(digest))
    (outcome,) = flash(request, ask=lambda _: "", current_plan_id=lambda _: "", listener=listener)
    return outcome, heard


def went_on(heard: list[Event]) -> bool:
    return any("goes on where it was stopped" in event.message for event in heard if isinstance(event, Noted))


def interrupted(image: Path, device: str) -> None:
    with pytest.raises(Interrupted):
        run(image, device, stop_at=20 * MiB)


def test_it_goes_on_and_the_card_is_whole(image: Path, card: tuple[Path, str]) -> None:
    disk, device = card
    interrupted(image, device)
    assert disk.read_bytes()[:MiB] == bytes(MiB)
    outcome, heard = run(image, device)
    assert went_on(heard)
    assert outcome.receipt
    assert disk.read_bytes()[MiB : 31 * MiB] == image.read_bytes()[MiB : 31 * MiB]
    assert outcome.receipt.mended == ()


def test_what_was_changed_in_between_is_found_and_mended(image: Path, card: tuple[Path, str]) -> None:
    disk, device = card
    interrupted(image, device)
    with disk.open("r+b") as file:
        file.seek(6 * MiB)
        file.write(b"\xee" * 4096)
    outcome, heard = run(image, device)
    assert went_on(heard)
    assert outcome.receipt
    assert disk.read_bytes()[MiB : 31 * MiB] == image.read_bytes()[MiB : 31 * MiB]


def test_another_image_begins_anew(image: Path, card: tuple[Path, str], tmp_path: Path) -> None:
    interrupted(image, card[1])
    other = make_image(tmp_path / "other.img", "gpt", seed=9)
    outcome, heard = run(other, card[1])
    assert not went_on(heard)
    assert outcome.receipt
    assert card[0].read_bytes()[MiB : 31 * MiB] == other.read_bytes()[MiB : 31 * MiB]


def test_a_card_that_is_whole_is_written_anew(image: Path, card: tuple[Path, str]) -> None:
    interrupted(image, card[1])
    run(image, card[1])
    _, heard = run(image, card[1])
    assert not went_on(heard)


@contextlib.contextmanager
def coming_through_stdin(path: Path) -> Iterator[None]:
    before = os.dup(0)
    try:
        with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
            assert cat.stdout
            os.dup2(cat.stdout.fileno(), 0)
            cat.stdout.close()
            try:
                yield
            finally:
                os.dup2(before, 0)
                cat.kill()
    finally:
        os.close(before)


def test_what_comes_through_a_pipe_begins_anew_whatever_was_promised_of_it(image: Path, card: tuple[Path, str]) -> None:
    promised = Digest.of(image.read_bytes())
    with coming_through_stdin(image), pytest.raises(Interrupted):
        run(image, card[1], 20 * MiB, "-", promised)
    with card[0].open("r+b") as file:
        file.seek(6 * MiB)
        file.write(b"\xee" * 4096)
    with coming_through_stdin(image):
        outcome, heard = run(image, card[1], 0, "-", promised)
    assert not went_on(heard)
    assert outcome.receipt


def test_a_broken_record_is_no_failure(image: Path, card: tuple[Path, str], tmp_path: Path) -> None:
    interrupted(image, card[1])
    (record,) = (tmp_path / "cache" / "interrupted").iterdir()
    record.write_text('{"places": [["a", -1]]}')
    outcome, heard = run(image, card[1])
    assert not went_on(heard)
    assert outcome.receipt
