"""Files out of an image's root, by path, links followed inside the image. Called by `workflow.packages`; reads only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from imagesmith.errors import EditFailed
from imagesmith.image.ext4 import Ext4
from imagesmith.image.raw import RawImage
from imagesmith.image.tree import Entry

_MAX_LINKS = 40


@dataclass(frozen=True, slots=True)
class Root:
    """The root of an open image."""

    tree: Ext4

    @classmethod
    def of(cls, raw: RawImage) -> Root:
        """Raises EditFailed where there is no root that can be read."""
        volume = raw.volume("root")
        if volume.filesystem.kind != "ext4":
            raise EditFailed(f"{volume.name} is no ext4", where=str(raw.path))
        return cls(raw.ext4(volume))

    def files(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The content of those that are files, or lead to some."""
        found: dict[str, bytes] = {}
        for path in paths:
            entry = self._entry(path)
            if entry and entry.kind == "file":
                found[path] = self.tree.read(entry.path)
        return found

    def inside(self, folder: str) -> tuple[str, ...]:
        """The paths of what a folder holds, sorted; none where it is no folder."""
        entry = self._entry(folder)
        if not entry or entry.kind != "folder":
            return ()
        return tuple(f"{folder}/{name}" for name in sorted(self.tree.names(entry.path)))

    def _entry(self, path: str) -> Entry | None:
        """What a path leads to; None where it leads nowhere, out of the image, or round in circles."""
        ahead, here = list(reversed(path.strip("/").split("/"))), "/"
        for _ in range(_MAX_LINKS * 20):
            if not ahead:
                return self.tree.look(here)
            name = ahead.pop()
            if name in ("", "."):
                continue
            if name == "..":
                here = str(PurePosixPath(here).parent)
                continue
            there = f"{here.rstrip('/')}/{name}"
            entry = self.tree.look(there)
            if entry is None:
                return None
            if entry.kind == "link":
                here = "/" if entry.target.startswith("/") else here
                ahead += reversed(entry.target.split("/"))
            else:
                here = there
        return None
