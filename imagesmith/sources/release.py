"""Looks up a file of a program's release: which version a channel means, which digest its publisher gives the file.

Called by `workflow`; what is found goes into the lock, and only from there into images. Asks the publisher over https,
and fetches none of the files themselves. Nobody signs the list of digests: it is as good as its server's certificate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from imagesmith.errors import ContentMalformed, ImagesmithError
from imagesmith.formats import checksums
from imagesmith.formats.indexes.newest import file_name, text_of
from imagesmith.model import Architecture, ReleaseSource
from imagesmith.sources.asking import Asking
from imagesmith.sources.fetch import PATIENT, NotThere, Patience, announced, leads_to
from imagesmith.sources.lock_entry import LockEntry

Kind = Literal["program", "images"]
_VERSION = re.compile(r"v[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}[0-9A-Za-z.+-]{0,40}")


def version_of(source: ReleaseSource, channel: str, *, patience: Patience = PATIENT) -> str:
    """The version that a channel means now: `stable`, `latest`, or a minor version as `v1.36`.

    Raises SourceUnreachable, ContentMalformed for an answer that is no version, or of another minor version.
    """
    url = source.channel_url(channel)
    try:
        version = file_name(leads_to(url, patience=patience))
    except NotThere as error:
        error.hint = f"is there a channel {channel}? write k3s: channel: stable, or version: in the inventory"
        raise
    other = re.fullmatch(r"v[0-9]+\.[0-9]+", channel) and not version.startswith(f"{channel}.")
    if not _VERSION.fullmatch(version) or other:
        raise ContentMalformed(
            f"the channel {channel} leads to {version[:60]!r}, which is no version of it",
            where=url,
            hint="give the version itself in the inventory (k3s: version:), or see profiles/releases/k3s.yaml",
        )
    return version


def find(
    source: ReleaseSource,
    kind: Kind,
    architecture: Architecture,
    version: str,
    asking: Asking,
    *,
    address: str,
    today: str,
    patience: Patience = PATIENT,
) -> LockEntry:
    """One file of a release, as the lock keeps it; `address` = what led to it, its channel's or its folder's.

    Raises SourceUnreachable where the release or the file is not there, ContentMalformed where its list of digests is
    none, or does not name it.
    """
    folder = source.folder_url(version)
    files: Mapping[Kind, Mapping[str, str]] = {"program": source.program, "images": source.images}
    listed, name = source.sums[architecture], files[kind][architecture]
    try:
        digest = checksums.digest_for(text_of(asking.need(folder + listed), "the checksum list"), name)
    except ImagesmithError as error:
        error.where = error.where or folder + listed
        raise error.within(f"while looking for {name} of {version}") from error
    size, made = announced(folder + name, patience=patience)
    return LockEntry(
        url=folder + name,
        size=size,
        digest=digest,
        released=made,
        address=address,
        version=version,
        resolved=today,
        unchecked=True,
        origin={"digest": f"{listed} over https, unsigned", "version": _said(address, folder)},
    )


def _said(address: str, folder: str) -> str:
    return "asked for by the inventory" if address == folder else f"where {address} leads"
