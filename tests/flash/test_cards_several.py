"""Several cards from one image: what happens to one is told of that one, and the others are written all the same."""

from __future__ import annotations

import contextlib
import lzma
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from faults.badcard import ALWAYS, BadCard, bad_card
from faults.disks import BLOCK, dirty_disk, image_of, listed, loop_device, random_bytes
from faults.killing import wait_until_free
from faults.lane import CARD_SIZE, IMAGE_SIZE, Lane, map_of_blocks, names_place, needs_lane
from faults.writing import COMMAND, flash, flash_all, surroundings

from imagesmith.errors import ContentMalformed, DigestMismatch, ImagesmithError, IOFailed, ReadbackDiffers
from imagesmith.events import Event, Progress, StepStarted
from imagesmith.flash.cards import Patience
from imagesmith.flash.conduct import Stopped
from imagesmith.flash.writing import ROUNDS, Receipt
from imagesmith.planning.flash import FINE_STEP, FlashPlan, plan_flash
from imagesmith.units import MiB

pytestmark = needs_lane
AT = 1100 * BLOCK
"""A mapped block of the body."""


@contextlib.contextmanager
def good_cards(folder: Path, count: int) -> Iterator[list[tuple[Path, str]]]:
    with contextlib.ExitStack() as stack:
        disks = [dirty_disk(folder / f"good{number}", CARD_SIZE) for number in range(count)]
        yield [(disk, stack.enter_context(loop_device(disk, direct=True))) for disk in disks]


def plans_for(lane: Lane, devices: Sequence[str], kind: str = "mapped") -> list[FlashPlan]:
    return [plan_flash(listed(device), lane.images[kind]) for device in devices]


def assert_right(lane: Lane, cards: Sequence[tuple[Path, str]], kind: str = "mapped") -> None:
    for disk, device in cards:
        assert disk.read_bytes() == lane.exact[kind], device


def assert_no_head(disk: Path) -> None:
    with disk.open("rb") as file:
        assert file.read(MiB) == bytes(MiB)
        file.seek(CARD_SIZE - MiB)
        assert b"EFI PART" not in file.read()


@contextlib.contextmanager
def another_bad_card(folder: Path) -> Iterator[BadCard]:
    folder.mkdir()
    with bad_card(folder, dirty_disk(folder / "card", CARD_SIZE)) as card:
        yield card


# -- one of four is bad ---------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "failure"), [("write_eio", IOFailed), ("rot", ReadbackDiffers)])
def test_of_four_cards_three_are_verified_and_the_bad_one_is_named(
    lane: Lane, tmp_path: Path, fault: str, failure: type[ImagesmithError]
) -> None:
    lane.card.arm(fault, AT, AT + BLOCK)
    with good_cards(tmp_path, 3) as cards:
        devices = [device for _, device in cards]
        devices.insert(2, lane.card.device)
        ends = flash_all(plans_for(lane, devices))
        assert [type(end) for end in ends] == [Receipt, Receipt, failure, Receipt]
        assert_right(lane, cards)
    lane.judge(lambda: ends[2])
    assert isinstance(ends[2], ImagesmithError)
    assert names_place(ends[2], lane.card.device, AT)


