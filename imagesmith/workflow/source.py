"""The image that goes to cards, opened but not expanded: a file, one built for a TARGET, standard input, an address.

Called by `workflow.flash` and `workflow.verify`. Opens files; what is in them is read by the feeder.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from imagesmith.errors import ContentMalformed, IOFailed, UsageError
from imagesmith.events import Listener
from imagesmith.messages import Look, Looked
from imagesmith.model import BlockMap, Digest
from imagesmith.planning.flash import SourceImage
from imagesmith.sources import content
from imagesmith.sources.shown import shown
from imagesmith.workflow.beside import Beside, digest_in, look_beside, of_packed, preferred, raw_name, sums_beside
from imagesmith.workflow.built import CurrentPlanId
from imagesmith.workflow.chosen import image_named

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Opened:
    """A source to be given to a feeder. `named` is the raw image's place, or would be: its side files lie there."""

    look: Look
    named: Path
    note: str = ""
    """A word for the user: its name and age."""
    path: Path | None = None
    """The file that is read; None for a pipe or an address."""
    block_map: BlockMap | None = None
    """The one that came with an address."""

    @property
    def version(self) -> str:
        """What tells these bytes from others of the same name; "" where nothing does."""
        if self.look.digest:
            return self.look.digest
        if not self.path:
            return ""
        status = os.fstat(self.look.descriptor)
        return f"{self.path.resolve()} {status.st_size} {status.st_mtime_ns}"

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (self.look.descriptor,) if self.look.descriptor >= 0 else ()

    def beside(self, looked: Looked, head: bytes) -> Beside:
        """What lies beside it; beside a pipe or an address no file does. Raises as `look_beside` does."""
        if self.path:
            found = look_beside(self.path, self.named, (looked.size, head))
            return of_packed(found) if looked.format != "raw" and self.path == self.named else found
        size = looked.size or (self.block_map.image_size if self.block_map else 0)
        return Beside(SourceImage(self.named, size, head, self.block_map), None, (), ())


@dataclass(frozen=True, slots=True)
class Trust:
    """What the user says of the source's bytes."""

    digest: Digest | None = None
    """Of the file as it lies there or comes, packed or not."""
    insecure: bool = False
    """Nothing needs to vouch for what comes from an address."""


AS_IT_IS = Trust()
"""Nothing is said: files are taken, addresses need somebody who vouches for them."""


@contextlib.contextmanager
def opened(
    source: str | None, output_dir: Path, current_plan_id: CurrentPlanId, listener: Listener, trust: Trust
) -> Iterator[Opened]:
    """The source that a word on the command line means; None = the image built last.

    Raises UsageError (no such image, a stale one, a folder, an address that nothing vouches for ...), IOFailed,
    SourceUnreachable.
    """
    promised = str(trust.digest) if trust.digest else ""
    if source == STDIN:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("nothing comes through standard input", hint="pipe an image in: xz -dc IMAGE.xz | ...")
        # Another number: 0 is what children get nothing through.
        descriptor = os.dup(0)
        try:
            yield Opened(Look("standard input", descriptor=descriptor, digest=promised), Path("standard input"))
        finally:
            os.close(descriptor)
    elif source is not None and _is_address(source):
        from imagesmith.workflow.address import looked_up  # here, since what fetches takes long to import

        found = looked_up(source, trust.digest, listener, insecure=trust.insecure)
        look = Look(shown(source), url=source, digest=str(found.digest) if found.digest else "")
        yield Opened(look, Path(found.name), block_map=found.block_map)
    else:
        path, note = image_named(source, output_dir, current_plan_id)
        with opened_file(path, listener, note, promised) as file:
            yield file


@contextlib.contextmanager
def opened_file(path: Path, listener: Listener, note: str = "", digest: str = "") -> Iterator[Opened]:
    """An image file, packed or not. `digest` is promised of it as it lies; else SHA256SUMS is asked for a packed one's.

    Without `digest` the raw one beside it may stand for it (`beside.preferred`). Raises UsageError, IOFailed;
    ContentMalformed, DigestMismatch for SHA256SUMS.
    """
    named = raw_name(path)
    path = path if digest else preferred(path, listener)
    descriptor = _open(path)
    try:
        if not digest and (named != path or _is_packed(descriptor)):
            # The list promises this file; for a raw one `look_beside` knows it.
            listed = digest_in(sums_beside(path), path)
            digest = str(listed) if listed else ""
        yield Opened(Look(str(path), descriptor=descriptor, digest=digest), named, note, path)
    finally:
        os.close(descriptor)


def _is_packed(descriptor: int) -> bool:
    """Whether a file is packed by its content, whatever its name says."""
    try:
        return content.detect(os.pread(descriptor, content.HEAD, 0)) != "raw"
    except (ContentMalformed, OSError):
        return False  # the feeder tells what it is


def _is_address(word: str) -> bool:
    """Whether it is a URL. Raises UsageError for one that is not https, or has a password in it, which is not told."""
    scheme, colons, _ = word.partition("://")
    if not colons or "/" in scheme:
        return False
    _check_address(word)
    if scheme.lower() != "https":
        raise UsageError(
            f"{scheme}:// is not safe: anybody on the way could change the image",
            where=shown(word),
            hint="use the publisher's https:// address, or fetch it yourself and give the file",
        )
    return True


def _check_address(word: str) -> None:
    try:
        parts = urlsplit(word)
        named, _ = "@" in parts.netloc, parts.port
    except ValueError as error:  # its words may hold a piece of a password
        raise UsageError(
            "this is no usable address: its server or port can't be read",
            hint="write it like https://example.org/pi.img.xz; a name and password belong in ~/.netrc",
        ) from error
    if named:
        raise UsageError(
            "an address with a user's name or password in it is not taken: others see it in the list of processes",
            where=shown(word),
            hint=f"put them into ~/.netrc: machine {parts.hostname} login NAME password PASSWORD",
        )


def _open(path: Path) -> int:
    try:
        # Without O_NONBLOCK a named pipe would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise IOFailed(
            f"can't be read: {error.strerror}",
            where=str(path),
            hint="is the path right? Under sudo, too, it must be readable for the user who called",
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(
            "is no regular file", where=str(path), hint="give an image file as the source, or - for a pipe"
        )
    os.set_blocking(descriptor, True)
    return descriptor
