"""All of a vault as one file, sealed once more: restored by plain age and tar, with no imagesmith.

Called by `workflow.vault`. Reads one folder; gives bytes, and says how they are to be read.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from imagesmith.errors import IOFailed
from imagesmith.secret import Secret
from imagesmith.vault import sealing
from imagesmith.vault.files import alone, read_closed
from imagesmith.vault.index import INDEX, Index, read_index


def packed(folder: Path) -> tuple[Index, Secret]:
    """The index, and a tar of the folder under its own name: the index and what it names, modes and all.

    Of one moment: nobody changes the vault meanwhile. Raises what `read_index` does, ContentMalformed where a file is
    missing.
    """
    stream = io.BytesIO()
    with alone(folder), tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        index = read_index(folder)
        top = folder.resolve().name
        folders = {parent.as_posix() for file in index.files for parent in Path(file).parents}
        for name in sorted(folders):
            _add_folder(tar, f"{top}/{name}" if name != "." else top)
        for file in (INDEX, *sorted(index.files)):
            data = read_closed(folder / file, file)
            info = tarfile.TarInfo(f"{top}/{file}")
            info.size, info.mode, info.mtime = len(data), 0o600, int((folder / file).stat().st_mtime)
            tar.addfile(info, io.BytesIO(data))
    return index, Secret(stream.getvalue())


def sealed_for(tar: Secret, recipient: str) -> bytes:
    """Opened by the vault's own key file. Nothing needs to be open for it."""
    return sealing.seal(tar, recipient)


def sealed_by(tar: Secret, passphrase: Secret) -> bytes:
    """Opened by a passphrase alone; tried before it is given. Raises IOFailed where it does not open again."""
    sealed = sealing.seal_by_passphrase(tar, passphrase)
    if sealing.unseal_by_passphrase(sealed, passphrase, "the backup").reveal() != tar.reveal():
        raise IOFailed("the backup does not open to what was put into it", hint="run it again; check this machine")
    return sealed


def _add_folder(tar: tarfile.TarFile, name: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o700
    tar.addfile(info)
