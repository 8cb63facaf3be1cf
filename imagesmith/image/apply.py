"""Putting edits into an image: grouped by volume, made by few tool runs, every one read back, file systems checked.

Called by `workflow.build`. Works in a private folder beside the image, where secrets lie in 0600 files while it runs.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from imagesmith.disk import failures
from imagesmith.errors import DigestMismatch, EditFailed
from imagesmith.events import Listener, Progress, unheard
from imagesmith.formats.credentials import OpenSecret
from imagesmith.formats.manifest import AppliedEdit
from imagesmith.image.draft import Draft
from imagesmith.image.ext4 import Ext4
from imagesmith.image.fat import Fat
from imagesmith.image.raw import RawImage
from imagesmith.image.tree import Entry, File, Folder, Gone, Node, Symlink
from imagesmith.model import Edit, FileContent, PartitionRole
from imagesmith.secret import Secret

_ORDER: tuple[PartitionRole, ...] = ("boot", "esp", "root")


def apply(
    raw: RawImage,
    edits: Sequence[Edit],
    *,
    epoch: int,
    open_secret: OpenSecret,
    listener: Listener = unheard,
) -> tuple[AppliedEdit, ...]:
    """Make all `edits`, each volume's in their order; what was done, for the manifest, in the order of `edits`.

    Everything written bears the time `epoch`. Emits Progress of step `edit` in items. All edits of all volumes are
    thought through before the first byte changes. Raises EditFailed (an impossible edit, a full or damaged file
    system, something read back that is not what was put), DigestMismatch (a file changed since it was planned),
    NoSpace, IOFailed.
    """
    by_role = {role: [edit for edit in edits if edit.partition == role] for role in _ORDER}
    jobs = {role: _job(raw, role, wanted, open_secret) for role, wanted in by_role.items() if wanted}
    total, done = len(edits), 0
    for job in jobs.values():
        with _workspace(raw) as name, raw.edited():
            job.run(Path(name), epoch)
        done += len(job.edits)
        listener(Progress("edit", done, total, "items"))
    modes = {role: iter(job.modes) for role, job in jobs.items()}
    return tuple(AppliedEdit.of(edit, next(modes[edit.partition])) for edit in edits)


def _workspace(raw: RawImage) -> AbstractContextManager[str]:
    """A folder only for us, on the image's own disk since what goes through it can be large."""
    with failures(raw.path.parent, "making a working folder"):
        return tempfile.TemporaryDirectory(prefix=".edits-", dir=raw.path.parent)


def _job(raw: RawImage, role: PartitionRole, edits: Sequence[Edit], open_secret: OpenSecret) -> _Job:
    volume = raw.volume(role)
    tree = raw.ext4(volume) if volume.filesystem.kind == "ext4" else raw.fat(volume)
    draft = Draft(tree, open_secret)
    draft.add_all(edits)
    return _Job(tree, edits, draft.nodes, draft.modes)


@dataclass(frozen=True, slots=True)
class _Job:
    """The edits of one volume."""

    tree: Ext4 | Fat
    edits: Sequence[Edit]
    nodes: Mapping[str, Node]
    modes: Sequence[int | None]
    """What each edit leaves, see `Draft.modes`; the same nodes are read back with them."""

    def run(self, workspace: Path, epoch: int) -> None:
        files = {path: node for path, node in self.nodes.items() if isinstance(node, File)}
        with failures(workspace, "preparing files for the image"):
            sources = {path: _source(node, workspace / f"put-{number}") for number, (path, node) in _numbered(files)}
        self.tree.change(self.nodes, sources, workspace, epoch)
        into = {path: workspace / f"got-{number}" for number, (path, _) in _numbered(files)}
        entries = self.tree.read_back(self.nodes, into)
        for path, node in self.nodes.items():
            self._compare(path, node, entries[path], into.get(path))
        if isinstance(self.tree, Fat):
            self.tree.check(workspace)
        else:
            self.tree.check()

    def _compare(self, path: str, node: Node, entry: Entry | None, local: Path | None) -> None:
        wanted, found = self._described(node), self._described(entry)
        if found != wanted:
            raise self._differs(path, f"{found}, not {wanted}")
        if isinstance(node, File):
            if local is None or not local.exists():
                raise self._differs(path, "nothing that could be read")
            self._compare_content(path, node, local)

    def _compare_content(self, path: str, node: File, local: Path) -> None:
        content = node.content
        if isinstance(content, FileContent):
            with failures(local, "reading back"), local.open("rb") as stream:
                found = hashlib.file_digest(stream, content.digest.algorithm).hexdigest()
            if found != content.digest.hex:
                raise DigestMismatch(
                    f"{path} has another digest than the plan says: {found}",
                    where=f"{self.tree.where}, from {content.path}",
                    hint="the file was changed after it was verified; run the build again",
                )
            return
        with failures(local, "reading back"):
            same = local.read_bytes() == (content.reveal() if isinstance(content, Secret) else content)
        if not same:
            raise self._differs(path, "other bytes than were put")

    def _described(self, thing: Node | Entry | None) -> str:
        """What is to be compared, in words; FAT knows no modes and owners."""
        match thing:
            case None | Gone():
                return "nothing"
            case Symlink() | Entry(kind="link"):
                return f"a link to {thing.target}"
        kind = "a file" if isinstance(thing, File) else "a folder" if isinstance(thing, Folder) else f"a {thing.kind}"
        if isinstance(self.tree, Fat):
            return kind
        return f"{kind} of mode {thing.mode:04o}, owner {thing.uid}:{thing.gid}"

    def _differs(self, path: str, what: str) -> EditFailed:
        return EditFailed(f"{path} was put, but reading it back gives {what}", where=self.tree.where)


def _numbered(files: Mapping[str, File]) -> enumerate[tuple[str, File]]:
    return enumerate(files.items())


def _source(node: File, at: Path) -> Path:
    """A local file with the node's content. Raises OSError."""
    if isinstance(node.content, FileContent):
        at.symlink_to(node.content.path.absolute())
        return at
    content = node.content.reveal() if isinstance(node.content, Secret) else node.content
    descriptor = os.open(at, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    return at
