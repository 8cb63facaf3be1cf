"""Which partition is the root, the ESP, the Pi's boot partition: told by content, type and label, never by number.

Called by `image.raw`. Pure: the facts are gathered there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imagesmith.formats import gpt
from imagesmith.image.probe import FileSystem
from imagesmith.model import Partition, PartitionRole

_ESP_TYPES = (gpt.ESP, "ef")
_ROOT_TYPES = (gpt.ROOT_X86_64, gpt.ROOT_ARM64)
_ROOT_LABELS = ("rootfs", "writable", "cloudimg-rootfs", "armbi_root", "root")
_BOOT_LABELS = ("bootfs", "system-boot", "boot")
_PI_FILES = ("/cmdline.txt", "/config.txt")


@dataclass(frozen=True, slots=True)
class Volume:
    """A partition with what is in it."""

    partition: Partition
    filesystem: FileSystem
    role: PartitionRole | None = None

    @property
    def name(self) -> str:
        """For messages: `partition 2 (ext4 'rootfs')`."""
        return f"partition {self.partition.number} ({self.filesystem})"


@dataclass(frozen=True, slots=True)
class Found:
    """A volume, and which of the telling paths (see LANDMARKS) it has."""

    volume: Volume
    paths: frozenset[str]


LANDMARKS = {"ext4": ("/etc",), "fat": ("/EFI", *_PI_FILES)}
"""What to look for, by kind of file system."""


def assign(found: Sequence[Found]) -> tuple[Volume, ...]:
    """The volumes with their roles. Where several could have one, type and then label decide; else none gets it."""
    roles: dict[int, PartitionRole] = {}
    for role, candidates in _candidates(found).items():
        best = _best(role, candidates)
        if best:
            roles[best.partition.number] = role
    return tuple(replace(each.volume, role=roles.get(each.volume.partition.number)) for each in found)


def contenders(found: Sequence[Found], role: PartitionRole) -> tuple[Volume, ...]:
    """Every volume that could have the role, for a message about there being two."""
    return tuple(_candidates(found)[role])


def _candidates(found: Sequence[Found]) -> dict[PartitionRole, list[Volume]]:
    candidates: dict[PartitionRole, list[Volume]] = {"root": [], "esp": [], "boot": []}
    for each in found:
        kind, label = each.volume.filesystem.kind, each.volume.filesystem.label.lower()
        if kind == "ext4" and "/etc" in each.paths:
            candidates["root"].append(each.volume)
        elif kind == "fat" and "/EFI" in each.paths and each.volume.partition.type in _ESP_TYPES:
            candidates["esp"].append(each.volume)
        elif kind == "fat" and (each.paths & set(_PI_FILES) or label in _BOOT_LABELS):
            candidates["boot"].append(each.volume)
    return candidates


def _best(role: PartitionRole, candidates: list[Volume]) -> Volume | None:
    if len(candidates) == 1:
        return candidates[0]
    types = {"root": _ROOT_TYPES, "esp": _ESP_TYPES, "boot": ()}[role]
    labels = {"root": _ROOT_LABELS, "esp": (), "boot": _BOOT_LABELS}[role]
    for chosen in (
        [each for each in candidates if each.partition.type in types],
        [each for each in candidates if each.filesystem.label.lower() in labels],
    ):
        if len(chosen) == 1:
            return chosen[0]
    return None
