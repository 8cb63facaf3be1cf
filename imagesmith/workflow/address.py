"""An image at an https address: what vouches for it, and the block map that comes with it.

Called by `workflow.source`. Reads small files beside the image (`SHA256SUMS`, `IMAGE.sha256`, the map); the image is
fetched by the feeder, checked and written in one pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

from imagesmith.errors import ContentMalformed, DigestMismatch, ImagesmithError, UsageError
from imagesmith.events import Listener, Noted, Warned
from imagesmith.formats import bmap, checksums
from imagesmith.model import BlockMap, Digest
from imagesmith.sources.fetch import NotThere, fetch_small
from imagesmith.sources.shown import shown
from imagesmith.units import MiB
from imagesmith.workflow.beside import PACKED, SUMS

_LARGEST_MAP = 64 * MiB


@dataclass(frozen=True, slots=True)
class Address:
    """What is known of the image before it comes."""

    url: str
    digest: Digest | None
    """Of the file as it lies there, packed or not."""
    block_map: BlockMap | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return _name_of(self.url)


def looked_up(url: str, digest: Digest | None, listener: Listener, *, insecure: bool = False) -> Address:
    """Find what vouches for the image at `url`: `digest` (the user's own), else a list of checksums beside it.

    Such a list is as good as its server: nobody signed it. The map is only taken when that list vouches for it too,
    for a wrong one would leave parts of the image out. Raises UsageError when nothing vouches for the image and
    `insecure` does not say that nothing needs to; SourceUnreachable when the server can't be reached.
    """
    if digest:
        return Address(url, digest)
    name = _name_of(url)
    lists = _lists(url)
    found = lists.get(name)
    if found is None and not insecure:
        raise UsageError(
            "nothing vouches for it: no digest was given, and there is no SHA256SUMS beside it that names it",
            where=shown(url),
            hint="give the publisher's digest: --digest sha256:...; or take it as it comes: --insecure-unverified",
        )
    if found is None:
        listener(Warned(f"nothing vouches for {shown(url)}", "what comes is written as it comes"))
        return Address(url, None)
    listener(Noted("its digest is of the list beside it, which nobody signed: proof against damage, not against fraud"))
    return Address(url, found, _map(url, lists))


def _lists(url: str) -> dict[str, Digest]:
    """Digests by file name, out of every list of checksums that there is."""
    found: dict[str, Digest] = {}
    for place in (urljoin(url, SUMS), f"{url}.sha256"):
        try:
            lines = checksums.parse(fetch_small(place).decode("utf-8", "replace"))
        except (NotThere, ContentMalformed):  # some servers answer everything, with a page
            continue
        for line in lines:
            found.setdefault(PurePosixPath(line.name).name or _name_of(url), line.digest)
    return found


def _map(url: str, lists: dict[str, Digest]) -> BlockMap | None:
    name = _name_of(url)
    raw = name.removesuffix(PurePosixPath(name).suffix) if PurePosixPath(name).suffix in PACKED else name
    for candidate in dict.fromkeys((f"{raw}.bmap", str(PurePosixPath(raw).with_suffix(".bmap")), f"{name}.bmap")):
        if candidate not in lists:
            continue
        place = urljoin(url, candidate)
        data = fetch_small(place, limit=_LARGEST_MAP)
        if Digest.of(data) != lists[candidate]:
            raise DigestMismatch("is not the file that the list beside it names", where=place)
        try:
            return bmap.parse(data.decode("utf-8", "replace"))
        except ImagesmithError as error:
            raise error.within(f"in {place}") from error
    return None


def _name_of(url: str) -> str:
    return unquote(PurePosixPath(urlsplit(url).path).name)
