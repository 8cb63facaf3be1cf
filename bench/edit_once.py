"""Our side of `edit_base`, as a program of its own, so that its memory can be told from the bench's.

    edit_once.py BASE TARGET FOLDER DIGEST

Copies BASE to TARGET and puts FOLDER's files in; DIGEST is that of the large one, known as it is to a plan.
"""

from __future__ import annotations

import sys
from pathlib import Path

from imagesmith.image.apply import apply
from imagesmith.image.raw import RawImage
from imagesmith.model import Digest, Edit, EnsureToken, FileContent, PutFile
from imagesmith.secret import Secret


def edits_of(folder: Path, digest: str) -> list[Edit]:
    large = folder / "large"
    edits: list[Edit] = [EnsureToken("boot", "/cmdline.txt", "cgroup_memory=1")]
    for path in sorted(folder.glob("small*")):
        edits.append(PutFile("boot", f"/{path.name}", path.read_bytes()))
        edits.append(PutFile("root", f"/etc/bench/{path.name}", path.read_bytes(), 0o600))
    content = FileContent(large, Digest.parse(digest), large.stat().st_size)
    edits.append(PutFile("root", "/usr/local/bin/large", content, 0o755))
    return edits


def main(base: str, target: str, folder: str, digest: str) -> None:
    edits = edits_of(Path(folder), digest)
    with RawImage.copy_of(Path(base), Path(target)) as raw:
        apply(raw, edits, epoch=1_700_000_000, open_secret=lambda ref: Secret(b""))


if __name__ == "__main__":
    main(*sys.argv[1:])
