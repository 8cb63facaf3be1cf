"""What a file system inside an image looks like to an editor: entries by path, and nodes to put there.

`Ext4` and `Fat` are trees; `draft` plans on one without knowing which.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, Protocol

from imagesmith.errors import EditFailed
from imagesmith.model import FileContent
from imagesmith.secret import Secret


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, directory or link as it stands in the image. On FAT, mode and owner are 0."""

    path: str
    """As the image spells it; FAT does not tell cases apart."""
    kind: Literal["file", "folder", "link", "other"]
    mode: int = 0
    """Permission bits only."""
    uid: int = 0
    gid: int = 0
    size: int = 0
    target: str = ""
    """Of a link."""


@dataclass(frozen=True, slots=True)
class File:
    """A file to put, replacing what is there."""

    content: bytes | FileContent | Secret
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory to make, or whose mode and owner to set."""

    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Symlink:
    target: str


@dataclass(frozen=True, slots=True)
class Gone:
    """Nothing may be there."""


Node = File | Folder | Symlink | Gone


class Tree(Protocol):
    """A file system inside an image, unmounted. Paths are absolute, without `.`, `..` or links in their parents."""

    where: str
    """For messages: image, and which partition."""
    is_fat: bool

    def look(self, path: str) -> Entry | None:
        """What is at `path`, a link being shown as a link; None when nothing is."""
        ...

    def look_ahead(self, paths: set[str]) -> None:
        """Told which paths will be asked for, to ask the tool once for all of them."""
        ...

    def read(self, path: str) -> bytes:
        """The content of a small file."""
        ...


def split(path: str, where: str) -> list[str]:
    """The components of an edit's path. Raises EditFailed unless it is absolute and plain."""
    parts = path.split("/")[1:]
    if not path.startswith("/") or not parts or any(part in ("", ".", "..") for part in parts):
        raise EditFailed(f"{path!r} is not an absolute path without '.', '..' or '//'", where=where)
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in path):
        raise EditFailed(f"{path!r} has control characters in it", where=where, hint="rename the file in the plan")
    return parts


def parent(path: str) -> str:
    return str(PurePosixPath(path).parent)
