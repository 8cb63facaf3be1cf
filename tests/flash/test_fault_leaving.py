"""Leaving cards behind: a second Ctrl-C, cards that hang, another card in the reader, orders that make no sense."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from faults.badcard import BadCard, bad_card
from faults.disks import call, dirty_disk, image_of, listed, loop_device, make_image, mounted, needs_root
from faults.writing import flash, surroundings

from imagesmith.errors import DeviceRefused
from imagesmith.flash.card_writer import ORDERS, CardWriter
from imagesmith.messages import Compare, Done, Open, Put
from imagesmith.model import Device
from imagesmith.planning.flash import plan_flash
from imagesmith.ring import SLOT, Failed, Link, Ring
from imagesmith.units import MiB

pytestmark = needs_root
fuse = pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="needs FUSE for the bad card")


@contextlib.contextmanager
def hanging(folder: Path, count: int) -> Iterator[list[BadCard]]:
    with contextlib.ExitStack() as stack:
        cards = []
        for number in range(count):
            place = folder / f"place{number}"
            place.mkdir()
            cards.append(stack.enter_context(bad_card(place, dirty_disk(place / "card", 40 * MiB))))
            stack.callback(cards[-1].wake)
        yield cards


def stopped(folder: Path, cards: list[BadCard], presses: int) -> tuple[float, subprocess.CompletedProcess[str]]:
    """A run whose cards all hang while they are written, and Ctrl-C so often: seconds from the first, and the end."""
    image = make_image(folder / "i.img", "gpt")
    argv = [sys.executable, "-m", "imagesmith", "flash", "--yes", image, *(card.device for card in cards)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, **surroundings(folder)) as process:
        assert process.stderr
        told = []
        begun = 0
        while begun < len(cards):
            told.append(process.stderr.readline())
            begun += told[-1].startswith("write")
        for card in cards:
            card.stall()
        time.sleep(0.5)
        start = time.monotonic()
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
            time.sleep(0.4)
        told.append(process.stderr.read())
        process.wait(20)
        return time.monotonic() - start, subprocess.CompletedProcess(argv, process.returncode, "", "".join(told))


@fuse
@pytest.mark.parametrize(("count", "presses"), [(1, 1), (1, 3), (4, 1)])
def test_ctrl_c_is_answered_in_time_with_the_state_of_each_card(tmp_path: Path, count: int, presses: int) -> None:
    with hanging(tmp_path, count) as cards:
        seconds, done = stopped(tmp_path, cards, presses)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert "stopped by you" in done.stderr
    assert done.stderr.count("not bootable") >= count
    assert seconds < 3.5  # 2 s are promised; a busy machine takes its time to end a process
    for number in range(count):
        assert (tmp_path / f"place{number}" / "card").read_bytes()[:MiB] == bytes(MiB)


def test_what_another_card_in_the_reader_has_mounted_stays_mounted(tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.img", "dos")
    with (
        loop_device(dirty_disk(tmp_path / "card", 40 * MiB)) as device,
        tempfile.TemporaryDirectory(prefix="imagesmith-", dir="/mnt") as point,
    ):
        call("mke2fs", "-q", device)
        report = listed(device)
        other = replace(report, diskseq=report.diskseq - 1)
        with mounted(device, Path(point)):
            with pytest.raises(DeviceRefused, match="another medium was put in"):
                flash(plan_flash(other, image_of(image)))
            assert listed(device).mounts == (point,)


@pytest.mark.parametrize(
    ("slot", "piece"),
    [(4, (0, 0, 512)), (-2, (0, 0, 512)), (0, (-512, 0, 512)), (0, (0, SLOT - 512, 1024)), (0, (0, -512, 512))],
)
def test_what_lies_in_no_slot_is_neither_written_nor_called_equal(
    tmp_path: Path, slot: int, piece: tuple[int, int, int]
) -> None:
    disk = dirty_disk(tmp_path / "card", MiB)
    near, _far = socket.socketpair()
    for order in (Put(slot, (piece,)), Compare(slot, (piece,))):
        writer = CardWriter(Device(str(disk), "card", "file", MiB), Link(near, ORDERS), Ring.made(4), Ring.made(1))
        assert writer._answer(Open(writing=True)) == Done()
        assert isinstance(writer._answer(order), Failed)
        writer._card.close()
    assert disk.read_bytes() == b"\xff" * MiB


def test_a_ring_can_not_be_made_smaller_by_who_shares_it() -> None:
    ring = Ring.made(2)
    with pytest.raises(PermissionError):
        os.ftruncate(ring.descriptor, SLOT)
