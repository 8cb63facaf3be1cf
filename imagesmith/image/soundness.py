"""Hold every file system of an image against its own checker, without changing it. Called by `workflow.selftest`."""

from __future__ import annotations

from pathlib import Path

from imagesmith.image.raw import RawImage


def check_filesystems(path: Path, workspace: Path) -> tuple[str, ...]:
    """The partitions that e2fsck and fsck.fat find nothing wrong with, as `partition 1 (fat 'bootfs')`.

    Partitions without a file system that is known are left out. A FAT is copied into `workspace`, sparse, for
    fsck.fat. Raises EditFailed telling the damage, ContentMalformed for no disk image, IOFailed.
    """
    sound = []
    with RawImage(path, writable=False) as raw:
        for volume in raw.volumes():
            if volume.filesystem.kind == "ext4":
                raw.ext4(volume).check()
            elif volume.filesystem.kind == "fat":
                raw.fat(volume).check(workspace)
            else:
                continue
            sound.append(volume.name)
    return tuple(sound)
