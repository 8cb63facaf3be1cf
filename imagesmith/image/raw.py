"""The raw image being worked on: an open file with a partition table and volumes. The only mutable thing there is.

Made by `workflow.build` inside one `with`; `grow`, `apply`, `allocation` and `inspect` work on it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from imagesmith.disk import clone, copy_sparse, failures, write_at
from imagesmith.errors import ContentMalformed, EditFailed
from imagesmith.events import Listener, Progress, unheard
from imagesmith.formats import gpt, mbr
from imagesmith.image import roles
from imagesmith.image.ext4 import Ext4
from imagesmith.image.fat import Fat
from imagesmith.image.layout import Reader
from imagesmith.image.probe import probe
from imagesmith.image.roles import Found, Volume
from imagesmith.model import Partition, PartitionRole
from imagesmith.units import KiB

Table = mbr.Mbr | gpt.Gpt
# Room for a GPT with 1024 entries behind 4096-byte sectors.
_HEAD = 160 * KiB


class RawImage:
    """An open raw disk image. Use as a context manager."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Open an image. Raises IOFailed when that does not work, EditFailed on names that our tools can't take."""
        if writable and ("?" in path.name or "@@" in path.name):
            raise EditFailed(f"{path.name!r} is no good name for an image: '?' and '@@' mean something to e2fsprogs"
                             " and mtools", where=str(path), hint="rename it")  # fmt: skip
        self.path = path.absolute()
        with failures(path, "opening the image"):
            self.descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
        self._found: tuple[Found, ...] | None = None

    @classmethod
    def copy_of(cls, base: Path, target: Path, listener: Listener = unheard) -> RawImage:
        """A new image at `target` (0600, must not exist) with the base's content, holes staying holes.

        Shares the base's blocks where the file system can. Emits Progress of step `copy`. Raises NoSpace, IOFailed.
        """
        with failures(base, "opening the base image"):
            source = os.open(base, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with failures(target, "copying the base image"):
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                copy = os.open(target, flags, 0o600)
                try:
                    if not clone(source, copy):
                        size = os.fstat(source).st_size
                        copy_sparse(source, copy, 0, size, told=lambda done: listener(Progress("copy", done, size)))
                finally:
                    os.close(copy)
        finally:
            os.close(source)
        return cls(target, writable=True)

    def __enter__(self) -> RawImage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    @property
    def size(self) -> int:
        return os.fstat(self.descriptor).st_size

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the image's end. Raises IOFailed."""
        pieces = []
        with failures(self.path, "reading the image"):
            while size:
                piece = os.pread(self.descriptor, size, offset)
                if not piece:
                    break
                pieces.append(piece)
                offset, size = offset + len(piece), size - len(piece)
        return b"".join(pieces)

    def write_at(self, offset: int, data: bytes) -> None:
        with failures(self.path, "writing the image"):
            write_at(self.descriptor, data, offset)
        self._found = None

    def resize(self, size: int) -> None:
        with failures(self.path, "growing the image"):
            os.ftruncate(self.descriptor, size)
        self._found = None

    def table(self) -> Table:
        """The partition table: a GPT on 512 or 4096 byte sectors, or an MBR.

        Raises ContentMalformed when there is none, when it is damaged, or when partitions overlap or lie outside.
        """
        head, size = self.read_at(0, _HEAD), self.size
        try:
            for sector in (512, 4096):
                if head[sector : sector + 8] == b"EFI PART":
                    return gpt.parse(head, size, sector)
            table = mbr.parse(head, size)
        except ContentMalformed as error:
            self._refuse_bare(error)
            if not error.where.startswith(str(self.path)):
                error.where = f"{self.path}, {error.where}"
            raise
        if not table.partitions or mbr.is_protective(table):
            self._refuse_bare(None)
            what = "its GPT is missing" if table.partitions else "its partition table is empty"
            raise ContentMalformed(what, where=str(self.path), hint="the image is damaged; get it again")
        return table

    def volumes(self) -> tuple[Volume, ...]:
        """Every partition with its file system and its role, in the order of the table. Raises as `table` does."""
        return roles.assign(self._gathered())

    def volume(self, role: PartitionRole) -> Volume:
        """The one volume with that role, fit to be edited. Raises EditFailed telling what there is instead."""
        found = self._gathered()
        volume = next((each for each in roles.assign(found) if each.role == role), None)
        if not volume:
            rivals = roles.contenders(found, role)
            if rivals:
                names = " and ".join(each.name for each in rivals)
                raise EditFailed(f"{names} could each be the {role} partition", where=str(self.path))
            listed = "; ".join(_described(each.volume) for each in found)
            raise EditFailed(
                f"no partition is recognised as {role}: there is {listed}",
                where=str(self.path),
                hint="a root is an ext4 with /etc; an esp a FAT of that type with EFI; boot a FAT with cmdline.txt",
            )
        if volume.filesystem.trouble:
            raise EditFailed(
                f"{volume.name} can't be edited: {volume.filesystem.trouble}",
                where=str(self.path),
                hint="check it with e2fsck on a copy, or get the base image again",
            )
        return volume

    def reader(self, partition: Partition) -> Reader:
        """A function that reads relative to the partition's start, not past its end."""

        def read(offset: int, size: int) -> bytes:
            return self.read_at(partition.start + offset, max(0, min(size, partition.size - offset)))

        return read

    def ext4(self, volume: Volume) -> Ext4:
        return Ext4(self.path, volume.partition.start, f"{self.path}, {volume.name}")

    def fat(self, volume: Volume) -> Fat:
        return Fat(self.path, volume.partition.start, volume.partition.size, f"{self.path}, {volume.name}")

    @contextmanager
    def edited(self) -> Iterator[None]:
        """Around work of tools on the image: what was known of its volumes is asked anew afterwards."""
        try:
            yield
        finally:
            self._found = None

    def _gathered(self) -> tuple[Found, ...]:
        if self._found is None:
            self._found = tuple(self._look_into(partition) for partition in self.table().partitions)
        return self._found

    def _look_into(self, partition: Partition) -> Found:
        filesystem = probe(self.reader(partition), partition.size)
        volume = Volume(partition, filesystem)
        if filesystem.kind == "unknown":
            return Found(volume, frozenset())
        tree = self.ext4(volume) if filesystem.kind == "ext4" else self.fat(volume)
        landmarks = roles.LANDMARKS[filesystem.kind]
        try:
            tree.look_ahead(set(landmarks))
            return Found(volume, frozenset(path for path in landmarks if tree.look(path)))
        except EditFailed as error:
            trouble = filesystem.trouble or error.what
            return Found(Volume(partition, replace(filesystem, trouble=trouble)), frozenset())

    def _refuse_bare(self, cause: ContentMalformed | None) -> None:
        filesystem = probe(self.read_at, self.size)
        if filesystem.kind == "unknown":
            return
        raise ContentMalformed(
            f"this is a bare file system ({filesystem}), not a disk image: it has no partition table",
            where=str(self.path),
            hint="use the image of a whole disk",
        ) from cause


def _described(volume: Volume) -> str:
    trouble = f", {volume.filesystem.trouble}" if volume.filesystem.trouble else ""
    return f"{volume.name} of type {volume.partition.type}{trouble}"
