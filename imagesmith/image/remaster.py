"""An installer's medium made anew with our files in it: every other file and the way it is started stay as they are.

Called by `workflow.build`. xorriso writes it; nothing of that is trusted: what was put is read back, what was not is
compared with the base byte by byte, and so are the boot records.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imagesmith import tools
from imagesmith.disk import failures, write_at
from imagesmith.errors import EditFailed
from imagesmith.events import Listener, Progress, StepFinished, StepStarted, unheard
from imagesmith.families.ubuntu_live import FOLDER
from imagesmith.formats.credentials import OpenSecret
from imagesmith.formats.manifest import AppliedEdit
from imagesmith.image.grub_menu import kernel_lines, with_boot_words
from imagesmith.image.iso import Extent, Iso
from imagesmith.image.payload import TAR, pack
from imagesmith.image.raw import RawImage
from imagesmith.image.tree import split
from imagesmith.model import BootWords, Edit, PutFile
from imagesmith.units import SECTOR, MiB

_SUMS = "/md5sum.txt"
_SUM_LINE = re.compile(rb"^([0-9a-f]{32})(  | \*)\./(.+)$", re.MULTILINE)
_BOOT_CODE = 432
"""Of the first sector; behind it are places of files and the table."""


def remaster(
    base: Path,
    target: Path,
    edits: Sequence[Edit],
    *,
    epoch: int,
    open_secret: OpenSecret,
    listener: Listener = unheard,
) -> tuple[AppliedEdit, ...]:
    """Make the medium `target` (0600, must not exist) of the ISO `base`; what was done, in the order of `edits`.

    Edits of the role `medium` go into its tree, those of `root` are packed for the installed system. Everything
    written bears the time `epoch`. Raises EditFailed, DigestMismatch, ContentMalformed, NoSpace, IOFailed.
    """
    iso = Iso(base)
    with failures(target.parent, "making a working folder"):
        scratch = tempfile.TemporaryDirectory(prefix=".medium-", dir=target.parent)
    with scratch as name:
        wanted = _Wanted(iso, Path(name) / "tree")
        done = wanted.take(edits, epoch, open_secret)
        wanted.add_sums()
        wanted.date(epoch)
        _write(iso, wanted, target, epoch)
        made = Iso(target)
        _trim(target)
        _mend_sums(iso, made)
        _compare(iso, made, wanted, listener)
    return done


@dataclass(slots=True)
class _Wanted:
    """The files to be put, in a folder that looks like the medium's tree."""

    iso: Iso
    tree: Path
    paths: dict[str, Path] = field(default_factory=dict)
    """By path on the medium, where its content lies here."""

    def take(self, edits: Sequence[Edit], epoch: int, open_secret: OpenSecret) -> tuple[AppliedEdit, ...]:
        """All edits; the installed system's as files in FOLDER. Raises EditFailed."""
        inside = [edit for edit in edits if edit.partition == "root"]
        with failures(self.tree, "preparing files for the medium"):
            (self.tree / FOLDER[1:]).mkdir(parents=True)
        packed = iter(pack(inside, self.tree / FOLDER[1:], epoch=epoch, open_secret=open_secret))
        kernels = 0
        for edit in edits:
            if edit.partition == "medium":
                kernels += self._put(edit)
            elif edit.partition != "root":
                raise self._refusal(edit.path, f"is for the partition {edit.partition}, which an installer has not")
        if not kernels:
            raise self._refusal("the menus of the medium", "start no kernel of /casper, so the installer would ask")
        self._seal_payload()
        return tuple(next(packed) if edit.partition == "root" else AppliedEdit.of(edit, None) for edit in edits)

    def add_sums(self) -> None:
        """The medium's own list of MD5 sums, which it checks when it starts, with what is new and what changed."""
        if _SUMS not in self.iso.files:
            return
        text = self.iso.read(_SUMS)
        sums = {path: _md5(local) for path, local in self.paths.items()}
        listed = {match[3].decode("utf-8", "surrogateescape") for match in _SUM_LINE.finditer(text)}
        text = _SUM_LINE.sub(lambda match: _with_sum(match, sums), text)
        new = sorted(path for path in sums if path[1:] not in listed)
        self.add(_SUMS, text + b"".join(f"{sums[path]}  .{path}\n".encode() for path in new))

    def date(self, epoch: int) -> None:
        """Give everything the time that the medium's files shall bear; folders last, for files are put into them."""
        for place in sorted(self.tree.rglob("*"), reverse=True):
            if place.is_dir():
                place.chmod(0o755)
            os.utime(place, (epoch, epoch))

    def add(self, path: str, content: bytes, mode: int = 0o444) -> None:
        place = self.tree / path[1:]
        with failures(place, "preparing files for the medium"):
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.exists():
                place.unlink()
            place.write_bytes(content)
            place.chmod(mode)
        self.paths[path] = place

    def _put(self, edit: Edit) -> int:
        """One edit of the medium; how many kernels it gave words to."""
        split(edit.path, str(self.iso.path))
        if isinstance(edit, PutFile) and isinstance(edit.content, bytes):
            self.add(edit.path, edit.content, edit.mode)
            return 0
        if not isinstance(edit, BootWords):
            raise self._refusal(edit.path, f"an edit of the kind {type(edit).__name__} can't be made on a medium")
        if edit.path not in self.iso.files:
            return 0
        try:
            menu = with_boot_words(self.iso.read(edit.path), edit.installer, edit.installed)
        except ValueError as error:
            raise self._refusal(edit.path, str(error)) from error
        self.add(edit.path, menu)
        return kernel_lines(menu)

    def _seal_payload(self) -> None:
        """Sums of our folder, which the installer checks before it believes it; and its tar for root alone."""
        folder = self.tree / FOLDER[1:]
        for place in sorted(folder.iterdir()):
            self.paths[f"{FOLDER}/{place.name}"] = place
            if place.name == TAR:
                place.chmod(0o400)
            elif not place.stat().st_mode & 0o111:
                place.chmod(0o444)
        names = sorted(place.name for place in folder.iterdir())
        sums = (f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
        self.add(f"{FOLDER}/SHA256SUMS", "".join(sums).encode())

    def _refusal(self, path: str, what: str) -> EditFailed:
        return EditFailed(f"{path} {what}", where=str(self.iso.path))


def _with_sum(match: re.Match[bytes], sums: Mapping[str, str]) -> bytes:
    path = "/" + match[3].decode("utf-8", "surrogateescape")
    return sums.get(path, match[1].decode()).encode() + match[0][32:]


def _write(iso: Iso, wanted: _Wanted, target: Path, epoch: int) -> None:
    known = {path.split("/")[1] for path in iso.files}
    new = sorted({path.split("/")[1] for path in wanted.paths} - known)
    inside = [path for path in wanted.paths if path.split("/")[1] in known]
    put = [("/" + name, wanted.tree / name) for name in new] + [(path, wanted.paths[path]) for path in inside]
    with failures(target, "making the medium"):
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    argv = ["xorriso", "-no_rc", "-abort_on", "FAILURE", "-return_with", "SORRY", "32", "-report_about", "SORRY"]
    argv += ["-disk_pattern", "off", "-iso_rr_pattern", "off", "-overwrite", "on"]
    # The default would put the padding, and with it a gap, behind the second GPT.
    argv += ["-indev", str(iso.path), "-outdev", str(target), "-boot_image", "any", "replay", "-padding", "included"]
    if iso.has_joliet:
        argv += ["-joliet", "on", "-compliance", "joliet_long_names"]
    for path, local in put:
        argv += ["-map", str(local), path, "-chown_r", "0", path, "--", "-chgrp_r", "0", path, "--"]
    done = tools.run([*argv, "-commit", "-end"], env={"SOURCE_DATE_EPOCH": str(epoch)}, expect=None)
    if done.returncode:
        raise EditFailed(f"xorriso could not make the medium: {done.complaint}", where=str(target))


def _trim(target: Path) -> None:
    """xorriso fills its last 32 KiB up; a GPT's second copy belongs at the end."""
    with RawImage(target, writable=True) as raw:
        header = raw.read_at(SECTOR, SECTOR)
        if header.startswith(b"EFI PART"):
            end = (int.from_bytes(header[32:40], "little") + 1) * SECTOR
            if end < raw.size and not raw.read_at(end, raw.size - end).strip(b"\0"):
                raw.resize(end)


def _mend_sums(base: Iso, made: Iso) -> None:
    """xorriso writes positions into the files that a BIOS starts: their sums are known only now.

    Only for those whose sums were right before. The sum has the same length, so it is written in its place.
    """
    if _SUMS not in made.files:
        return
    text, (at, _) = made.read(_SUMS), made.files[_SUMS][0]
    before = {match[3]: match[1].decode() for match in _SUM_LINE.finditer(base.read(_SUMS))}
    with made.path.open("r+b") as stream, failures(made.path, "writing the medium"):
        for match in _SUM_LINE.finditer(text):
            path = "/" + match[3].decode("utf-8", "surrogateescape")
            moved = path in made.boot_files and path in base.files and path in made.files
            if moved and _md5_of(base.read(path)) == before.get(match[3]):
                write_at(stream.fileno(), _md5_of(made.read(path)).encode(), at + match.start(1))


def _compare(base: Iso, made: Iso, wanted: _Wanted, listener: Listener) -> None:
    """Raise EditFailed for anything that is not what was put, or not as in the base."""
    listener(StepStarted("compare", "the medium with its base"))
    if base.start_anywhere != made.start_anywhere:
        raise _differs(made, "the way it is started changed")
    # Positions are written into these.
    moving = {*base.boot_files, *made.boot_files, _SUMS}
    missing = (base.files.keys() | wanted.paths.keys()) ^ made.files.keys()
    if missing - moving:
        raise _differs(made, f"{sorted(missing)[0]} is not there, or nobody put it there")
    total, done = sum(map(made.size, made.files)), 0
    with base.path.open("rb") as old, made.path.open("rb") as new:
        if os.pread(old.fileno(), _BOOT_CODE, 0) != os.pread(new.fileno(), _BOOT_CODE, 0):
            raise _differs(made, "its first sector's program changed")
        for before, after in zip(base.appended, made.appended, strict=True):
            if not _same(old.fileno(), (before,), new.fileno(), (after,)):
                raise _differs(made, "a partition behind its files changed")
        for path, extents in made.files.items():
            if path in wanted.paths and path != _SUMS:
                with wanted.paths[path].open("rb") as local:
                    same = _same(local.fileno(), ((0, wanted.paths[path].stat().st_size),), new.fileno(), extents)
            else:
                same = path in moving or _same(old.fileno(), base.files[path], new.fileno(), extents)
            if not same:
                raise _differs(made, f"{path} has other bytes than it should")
            done += made.size(path)
            listener(Progress("compare", done, total))
    listener(StepFinished("compare", "all that was not to change is as in the base"))


def _same(old: int, before: Sequence[Extent], new: int, after: Sequence[Extent]) -> bool:
    if [size for _, size in before] != [size for _, size in after]:
        return False
    return all(
        os.pread(old, min(MiB, size - at), start + at) == os.pread(new, min(MiB, size - at), there + at)
        for (start, size), (there, _) in zip(before, after, strict=True)
        for at in range(0, size, MiB)
    )


def _differs(made: Iso, what: str) -> EditFailed:
    return EditFailed(
        f"the new medium is not what it should be: {what}",
        where=str(made.path),
        hint="this version of xorriso may treat the medium otherwise; tried is 1.5.4",
    )


def _md5_of(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _md5(place: Path) -> str:
    with place.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
