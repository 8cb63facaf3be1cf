"""The one image in a zip archive. Called by `decompress` and `feed_content`; reads the file that it is given."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

from imagesmith.errors import ContentMalformed, ImagesmithError
from imagesmith.sources.decoders import PIECE


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive, unpacked while it is read."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo

    @property
    def size(self) -> int:
        """Unpacked, bytes, as the archive's directory tells."""
        return self.info.file_size

    def pieces(self) -> Iterator[bytes]:
        """Its bytes. Raises ContentMalformed."""
        try:
            with self.archive.open(self.info) as inside:
                while piece := inside.read(PIECE):
                    yield piece
        except Exception as error:  # zipfile lets the errors of zlib, lzma and bz2 through, and its own
            if isinstance(error, ImagesmithError):
                raise
            raise ContentMalformed(f"the zip archive is damaged: {error}", hint="fetch or copy it again") from error


def only_member(file: io.BufferedReader) -> Member:
    """The archive's one file. Raises ContentMalformed when there are more, or it is encrypted or damaged."""
    try:
        archive = zipfile.ZipFile(file)
        members = [info for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ContentMalformed(f"the zip archive is damaged: {error}", hint="fetch or copy it again") from error
    if len(members) != 1:
        names = ", ".join(info.filename for info in members[:3])
        raise ContentMalformed(f"the zip archive holds {len(members)} files ({names} ...), not one image")
    if members[0].flag_bits & 1:
        raise ContentMalformed("the zip archive is encrypted", hint="unpack it yourself and give the image")
    return Member(archive, members[0])