@pytest.mark.parametrize("order", ["io first", "read back first"])
def test_the_first_failure_in_the_order_of_arguments_is_the_exit_code(lane: Lane, tmp_path: Path, order: str) -> None:
    with another_bad_card(tmp_path / "other") as other, good_cards(tmp_path, 2) as cards:
        lane.card.arm("write_eio", AT, AT + BLOCK)
        other.arm("rot", AT, AT + BLOCK)
        bad = [lane.card.device, other.device]
        if order != "io first":
            bad.reverse()
        words = [cards[0][1], *bad, cards[1][1]]
        done = subprocess.run(
            [*COMMAND, str(lane.images["whole"].path), *words, "--yes", "--no-eject"], **surroundings(tmp_path),
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert_right(lane, cards, "whole")
    assert done.returncode == (6 if order == "io first" else 7), done.stderr
    outcomes = {device: line for line in done.stdout.splitlines() for device in words if f" {device} " in line}
    assert ["verified" in outcomes[device] for device in words] == [True, False, False, True], done.stdout
    # What decided the exit code is the one that is told last.
    assert bad[0] in next(line for line in done.stderr.splitlines() if line.startswith("error:"))
    assert "Traceback" not in done.stderr
    assert_no_head(lane.card.backing)
    assert_no_head(other.backing)
    lane.tried += 2


def test_a_stuck_card_fails_and_the_others_do_not_wait_for_it(lane: Lane, tmp_path: Path) -> None:
    lane.card.arm("hang", AT, AT + BLOCK)
    patience = Patience(told_s=0.5, given_up_s=1.5)
    with good_cards(tmp_path, 2) as cards:
        devices = [cards[0][1], lane.card.device, cards[1][1]]
        ends = flash_all(plans_for(lane, devices), patience=patience)
        assert [type(end) for end in (ends[0], ends[2])] == [Receipt, Receipt]
        assert_right(lane, cards)
    assert isinstance(ends[1], IOFailed)
    assert "has not answered" in ends[1].what
    lane.card.wake()
    wait_until_free(lane.card.device)
    lane.judge(lambda: ends[1])


@pytest.mark.parametrize("step", ["write", "read back"])
def test_ctrl_c_stops_all_cards_and_tells_of_each(lane: Lane, tmp_path: Path, step: str) -> None:
    lane.card.arm("delay", count=3000)
    with good_cards(tmp_path, 2) as cards:
        devices = [lane.card.device, *(device for _, device in cards)]

        def listener(event: Event) -> None:
            if isinstance(event, StepStarted) and event.step == step and event.of == lane.card.device:
                os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(Stopped) as caught:
            flash_all(plans_for(lane, devices), listener)
        assert all(device in caught.value.hint for device in devices)
        for (disk, _), end in zip(cards, caught.value.results[1:], strict=True):
            if isinstance(end, Receipt):
                assert disk.read_bytes() == lane.exact["mapped"]
            else:
                assert_no_head(disk)
    assert_no_head(lane.card.backing)
    lane.tried += 1


# -- mending --------------------------------------------------------------------------------------


def test_two_cards_are_mended_at_once(lane: Lane, tmp_path: Path) -> None:
    with another_bad_card(tmp_path / "other") as other:
        lane.card.arm("spoil", AT, AT + BLOCK, 1)
        other.arm("spoil", 2 * MiB, 2 * MiB + BLOCK, 1)
        ends = flash_all(plans_for(lane, [lane.card.device, other.device]))
        assert [end.mended for end in ends if isinstance(end, Receipt)] == [((AT, BLOCK),), ((2 * MiB, BLOCK),)]
        assert other.truth(0, CARD_SIZE) == lane.exact["mapped"]
    lane.judge(lambda: ends[0])


def test_a_block_that_stays_bad_fails_with_its_offsets_after_the_rounds(lane: Lane) -> None:
    lane.card.arm("spoil", AT, AT + BLOCK, ALWAYS)
    notes: list[str] = []
    end = lane.judge(lambda: flash(lane.plan(), lambda event: notes.append(getattr(event, "message", ""))))
    assert isinstance(end, ReadbackDiffers)
    assert f"at byte {AT}-{AT + BLOCK - 1}" in end.what
    assert "written again" in end.what
    assert sum("written again" in note for note in notes) == ROUNDS


def test_what_mending_puts_in_another_place_is_found(lane: Lane, tmp_path: Path) -> None:
    """A card that is smaller than it says: each time one part of the body is right, another one is not.

    The last range falls upon the two before it, and on nothing of the head, which would be seen anyway.
    """
    image = tmp_path / "i.img"
    image.write_bytes(random_bytes(IMAGE_SIZE, 5))
    mapped = image_of(image, map_of_blocks(image, ((0, 300), (301, 900), (1300, 2048))))
    lane.card.arm("wrap", 0, 1040 * BLOCK)
    assert type(lane.judge(lambda: flash(plan_flash(lane.device, mapped)))) is ReadbackDiffers


# -- what comes through a pipe --------------------------------------------------------------------


@contextlib.contextmanager
def pipe_of(content: bytes, folder: Path, pause_at: int = 0, pause_s: float = 0.5) -> Iterator[Path]:
    """A FIFO through which the content comes, once; at `pause_at` there is time to write what came."""
    path = folder / "pipe"
    os.mkfifo(path)

    def pour() -> None:
        with contextlib.suppress(BrokenPipeError), path.open("wb") as end:
            end.write(content[:pause_at])
            end.flush()
            time.sleep(pause_s if pause_at else 0)
            end.write(content[pause_at:])

    thread = threading.Thread(target=pour)
    thread.start()
    yield path
    thread.join(30)
    assert not thread.is_alive()


def test_what_reads_back_wrong_and_came_through_a_pipe_is_told_to_the_mib(lane: Lane, tmp_path: Path) -> None:
    lane.card.arm("rot", AT, AT + BLOCK)
    image = replace(lane.images["whole"], size=0)
    with pipe_of(image.path.read_bytes(), tmp_path) as pipe:
        end = lane.judge(lambda: one(flash_all([plan_flash(lane.device, image)], source=pipe)), "whole")
    assert isinstance(end, ReadbackDiffers)
    first = AT // FINE_STEP * FINE_STEP
    assert f"at byte {first}-{first + FINE_STEP - 1}" in end.what


def test_what_came_through_a_pipe_is_right(lane: Lane, tmp_path: Path) -> None:
    image = replace(lane.images["whole"], size=0)
    with pipe_of(image.path.read_bytes(), tmp_path) as pipe:
        end = lane.judge(lambda: one(flash_all([plan_flash(lane.device, image)], source=pipe)), "whole")
    assert isinstance(end, Receipt)


def test_a_card_that_fails_while_the_source_is_slow_is_told_at_once(lane: Lane, tmp_path: Path) -> None:
    lane.card.arm("write_eio", 2 * MiB, 2 * MiB + BLOCK)
    image = replace(lane.images["whole"], size=0)
    with pipe_of(image.path.read_bytes(), tmp_path, 5 * MiB, pause_s=3) as pipe:
        begun = time.monotonic()
        end = lane.judge(lambda: one(flash_all([plan_flash(lane.device, image)], source=pipe)), "whole")
        took_s = time.monotonic() - begun
    assert type(end) is IOFailed
    assert took_s < 2.5


def one(ends: list[Receipt | ImagesmithError]) -> Receipt | ImagesmithError:
    (end,) = ends
    return end


# -- a source that fails --------------------------------------------------------------------------


@pytest.mark.parametrize("fails", ["cut off", "damaged"])
def test_a_source_that_fails_in_the_middle_is_no_cards_fault_and_no_card_boots(
    lane: Lane, tmp_path: Path, fails: str
) -> None:
    image = replace(lane.images["whole"], size=0)
    packed = bytearray(lzma.compress(image.path.read_bytes(), preset=0))
    if fails == "cut off":
        del packed[len(packed) * 3 // 4 :]
    else:
        packed[len(packed) * 3 // 4] ^= 0x40
    written: list[int] = []

    def listener(event: Event) -> None:
        if isinstance(event, Progress) and event.step == "write":
            written.append(event.done)

    with good_cards(tmp_path, 2) as cards, pipe_of(bytes(packed), tmp_path, 5 * MiB) as pipe:
        plans = [plan_flash(listed(device), image) for device in (cards[0][1], lane.card.device, cards[1][1])]
        ends = flash_all(plans, listener, source=pipe)
        for disk, _ in cards:
            assert_no_head(disk)
    assert max(written) >= 2 * MiB  # so it was in the middle
    for end in ends:
        assert isinstance(end, DigestMismatch | ContentMalformed)
        assert "The card is not at fault" in end.hint
        assert "not bootable" in end.hint
    lane.judge(lambda: ends[1])
