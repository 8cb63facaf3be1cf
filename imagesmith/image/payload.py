"""The edits of a system that is not there yet, packed for the script that carries them in once it is installed.

Called by `image.remaster`. Writes payload.tar (files, folders, links), `remove` and `lines` into a folder, as
installer/install reads them.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from imagesmith.disk import failures
from imagesmith.errors import DigestMismatch, EditFailed
from imagesmith.formats.credentials import OpenSecret, revealed
from imagesmith.formats.manifest import AppliedEdit
from imagesmith.image.text import with_line
from imagesmith.image.tree import split
from imagesmith.model import Edit, EnsureLine, FileContent, Link, MakeDir, PutFile, Remove

TAR, REMOVE, LINES = "payload.tar", "remove", "lines"
_OTHERS = 0o007


def pack(edits: Sequence[Edit], folder: Path, *, epoch: int, open_secret: OpenSecret) -> tuple[AppliedEdit, ...]:
    """Write the three files; what each edit will have done. All bear the time `epoch` and belong to whom they say.

    The last edit of a path counts. Raises EditFailed for what can't be carried so, DigestMismatch for a file that
    changed since it was planned.
    """
    wanted = _settled(edits)
    with failures(folder, "packing the node's files"):
        with (
            (folder / TAR).open("wb") as stream,
            tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar,
        ):
            for edit in wanted.nodes.values():
                if not isinstance(edit, Remove):
                    _add(tar, edit, epoch, open_secret)
        removed = [path for path, edit in wanted.nodes.items() if isinstance(edit, Remove)]
        (folder / REMOVE).write_text("".join(f"{path}\n" for path in removed))
        (folder / LINES).write_text("".join(f"{path}\t{line}\n" for path, line in wanted.lines))
    return tuple(AppliedEdit.of(edit, _mode(edit)) for edit in edits)


@dataclass(frozen=True, slots=True)
class _Settled:
    """What is left of edits when each path is thought through to its end."""

    nodes: dict[str, PutFile | MakeDir | Link | Remove] = field(default_factory=dict)
    lines: list[tuple[str, str]] = field(default_factory=list)


def _settled(edits: Iterable[Edit]) -> _Settled:
    settled = _Settled()
    for edit in edits:
        split(edit.path, "the installed system")
        match edit:
            case PutFile() | MakeDir() | Link() | Remove():
                settled.nodes.pop(edit.path, None)
                settled.nodes[edit.path] = edit
            case EnsureLine():
                _line(settled, edit)
            case _:
                raise _refusal(edit, f"an edit of the kind {type(edit).__name__} can't be made by an installer")
    return settled


def _line(settled: _Settled, edit: EnsureLine) -> None:
    before = settled.nodes.get(edit.path)
    if "\n" in edit.line or "\r" in edit.line:
        raise _refusal(edit, f"can't get {edit.line!r} as one line")
    if isinstance(before, PutFile):
        if not isinstance(before.content, bytes):
            raise _refusal(edit, "it is put from a file or a secret, so it can't be changed line by line")
        content = with_line(before.content, edit.line)
        settled.nodes[edit.path] = PutFile("root", edit.path, content, before.mode, before.uid, before.gid)
    else:
        settled.lines.append((edit.path, edit.line))


def _add(tar: tarfile.TarFile, edit: PutFile | MakeDir | Link, epoch: int, open_secret: OpenSecret) -> None:
    info = tarfile.TarInfo(edit.path.lstrip("/"))
    info.mtime = epoch
    match edit:
        case Link():
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, edit.target, 0o777
            tar.addfile(info)
        case MakeDir():
            info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, edit.mode, edit.uid, edit.gid
            tar.addfile(info)
        case PutFile():
            info.mode, info.uid, info.gid = edit.mode, edit.uid, edit.gid
            _add_file(tar, info, edit, open_secret)


def _add_file(tar: tarfile.TarFile, info: tarfile.TarInfo, edit: PutFile, open_secret: OpenSecret) -> None:
    content = edit.content
    if isinstance(content, FileContent):
        info.size = content.size
        with content.path.open("rb") as source:
            if os.fstat(source.fileno()).st_size != content.size:
                raise _changed(edit, content)
            reader = _Digesting(source, content.digest.algorithm)
            tar.addfile(info, reader)
        if reader.hexdigest() != content.digest.hex:
            raise _changed(edit, content)
        return
    if not isinstance(content, bytes):
        if edit.mode & _OTHERS:
            raise _refusal(edit, f"it holds a secret, and mode {edit.mode:04o} lets everybody at it; use 0600")
        try:
            content = revealed(content, open_secret).reveal()
        except ValueError as error:
            raise _refusal(edit, f"it can't be put together: of a secret for it, {error}") from error
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


class _Digesting(io.RawIOBase):
    """A reader that digests what is read through it."""

    def __init__(self, source: IO[bytes], algorithm: str) -> None:
        self._source, self._hasher = source, hashlib.new(algorithm)

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._hasher.update(data)
        return data

    def hexdigest(self) -> str:
        return self._hasher.hexdigest()


def _mode(edit: Edit) -> int | None:
    """What an edit leaves, as far as that is known before there is a system."""
    match edit:
        case PutFile() | MakeDir():
            return edit.mode
        case Link():
            return 0o777
    return None


def _changed(edit: PutFile, content: FileContent) -> DigestMismatch:
    return DigestMismatch(
        f"{edit.path} has another digest than the plan says",
        where=str(content.path),
        hint="the file was changed after it was verified; run the build again",
    )


def _refusal(edit: Edit, what: str) -> EditFailed:
    return EditFailed(f"{edit.path}: {what}", where="the system that the medium installs")
