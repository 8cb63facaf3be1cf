"""A FAT inside an image, read and edited by mtools without mounting it; few processes for many files.

Called by `image.apply` and `image.raw` (roles). mtools finds names in any case and keeps the image's spelling.
A full FAT is an EditFailed (exit code 11), not a NoSpace: freeing space on this machine would not help.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from imagesmith import tools
from imagesmith.disk import copy_sparse, failures
from imagesmith.errors import EditFailed, ImagesmithError, NoSpace
from imagesmith.image.tree import Entry, File, Folder, Gone, Node, parent

_DAWN = 315532800
"""1980-01-01, the first day FAT knows."""
# `[` and the wildcards would be patterns to mtools, the rest FAT can't store.
_FORBIDDEN = set('"*:<>?\\|[]')


class Fat:
    """A tree (see `tree.Tree`) in the file `image`, from byte `offset` on for `size` bytes."""

    is_fat = True

    def __init__(self, image: Path, offset: int, size: int, where: str) -> None:
        self.where = where
        self._image = image
        self._offset, self._size = offset, size
        # Tools run in the image's folder and are given its bare name: "@@" in a path would mean something.
        self._drive = f"{image.name}@@{offset}"
        self._listed: dict[str, Entry] | None = None

    def look(self, path: str) -> Entry | None:
        if self._listed is None:
            self._listed = self._list()
        return self._listed.get(path.casefold())

    def look_ahead(self, paths: set[str]) -> None:
        """Nothing to do: one listing answers everything."""

    def read(self, path: str) -> bytes:
        return self._run(["mtype", "-i", self._drive, _named(path, self.where)]).stdout

    def change(self, nodes: Mapping[str, Node], sources: Mapping[str, Path], workspace: Path, epoch: int) -> None:
        """Make all `nodes`. `sources` has a local file for every File, `workspace` is a private folder.

        Everything that is written bears the time `epoch`. Raises EditFailed (also when the FAT is full) or NoSpace.
        """
        for path in nodes:
            _named(path, self.where)
        env = {"SOURCE_DATE_EPOCH": str(max(epoch, _DAWN))}
        gone = [path for path, node in nodes.items() if isinstance(node, Gone) and self.look(path)]
        folders = [path for path, node in nodes.items() if isinstance(node, Folder) and not self.look(path)]
        if gone:
            self._run(["mdel", "-i", self._drive, *(f"::{path}" for path in gone)], env)
        if folders:
            self._run(["mmd", "-i", self._drive, *(f"::{path}" for path in folders)], env)
        files = [path for path, node in nodes.items() if isinstance(node, File)]
        for number, (folder, paths) in enumerate(_by_folder(files).items()):
            staged = workspace / f"to-fat-{number}"
            staged.mkdir()
            for path in paths:
                (staged / path.rsplit("/", 1)[1]).symlink_to(sources[path].absolute())
            names = [str(staged / path.rsplit("/", 1)[1]) for path in paths]
            # -o: overwrite without asking. Never -b, which fails on small file systems (mtools 4.0.32).
            self._run(["mcopy", "-o", "-i", self._drive, *names, f"::{folder}"], env)
        self._listed = None

    def read_back(self, nodes: Mapping[str, Node], into: Mapping[str, Path]) -> dict[str, Entry | None]:
        """What there is now at every path of `nodes`; the contents of files go to the local files named by `into`."""
        self._listed = None
        for folder, paths in _by_folder([path for path in into if self.look(path)]).items():
            first = into[paths[0]]
            received = first.with_name(f"{first.name}-from-fat")
            received.mkdir()
            self._run(["mcopy", "-n", "-i", self._drive, *(f"::{path}" for path in paths), str(received)])
            names = {local.name.casefold(): local for local in received.iterdir()}
            for path in paths:
                local = names.get(path.rsplit("/", 1)[1].casefold())
                if not local:
                    raise EditFailed(f"{path} did not come back out of the FAT in {folder}", where=self.where)
                local.rename(into[path])
        return {path: self.look(path) for path in nodes}

    def check(self, workspace: Path) -> None:
        """Raise EditFailed unless `fsck.fat -n` finds nothing to complain about."""
        # fsck.fat takes no offset, so it gets a sparse copy.
        copy = workspace / "fat-to-check"
        with failures(copy, "copying the FAT out for its check"):
            source = os.open(self._image, os.O_RDONLY)
            try:
                target = os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                try:
                    copy_sparse(source, target, self._offset, self._offset + self._size)
                finally:
                    os.close(target)
            finally:
                os.close(source)
        done = tools.run(["fsck.fat", "-n", copy.name], cwd=workspace, expect=None)
        copy.unlink()
        if done.returncode:
            told = [line.strip() for line in done.text.splitlines()[1:] if line.strip()]
            raise EditFailed(
                f"fsck.fat found the FAT damaged: {'; '.join(told[:3]) or done.complaint}",
                where=self.where,
                hint="if the base image has this fault already, get it again or use another one",
            )

    def _list(self) -> dict[str, Entry]:
        """Every entry by its path in lower case."""
        done = self._run(["mdir", "-a", "-b", "-/", "-i", self._drive, "::"], allow=("not found",))
        found = {}
        for line in done.stdout.decode("utf-8", "surrogateescape").splitlines():
            if not line.startswith("::/"):
                continue
            path = line[2:].rstrip("/")
            found[path.casefold()] = Entry(path, "folder" if line.endswith("/") else "file")
        return found

    def _run(
        self, argv: list[str], env: Mapping[str, str] | None = None, allow: tuple[str, ...] = ()
    ) -> tools.Completed:
        # A user's own mtoolsrc must not change what happens here, nor the time zone what is written.
        fixed = {"MTOOLSRC": os.devnull, "MTOOLS_SKIP_CHECK": "1", "TZ": "UTC"}
        done = tools.run(argv, env={**fixed, **(env or {})}, cwd=self._image.parent, expect=None)
        complaint = done.complaint
        # mcopy exits 0 after some of its failures, so what it says counts too.
        if (done.returncode or complaint) and not any(word in complaint for word in allow):
            raise self._refusal(argv[0], complaint or f"exit code {done.returncode}")
        return done

    def _refusal(self, tool: str, complaint: str) -> ImagesmithError:
        if "No space left on device" in complaint:
            return NoSpace(f"{tool}: {complaint}", where=self.where, hint="free some space there, then run it again")
        if "Disk full" in complaint or "No directory slots" in complaint:
            return EditFailed(
                f"the FAT is full ({tool}: {complaint})",
                where=self.where,
                hint="use a base image with a larger boot partition, or put less on it",
            )
        return EditFailed(f"{tool}: {complaint}", where=self.where)


def _named(path: str, where: str) -> str:
    """A path as mtools takes it. Raises EditFailed on names that FAT or mtools would understand otherwise."""
    strange = sorted(_FORBIDDEN & set(path))
    if strange or any(part.endswith((".", " ")) for part in path.split("/")):
        told = f"{' '.join(strange)} in it" if strange else "a name ending in a dot or space"
        raise EditFailed(f"{path!r} can't be on a FAT: it has {told}", where=where, hint="rename the file in the plan")
    return f"::{path}"


def _by_folder(paths: list[str]) -> dict[str, list[str]]:
    folders: dict[str, list[str]] = {}
    for path in paths:
        folders.setdefault(parent(path), []).append(path)
    return folders
