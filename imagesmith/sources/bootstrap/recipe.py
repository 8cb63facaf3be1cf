"""What is to be made (`Recipe`) and the names that the made thing bears (`Identity`). Pure.

Called by every module here. Equal recipes have equal digests, equal package states equal identities.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass

from imagesmith.errors import UsageError
from imagesmith.formats.canonical import canonical_json
from imagesmith.model import Architecture, DebianSource, PartitionSpec

ASSEMBLER = 1
"""Raised whenever the same packages would be made into other bytes: it is part of every recipe's digest."""

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*")
_CMDLINE = re.compile(r"[!-~]*(?: [!-~]+)*")
_NAMESPACE = uuid.UUID("6f3ab1fa-14a4-5f0b-9f0e-6d1c1c1b7d10")
_BOOT_MOUNT = {"systemd-boot": "/boot/efi", "raspi-firmware": "/boot/firmware"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A source for one architecture, checked; make it with `Recipe.of`."""

    source: DebianSource
    architecture: Architecture
    digest: str
    """sha256 (hex) of all that decides the bytes beside the packages' versions."""
    boot: PartitionSpec
    root: PartitionSpec

    @classmethod
    def of(cls, source: DebianSource, architecture: Architecture) -> Recipe:
        """Check a source and name it. Raises UsageError on what can't be made."""
        for word in (source.suite, *source.components, *source.packages):
            if not _NAME.fullmatch(word):
                raise UsageError(f"{word!r} is no name of a Debian suite, component or package")
        if not _CMDLINE.fullmatch(source.cmdline):
            raise UsageError(f"kernel command line {source.cmdline!r}: printable ASCII words, one space between them")
        boot, root = _parts(source)
        plain = {
            "assembler": ASSEMBLER,
            "architecture": architecture,
            "suite": source.suite,
            "components": source.components,
            "packages": tuple(sorted(set(source.packages))),
            "loader": source.loader,
            "cmdline": source.cmdline,
            "layout": source.layout,
        }
        return cls(source, architecture, hashlib.sha256(canonical_json(plain)).hexdigest(), boot, root)


@dataclass(frozen=True, slots=True)
class Identity:
    """UUIDs and ids of one made disk, all derived from the digest of its package state."""

    state: str

    def uuid(self, role: str) -> str:
        """The UUID of `disk`, `root`, `hash-seed`, `part-1` ..., lower-case."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.state}/{role}"))

    def serial(self, role: str) -> int:
        """32 bits, never 0: a FAT volume id or an MBR disk id."""
        return uuid.uuid5(_NAMESPACE, f"{self.state}/{role}").int >> 96 or 1

    @property
    def fat_uuid(self) -> str:
        """The boot partition's, as Linux shows and finds it: `1A2B-3C4D`."""
        serial = self.serial("boot")
        return f"{serial >> 16:04X}-{serial & 0xFFFF:04X}"


def _parts(source: DebianSource) -> tuple[PartitionSpec, PartitionSpec]:
    """The boot and the root partition of a layout that can be assembled here."""
    roles = [part.role for part in source.layout.partitions]
    first = "esp" if source.loader == "systemd-boot" else "boot"
    if roles != [first, "root"]:
        raise UsageError(
            f"partitions {', '.join(roles) or 'none'}: {source.loader} needs {first}, then root",
            hint="correct `layout` of the base in its profile",
        )
    boot, root = source.layout.partitions
    wanted = _BOOT_MOUNT[source.loader]
    if (boot.filesystem, boot.mount, root.filesystem, root.mount) != ("fat32", wanted, "ext4", "/") or not boot.size:
        raise UsageError(
            f"{source.loader} needs a fat32 partition of given size at {wanted} and an ext4 one at /",
            hint="correct `layout` of the base in its profile",
        )
    return boot, root
