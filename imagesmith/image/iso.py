"""An installer's ISO image: told from other images, and read by xorriso without mounting it.

Called by `image.remaster`, `image.findings` and `image.inspect`. Reads one file.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from imagesmith import tools
from imagesmith.disk import failures
from imagesmith.errors import ContentMalformed
from imagesmith.image.layout import Reader
from imagesmith.image.raw import RawImage

_MARK_AT = 0x8001
_MARK = b"CD001"
_NAME_AT, _NAME_SIZE = 0x8028, 32
_BLOCK = 2048
_DESCRIPTORS_AT, _MOST_DESCRIPTORS = 16 * _BLOCK, 32
_SECTOR = 512
_FILE = re.compile(r"File data lba:\s*\d+ ,\s*(\d+) ,\s*\d+ ,\s*(\d+) , (.*)")
_APPENDED = re.compile(r"-append_partition .*:(\d+)d-(\d+)d:")
_POSITIONS = (
    (re.compile(r"\d+d-\d+d"), "N"),
    (re.compile(r"_start_\d+s_size_\d+d"), ""),
    (re.compile(r":'[^']*'$", re.MULTILINE), ""),
)

Extent = tuple[int, int]
"""First byte and size."""


def is_iso(raw: RawImage) -> bool:
    """Whether it holds an ISO 9660 file system from its start on, as installers' media do, hybrid or not."""
    return raw.read_at(_MARK_AT, len(_MARK)) == _MARK


def volume_name(read: Reader) -> str:
    """What the medium calls itself, as `Ubuntu-Server 26.04.1 LTS amd64`."""
    return read(_NAME_AT, _NAME_SIZE).decode("ascii", "replace").strip()


class Iso:
    """The files of an ISO image, and how it is started."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def files(self) -> Mapping[str, tuple[Extent, ...]]:
        """Every file by its path, with where its bytes are; more than one extent for what is larger than 4 GiB."""
        found: dict[str, tuple[Extent, ...]] = {}
        told = self._ask("-find", "/", "-type", "f", "-exec", "report_lba", "--")
        for block, size, quoted in _FILE.findall(told):
            path = "".join(shlex.split(quoted))
            found[path] = (*found.get(path, ()), (int(block) * _BLOCK, int(size)))
        return found

    @cached_property
    def start(self) -> str:
        """How it is started, from a CD, a stick, by BIOS and by UEFI: as options that would make it so."""
        return self._ask("-report_el_torito", "as_mkisofs")

    @property
    def start_anywhere(self) -> str:
        """The same without where on the medium things are, to be compared with another's."""
        text = self.start
        for pattern, instead in _POSITIONS:
            text = pattern.sub(instead, text)
        return text

    @cached_property
    def has_joliet(self) -> bool:
        """Whether it has the second tree of names that Windows reads."""
        with failures(self.path, "reading the medium"), self.path.open("rb") as stream:
            for at in range(_DESCRIPTORS_AT, _DESCRIPTORS_AT + _MOST_DESCRIPTORS * _BLOCK, _BLOCK):
                descriptor = os.pread(stream.fileno(), _BLOCK, at)
                if descriptor[:1] == b"\xff":
                    break
                if descriptor[:1] == b"\x02" and descriptor[88:91] in (b"%/@", b"%/C", b"%/E"):
                    return True
        return False

    @property
    def boot_files(self) -> tuple[str, ...]:
        """The files into which positions are written when the medium is made, its catalogue among them."""
        words = (line.split(maxsplit=1) for line in self.start.splitlines())
        named = ("".join(shlex.split(word[1])) for word in words if word[0] in ("-b", "-c", "-e") and len(word) > 1)
        return tuple(path for path in named if path.startswith("/"))

    @property
    def appended(self) -> tuple[Extent, ...]:
        """The partitions behind the file system, as an ESP."""
        found = _APPENDED.findall(self.start)
        return tuple((int(first) * _SECTOR, (int(last) - int(first) + 1) * _SECTOR) for first, last in found)

    def read(self, path: str) -> bytes:
        """The content of a small file. Raises ContentMalformed when it is cut off, IOFailed."""
        pieces = []
        with failures(self.path, "reading the medium"), self.path.open("rb") as stream:
            for start, size in self.files[path]:
                pieces.append(os.pread(stream.fileno(), size, start))
        content = b"".join(pieces)
        if len(content) != self.size(path):
            raise ContentMalformed(f"{path} is cut off", where=str(self.path), hint="the ISO is damaged; get it again")
        return content

    def size(self, path: str) -> int:
        return sum(size for _, size in self.files[path])

    def _ask(self, *words: str) -> str:
        try:
            done = tools.run(["xorriso", "-no_rc", "-report_about", "SORRY", "-indev", str(self.path), *words])
        except tools.ToolFailed as error:
            raise ContentMalformed(
                f"xorriso can't read it: {error.completed.complaint}",
                where=str(self.path),
                hint="the ISO is damaged; get it again",
            ) from error
        return done.text
