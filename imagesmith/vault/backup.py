"""All of a vault as one file, sealed once more: restored by plain age and tar, with no imagesmith.

Called by `workflow.vault`. Reads one folder; gives bytes, and says how they are to be read.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

from imagesmith.errors import IOFailed
from imagesmith.secret import Secret
from imagesmith.vault import sealing
from imagesmith.vault.files import alone, read_closed
from imagesmith.vault.index import INDEX, Index, encode, read_index


def packed(folder: Path, when: str) -> tuple[Index, Secret]:
    """The index, and a tar of the folder under its own name: the index and what it names, modes and all.

    Of one moment: nobody changes the vault meanwhile. What is brought back knows that it was backed up `when`.
    Raises what `read_index` does, ContentMalformed where a file is missing.
    """
    stream = io.BytesIO()
    with alone(folder), tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        index = read_index(folder)
        top, told = folder.resolve().name, encode(replace(index, backed_up=when))
        folders = {parent.as_posix() for file in index.files for parent in Path(file).parents}
        for name in sorted(folders):
            _add(tar, f"{top}/{name}" if name != "." else top, folder / name)
        for file in (INDEX, *sorted(index.files)):
            data = told if file == INDEX else read_closed(folder / file, file)
            _add(tar, f"{top}/{file}", folder / file, data)
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


def _add(tar: tarfile.TarFile, name: str, path: Path, data: bytes | None = None) -> None:
    """A closed file; without data a closed folder."""
    info = tarfile.TarInfo(name)
    info.mtime = int(path.stat().st_mtime)
    if data is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o700
        tar.addfile(info)
    else:
        info.size, info.mode = len(data), 0o600
        tar.addfile(info, io.BytesIO(data))
