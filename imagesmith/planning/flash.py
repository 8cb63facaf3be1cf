"""What flashing will do: the plan of the bytes.

Called by `workflow.flash` and `workflow.verify`. Pure: reads no file, opens no device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imagesmith.errors import ContentMalformed
from imagesmith.formats import gpt, mbr
from imagesmith.messages import Deliver
from imagesmith.model import BlockMap, Device, Digest
from imagesmith.units import SECTOR, KiB, MiB

BOOT_SIZE = 4 * KiB
"""Bytes at the start that are written last of all: without them nothing boots."""
HEAD_SIZE = MiB
"""Bytes at the start that are written after the rest was read back: tables, and loaders that sit before partitions."""
TAIL_SIZE = MiB
"""Bytes at the end that are blanked first: an old backup GPT, RAID and ZFS labels."""
STEP = 16 * MiB
"""Bytes that are digested, and compared, as one."""
FINE_STEP = MiB
"""The same where the image can't be read again to find the place."""

_ISO_MARK_AT = 0x8001
_ANY_SIZE = 1 << 62
"""For reading a table of an image that may be too short for it."""


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A raw image to be written: what was learned of it without reading it whole."""

    path: Path
    """Or what stands for one in messages, where it comes through a pipe or from an address."""
    size: int
    """0 = not known before its end."""
    head: bytes
    """Its first HEAD_SIZE bytes."""
    block_map: BlockMap | None = None
    digest: Digest | None = None
    """Of the whole raw image, as its manifest or SHA256SUMS promises."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of the image that go to the same place on the device. `sha256` is hex, "" where nobody promised one."""

    offset: int
    size: int
    sha256: str = ""

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class Patch:
    """Bytes on the device that are not the image's: a partition table that moved to a larger device's end."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class FlashPlan:
    """All that will be written to one device, and in which order.

    blank `blanked`; write `spans` but for what lies in `withheld`; read it back; then write `withheld` one by one
    (the image's bytes under `patches`), each followed by a flush, the first BOOT_SIZE bytes last; read those back.
    """

    device: Device
    image: SourceImage
    spans: tuple[Span, ...]
    blanked: tuple[Span, ...]
    withheld: tuple[Span, ...]
    patches: tuple[Patch, ...]
    note: str = ""
    """Something the user should know about the plan, "" mostly."""

    @property
    def body_bytes(self) -> int:
        """Of the image, all in all; 0 = not known before its end."""
        return sum(span.size for span in self.spans)

    @property
    def cuts(self) -> tuple[int, ...]:
        """Offsets where withheld bytes begin or end."""
        return tuple(sorted({edge for span in self.withheld for edge in (span.offset, span.end)}))


def gpt_sector(head: bytes) -> int | None:
    """The sector size that a GPT in an image's first bytes was made for; None when it has no GPT."""
    return next((sector for sector in (SECTOR, 4096) if head[sector : sector + 8] == b"EFI PART"), None)


def plan_flash(device: Device, image: SourceImage) -> FlashPlan:
    """The plan for a device that nothing speaks against.

    Raises ContentMalformed when map and image don't fit, and when the image is cut short.
    """
    sector = device.logical_sector
    refuse_size(image)
    if map_tells_less(image):
        image = replace(image, block_map=None)
    if image.block_map and image.block_map.block_size % sector:
        raise ContentMalformed(
            f"the block map has blocks of {image.block_map.block_size} bytes, but the card's sectors have {sector}",
            where=str(image.path),
            hint="flash it without its map, or make a map with larger blocks: bmaptool create",
        )
    patches, tail, note = _moved_table(device, image)
    head_size = min(HEAD_SIZE, device.size)
    withheld = [Span(BOOT_SIZE, head_size - BOOT_SIZE)] if head_size > BOOT_SIZE else []
    if tail and tail.offset >= head_size:
        withheld.append(tail)
    withheld.append(Span(0, min(BOOT_SIZE, head_size)))
    tail_at = max(head_size, (device.size - TAIL_SIZE) // sector * sector)
    blanked = [Span(0, head_size)]
    if tail_at < device.size:
        blanked.append(Span(tail_at, device.size - tail_at))
    return FlashPlan(device, image, tuple(spans_of(image)), tuple(blanked), tuple(withheld), patches, note)


def map_tells_less(image: SourceImage) -> bool:
    """Whether the block map can't vouch for all that it names, while a digest of the whole image is known.

    Then the map is not used: that digest can only be checked when all bytes are read.
    """
    return bool(image.digest and image.block_map and not all(part.sha256 for part in image.block_map.ranges))


def spans_of(image: SourceImage) -> Iterator[Span]:
    """The ranges of the map; without a map everything, zeros too: a zero need not be on the card already."""
    if image.block_map is None:
        if image.size:
            yield Span(0, image.size)
        return
    block = image.block_map.block_size
    for part in image.block_map.ranges:
        offset = part.first * block
        yield Span(offset, min((part.last + 1) * block, image.block_map.image_size) - offset, part.sha256)


def delivery(plans: Sequence[FlashPlan], *, again: bool) -> Deliver:
    """What the feeder must bring for all these cards, which get the same image. `again`: it can be asked twice."""
    image = plans[0].image
    spans = tuple((span.offset, span.size, span.sha256) for span in plans[0].spans) if image.block_map else ()
    return Deliver(
        spans=spans,
        everything=image.block_map is None,
        cuts=tuple(sorted({cut for plan in plans for cut in plan.cuts})),
        step=STEP if again else FINE_STEP,
        digest=str(image.digest) if image.digest and image.block_map is None else "",
    )


def refuse_size(image: SourceImage) -> None:
    """Raise ContentMalformed when the image's size, where it is known, is not what its map or its table tell.

    Asked before anything is written, and again when all has come: of some sources the size is known only then.
    """
    if image.block_map and image.size and image.block_map.image_size != image.size:
        raise ContentMalformed(
            f"the block map is for an image of {image.block_map.image_size} bytes, this one has {image.size}",
            where=str(image.path),
            hint="map and image do not belong together: build or fetch both again",
        )
    if not image.block_map:
        _refuse_cut(image)


def _refuse_cut(image: SourceImage) -> None:
    """Raise ContentMalformed when a partition goes on behind the image: a second GPT copy alone may be missing.

    A table that can't be read tells nothing. (With a block map, that tells the size that the image should have.)
    """
    sector = gpt_sector(image.head)
    try:
        table = gpt.parse(image.head, _ANY_SIZE, sector) if sector else mbr.parse(image.head[:SECTOR])
    except ContentMalformed:
        return
    last = max(table.partitions, key=lambda part: part.start + part.size, default=None)
    if not image.size or not last or last.start + last.size <= image.size or last.type == mbr.PROTECTIVE:
        return
    raise ContentMalformed(
        f"the image is cut short: its partition {last.number} ends at byte {last.start + last.size}, the image at"
        f" {image.size}",
        where=str(image.path),
        hint="fetch or copy the image again",
    )


def _moved_table(device: Device, image: SourceImage) -> tuple[tuple[Patch, ...], Span | None, str]:
    """Patches that bring a GPT's second copy to the device's end, where that copy lies, and a note."""
    sector = gpt_sector(image.head)
    if sector is None or image.head[_ISO_MARK_AT : _ISO_MARK_AT + 5] == b"CD001":
        # An installer's medium is no disk that grows; and its protective MBR has an entry more, for old BIOSes.
        return (), None, ""
    try:
        table = gpt.parse(image.head, image.size or device.size, sector)
        moved = gpt.resized(table, device.size)
        offset, backup = gpt.encode_backup(moved)
        primary = gpt.encode_primary(moved, image.head[:SECTOR])
    except (ContentMalformed, ValueError) as error:
        return (), None, f"the partition table is written as it is, its second copy does not move to the end: {error}"
    tail = Span(offset, device.size - offset)
    if moved.disk_size == table.disk_size:
        return (), tail, ""
    return (Patch(0, primary), Patch(offset, backup)), tail, ""
