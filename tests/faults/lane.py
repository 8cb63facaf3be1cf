"""The fault lane's ground: one card to go wrong, an image whose right copy is known byte by byte, and the judge.

Whatever is done to a card, only two ends are good: a failure that says what and where, with no bootable head on the
medium; or a success, and the medium holds exactly what it should. The judge looks at the medium behind the device.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest
from faults.badcard import BadCard, bad_card
from faults.disks import BLOCK, call, dirty_disk, image_of, listed, loop_device, needs_root, random_bytes
from faults.writing import flash

from imagesmith.errors import ImagesmithError
from imagesmith.events import Event, StepFinished, StepStarted
from imagesmith.flash import verdict
from imagesmith.flash.devices import file_as_device
from imagesmith.model import BlockMap, Device, MappedRange
from imagesmith.planning.flash import FlashPlan, SourceImage, plan_flash
from imagesmith.units import MiB

needs_fuse = pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="needs FUSE for the bad card")
needs_lane = [*needs_root, needs_fuse]
CARD_SIZE = 12 * MiB
IMAGE_SIZE = 8 * MiB
BODY = MiB
"""Where the body begins: what lies before is written after it."""
MAPPED = ((0, 300), (301, 900), (1100, 1101), (1300, 2048))
"""The blocks that the image's map lists, ends excluded; among them the body's first, a middle one and its last."""
_BLKFLSBUF = 0x1261


def lane_image(path: Path) -> Path:
    """Random bytes everywhere, with a GPT that sfdisk made."""
    path.write_bytes(random_bytes(IMAGE_SIZE, 7))
    call("sfdisk", "--quiet", "--no-reread", path, stdin="label: gpt\nstart=2048, size=12288, type=L\n")
    return path


def map_of_blocks(path: Path, blocks: tuple[tuple[int, int], ...] = MAPPED) -> BlockMap:
    data = path.read_bytes()
    ranges = [
        MappedRange(first, end - 1, hashlib.sha256(data[first * BLOCK : end * BLOCK]).hexdigest())
        for first, end in blocks
    ]
    return BlockMap(len(data), BLOCK, tuple(ranges))


@dataclass
class Lane:
    """The card, the image with and without its map, and the count of what was tried."""

    card: BadCard
    device: Device
    images: dict[str, SourceImage]
    canary: Path
    canary_device: str
    holder: int
    """Another process's open descriptor of the card, as a desktop has it: a read-back through its cache would pass."""
    exact: dict[str, bytes] = field(default_factory=dict)
    tried: int = 0
    silent: int = 0

    def plan(self, kind: str = "mapped") -> FlashPlan:
        return plan_flash(self.device, self.images[kind])

    def restore(self) -> None:
        """The card works again and is full of something else, and the kernel has that in its cache."""
        self.card.heal()
        with self.card.backing.open("r+b") as file:
            file.write(b"\xff" * CARD_SIZE)
        fcntl.ioctl(self.holder, _BLKFLSBUF)
        os.pread(self.holder, CARD_SIZE, 0)

    @cached_property
    def canary_digest(self) -> str:
        return _digest(self.canary_device)

    def canary_is_unchanged(self) -> bool:
        return _digest(self.canary) == self.canary_digest

    # -- the judge --------------------------------------------------------------------------------

    def judge(self, act: Callable[[], object], kind: str = "mapped") -> object:
        """What `act` returned or the ImagesmithError that it raised, if that was a good end; counts it."""
        self.tried += 1
        try:
            end: object = act()
        except ImagesmithError as error:
            end = error
        if isinstance(end, ImagesmithError) and verdict.WHOLE in end.hint:
            assert self.is_exact(kind)
        elif isinstance(end, ImagesmithError):
            self.no_head_unless_said(end)
        elif not self.is_exact(kind):
            self.silent += 1
            raise AssertionError(f"reported as good, but wrong at byte {self.first_difference(kind)}")
        return end

    def no_head_unless_said(self, error: ImagesmithError) -> None:
        said = "could not be blanked" in error.hint
        assert said or "not bootable" in error.hint or "Nothing was written" in error.hint, error.hint
        if "not bootable" in error.hint:
            assert not said
            assert self.card.truth(0, BLOCK) == bytes(BLOCK)
            assert b"EFI PART" not in self.card.truth(CARD_SIZE - MiB, MiB)

    def is_exact(self, kind: str) -> bool:
        return self.card.truth(0, CARD_SIZE) == self.exact[kind]

    def boots(self) -> bool:
        """Whether anything would take the card for one to boot from: no firmware does without the first sector."""
        return self.card.truth(0, 512) != bytes(512)

    def complete_or_not_bootable(self, kind: str = "mapped") -> None:
        """... or nothing came to it yet: then it is what it was before, whole."""
        untouched = self.card.truth(0, CARD_SIZE) == b"\xff" * CARD_SIZE
        if self.boots() and not untouched and not self.is_exact(kind):
            self.silent += 1
            raise AssertionError(f"it boots, and is wrong at byte {self.first_difference(kind)}")

    def first_difference(self, kind: str) -> int:
        pairs = zip(self.card.truth(0, CARD_SIZE), self.exact[kind], strict=True)
        return next(at for at, (found, right) in enumerate(pairs) if found != right)


