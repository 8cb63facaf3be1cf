"""Growing the root without mounting it: the image's file, the table, then the ext4.

Called by `workflow.build`. Done with `resize2fs image?offset=N`, which is not quite made for it: at its end it cuts
the *file* to the size of the *file system*, offset forgotten, and so loses what it has just written at the tail
(seen with e2fsprogs 1.47.2). It does that only when the descriptor it opens first is not 0, so it is started with
stdin closed, and the image's size is checked afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

from imagesmith import tools
from imagesmith.errors import EditFailed
from imagesmith.events import Listener, Noted, unheard
from imagesmith.formats import gpt, mbr
from imagesmith.image.raw import RawImage, Table
from imagesmith.image.roles import Volume
from imagesmith.units import MiB, align_up, show_size


def grow_root(raw: RawImage, at_least: int, *, epoch: int, listener: Listener = unheard) -> bool:
    """Make the root's file system at least `at_least` bytes; True when something was done.

    The image, the partition and the file system grow; nothing else moves. Raises EditFailed when the root is not
    the last partition or its file system is damaged, NoSpace when the disk is full.
    """
    root = raw.volume("root")
    if root.filesystem.size >= at_least:
        return False
    _refuse_unless_last(raw, root)
    raw.ext4(root).check()
    size = max(align_up(at_least, MiB), root.partition.size)
    image_size = _write_table(raw, root, size)
    with raw.edited():
        _resize(raw, root, size, epoch)
        if raw.size != image_size:
            raise EditFailed(
                f"resize2fs cut the image from {image_size} to {raw.size} bytes",
                where=str(raw.path),
                hint="this version of e2fsprogs can't grow a file system inside an image; tried is 1.47",
            )
    grown = raw.volume("root")
    raw.ext4(grown).check()
    listener(Noted(f"the root was grown from {show_size(root.filesystem.size)} to {show_size(grown.filesystem.size)}"))
    return True


def _refuse_unless_last(raw: RawImage, root: Volume) -> None:
    behind = [each for each in raw.volumes() if each.partition.start > root.partition.start]
    if behind:
        raise EditFailed(
            f"the root, {root.name}, can't be grown: {behind[0].name} is behind it",
            where=str(raw.path),
            hint="use a base whose root is the last partition, or set min_root no larger than it is",
        )


@dataclass(frozen=True, slots=True)
class _Piece:
    at: int
    data: bytes


def _write_table(raw: RawImage, root: Volume, size: int) -> int:
    """Make room in the image and say so in its table; the image's new size."""
    table, old_size = raw.table(), raw.size
    end = root.partition.start + size
    image_size = max(old_size, align_up(end, MiB) + (MiB if isinstance(table, gpt.Gpt) else 0))
    pieces = _pieces(table, root.partition.number, size, image_size, raw.read_at(0, 512))
    raw.resize(image_size)
    for piece in pieces:
        raw.write_at(piece.at, piece.data)
    return image_size


def _pieces(table: Table, number: int, size: int, image_size: int, first_sector: bytes) -> list[_Piece]:
    """What to write where, for the root to have `size` bytes."""
    if isinstance(table, mbr.Mbr):
        return [_Piece(0, mbr.encode(mbr.with_partition_size(table, number, size), first_sector))]
    # The old second copy would lie in the middle of the grown root and look like a table.
    old_backup, old = gpt.encode_backup(table)
    grown = gpt.with_partition_size(gpt.resized(table, image_size), number, size)
    return [
        _Piece(old_backup, bytes(len(old))),
        _Piece(0, gpt.encode_primary(grown, first_sector)),
        _Piece(*gpt.encode_backup(grown)),
    ]


def _resize(raw: RawImage, root: Volume, size: int, epoch: int) -> None:
    # Whole blocks, at most 64 KiB each; `size` is in whole MiB unless the partition was odd already.
    kib = size // 65536 * 64
    name = f"{raw.path.name}?offset={root.partition.start}"
    # -f: it was checked just now; resize2fs would also want the date of the last check to be newer than the mount.
    argv = ["sh", "-c", 'exec "$0" "$@" <&-', tools.find("resize2fs"), "-f", name, f"{kib}K"]
    done = tools.run(argv, env={"E2FSPROGS_FAKE_TIME": str(max(epoch, 1))}, cwd=raw.path.parent, expect=None)
    if done.returncode:
        raise EditFailed(
            f"resize2fs could not grow {root.name} to {show_size(size)}: {done.complaint}", where=str(raw.path)
        )
