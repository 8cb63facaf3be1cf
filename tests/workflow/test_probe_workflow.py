"""Cards tested by themselves: sound ones pass and end blank, fakes and worn ones are told for what they are."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.badcard import BadCard, bad_card
from faults.disks import dirty_disk, loop_device, make_image, needs_root

from imagesmith.errors import DeviceRefused, Interrupted, IOFailed, ReadbackDiffers
from imagesmith.events import Event, Progress, StepStarted, unheard
from imagesmith.flash.probe import Probed
from imagesmith.units import KiB, MiB, show_size
from imagesmith.workflow.asking import Question
from imagesmith.workflow.overwriting import Request
from imagesmith.workflow.probe import probe

pytestmark = needs_root
fuse = pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="needs FUSE for the bad card")
SIZE = 40 * MiB


def never(question: Question) -> str:
    raise AssertionError("asked")


def probed(device: str, listener: object = unheard, *, full: bool = False) -> Probed:
    return probe(Request(device, full, yes=True), ask=never, listener=listener)  # type: ignore[arg-type]


@contextlib.contextmanager
def card_of(folder: Path, size: int = SIZE) -> Iterator[BadCard]:
    with bad_card(folder, dirty_disk(folder / "card", size)) as card:
        yield card


@pytest.mark.parametrize("size", [4 * KiB, 20 * KiB + 512, MiB, SIZE, 70 * MiB + 512])
@pytest.mark.parametrize("full", [False, True])
def test_a_sound_card_passes_and_is_blank_at_both_ends(tmp_path: Path, size: int, full: bool) -> None:
    disk = dirty_disk(tmp_path / "card", size)
    with loop_device(disk) as device:
        found = probed(device, full=full)
    data = disk.read_bytes()
    assert data[:MiB] == bytes(min(MiB, size))
    assert data[-MiB:] == bytes(min(MiB, size))
    assert found.plan.tested == size if full else found.plan.tested <= size
    assert found.write_rate > 0 < found.read_rate


def test_a_card_with_sectors_of_4096_bytes_passes(tmp_path: Path) -> None:
    with loop_device(dirty_disk(tmp_path / "card", SIZE), sector=4096) as device:
        assert probed(device).plan.marks


def test_full_leaves_no_byte_as_it_was(tmp_path: Path) -> None:
    disk = dirty_disk(tmp_path / "card", SIZE)
    with loop_device(disk) as device:
        probed(device, full=True)
    assert b"\xff" * 16 not in disk.read_bytes()


def test_markers_are_spread_over_all_of_it(tmp_path: Path) -> None:
    size = 600 * MiB
    disk = tmp_path / "card"
    with disk.open("wb") as file:
        file.truncate(size)
    with loop_device(disk) as device:
        found = probed(device)
    written = disk.stat().st_blocks * 512
    assert 24 * MiB < written < 40 * MiB
    assert found.plan.marks[-1] == size - 4096


def test_two_runs_write_different_bytes(tmp_path: Path) -> None:
    disk = dirty_disk(tmp_path / "card", SIZE)
    seen = set()
    with loop_device(disk) as device:
        for _ in range(2):
            probed(device)
            seen.add(hashlib.sha256(disk.read_bytes()[2 * MiB : 16 * MiB]).hexdigest())
    assert len(seen) == 2


@fuse
@pytest.mark.parametrize("real", [8 * MiB, 16 * MiB, 17 * MiB + 12 * KiB, 23 * MiB, 35 * MiB + 512])
@pytest.mark.parametrize("full", [False, True])
def test_a_fake_card_is_told_with_its_true_size(tmp_path: Path, real: int, full: bool) -> None:
    with card_of(tmp_path) as card:
        card.arm("wrap", 0, real)
        with pytest.raises(ReadbackDiffers) as caught:
            probed(card.device, full=full)
    assert f"it claims 40 MiB and has {show_size(real)} ({real} bytes)" in caught.value.what
    assert "fake" in caught.value.hint


@fuse
def test_a_card_that_drops_writes_beyond_its_size_is_told(tmp_path: Path) -> None:
    with card_of(tmp_path) as card:
        card.arm("drop", 25 * MiB)
        with pytest.raises(ReadbackDiffers) as caught:
            probed(card.device)
    assert "keeps nothing from byte 26" in caught.value.what
    assert "fake" in caught.value.hint


@fuse
def test_a_card_that_drops_every_write_is_told(tmp_path: Path) -> None:
    with card_of(tmp_path) as card:
        card.arm("drop")
        with pytest.raises(ReadbackDiffers, match="keeps nothing of what is written") as caught:
            probed(card.device)
    assert "may still hold what was on it" in caught.value.hint


@fuse
@pytest.mark.parametrize("offset", [4 * MiB, 32 * MiB, SIZE - 4 * KiB])
def test_changed_bits_are_told_with_their_place(tmp_path: Path, offset: int) -> None:
    with card_of(tmp_path) as card:
        card.arm("rot", offset, offset + 4096)
        with pytest.raises(ReadbackDiffers, match=rf"\d+ bits? of what .* at byte {offset}-{offset + 4095}"):
            probed(card.device)


@fuse
def test_a_place_between_the_markers_is_found_by_full_alone(tmp_path: Path) -> None:
    with card_of(tmp_path) as card:
        card.arm("drop", 30 * MiB + 8 * KiB, 30 * MiB + 12 * KiB)
        probed(card.device)
        with pytest.raises(ReadbackDiffers, match=f"{30 * MiB + 8 * KiB}-{30 * MiB + 12 * KiB - 1}"):
            probed(card.device, full=True)


@fuse
@pytest.mark.parametrize("fault", ["write_eio", "read_eio"])
@pytest.mark.parametrize("offset", [2 * MiB, 32 * MiB])
def test_an_io_error_is_told_with_its_byte_and_the_card_is_blank(tmp_path: Path, fault: str, offset: int) -> None:
    with card_of(tmp_path) as card:
        card.arm(fault, offset, offset + 4096)
        with pytest.raises(IOFailed) as caught:
            probed(card.device)
        assert f"{card.device}, byte" in caught.value.where
        assert "not bootable" in caught.value.hint
        assert card.truth(0, MiB) == bytes(MiB)


def test_without_the_expected_answer_nothing_is_written(tmp_path: Path) -> None:
    disk = make_image(tmp_path / "disk", "dos")
    before = hashlib.sha256(disk.read_bytes()).hexdigest()
    asked: list[Question] = []

    def no(question: Question) -> str:
        asked.append(question)
        return "no"

    with loop_device(disk) as device, pytest.raises(Interrupted, match="nothing was written"):
        probe(Request(device), ask=no, listener=unheard)
    assert hashlib.sha256(disk.read_bytes()).hexdigest() == before
    assert "it is blank afterwards" in asked[0].facts[-1]


def test_a_file_is_no_card(tmp_path: Path) -> None:
    with pytest.raises(DeviceRefused, match="not a disk"):
        probed(str(dirty_disk(tmp_path / "card", MiB)))


def test_a_read_only_card_is_refused(tmp_path: Path) -> None:
    with (
        loop_device(dirty_disk(tmp_path / "card", MiB), read_only=True) as device,
        pytest.raises(DeviceRefused, match="read-only"),
    ):
        probed(device)


def test_progress_reaches_its_end(tmp_path: Path) -> None:
    heard: list[Event] = []
    with loop_device(dirty_disk(tmp_path / "card", SIZE)) as device:
        probed(device, heard.append, full=True)
    for step in ("write", "read back", "write everything", "read everything"):
        last = [one for one in heard if isinstance(one, Progress) and one.step == step][-1]
        assert last.done == last.total > 0
    assert [one.step for one in heard if isinstance(one, StepStarted)] == [
        "write", "read back", "write everything", "read everything"
    ]  # fmt: skip