@contextlib.contextmanager
def lane_in(folder: Path) -> Iterator[Lane]:
    """Everything that the lane needs, once for many faults."""
    image = lane_image(folder / "i.img")
    mapped = image_of(image, map_of_blocks(image))
    images = {"mapped": mapped, "whole": image_of(image)}
    canary = folder / "canary"
    canary.write_bytes(random_bytes(2 * MiB, 11))
    with (
        bad_card(folder, dirty_disk(folder / "card", CARD_SIZE)) as card,
        loop_device(canary) as canary_device,
    ):
        holder = os.open(card.device, os.O_RDONLY)
        try:
            lane = Lane(card, listed(card.device), images, canary, canary_device, holder)
            assert lane.canary_digest
            lane.exact = {kind: _right_copy(folder, one) for kind, one in images.items()}
            yield lane
            card.wake()
        finally:
            os.close(holder)


def _right_copy(folder: Path, image: SourceImage) -> bytes:
    """What a card must hold: written to a file, and judged by others than us."""
    target = dirty_disk(folder / "right", CARD_SIZE)
    flash(plan_flash(file_as_device(str(target)), image))
    copy, source = target.read_bytes(), image.path.read_bytes()
    assert "No problems found" in call("sgdisk", "--verify", target)
    assert call("sfdisk", "--json", target).count("12288") == 1
    table, places = 34 * 512, MAPPED if image.block_map else ((0, IMAGE_SIZE // BLOCK),)
    assert copy[:440] == source[:440]
    assert b"EFI PART" in copy[-512:]
    untouched = bytearray(b"\xff" * (CARD_SIZE - MiB))
    untouched[:MiB] = bytes(MiB)
    for first, end in places:
        untouched[first * BLOCK : end * BLOCK] = source[first * BLOCK : end * BLOCK]
    assert copy[table : CARD_SIZE - MiB] == untouched[table:]
    assert not any(copy[-MiB:-table])
    target.unlink()
    return copy


def at_step(step: str, act: Callable[[], object], *, finished: bool = False) -> Callable[[Event], None]:
    """A listener that acts once, when the step starts (or has finished)."""
    done: list[bool] = []
    kind = StepFinished if finished else StepStarted

    def listener(event: Event) -> None:
        if isinstance(event, kind) and event.step == step and not done:
            done.append(True)
            act()

    return listener


def names_place(error: ImagesmithError, device: str, place: int) -> bool:
    """Whether the error names the device, and a place of it that is in the block at `place`."""
    if device not in error.where:
        return False
    if begun := re.search(r", byte (\d+)$", error.where):
        return int(begun[1]) < place + BLOCK and place < int(begun[1]) + 4 * MiB
    if error.where == device and "flushing failed" in error.what:
        return True
    places = [(int(first), int(last)) for first, last in re.findall(r"(\d+)-(\d+)", error.what)]
    return any(first < place + BLOCK and place <= last for first, last in places)


def _digest(path: Path | str) -> str:
    with open(path, "rb") as file:  # noqa: PTH123
        return hashlib.file_digest(file, "sha256").hexdigest()
