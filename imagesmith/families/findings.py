"""What an image shows of itself before anything in it is changed, as far as the families ask for it.

Gathered by `image.findings`, judged by `families.recognise` and by each family. Values only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from imagesmith.model import Architecture, PartitionRole

Clue = tuple[PartitionRole, str]
"""A path that tells something by being there, or by what it says."""

OS_RELEASE: tuple[Clue, ...] = (("root", "/usr/lib/os-release"), ("root", "/etc/os-release"))
LOADERS: Mapping[str, Architecture | None] = {
    "/usr/lib/ld-linux-aarch64.so.1": "arm64",
    "/usr/lib64/ld-linux-x86-64.so.2": "amd64",
    "/usr/lib/ld-linux-armhf.so.3": None,
    "/usr/lib/ld-linux.so.2": None,
}
"""The dynamic loader of each architecture; None = one that nothing here is made for (32 bit)."""
ALWAYS: tuple[Clue, ...] = (*OS_RELEASE, *(("root", path) for path in LOADERS))


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything is told as it stands there; what it means is decided by the families."""

    where: str
    """The image, for messages."""
    volumes: tuple[str, ...]
    """The partitions in words, as `partition 1 (fat 'bootfs'), used as boot`."""
    contents: Mapping[Clue, bytes]
    """Every clue that is there. The content of a small file; empty for a link, a folder or a large file."""

    def has(self, partition: PartitionRole, path: str) -> bool:
        return (partition, path) in self.contents

    def text(self, partition: PartitionRole, path: str) -> str:
        """What a small text says; empty when it is not there."""
        return self.contents.get((partition, path), b"").decode("utf-8", "replace")

    @property
    def os_release(self) -> Mapping[str, str]:
        """The fields of os-release(5), without quotes: `ID`, `VERSION_CODENAME` ..."""
        text = next((found for clue in OS_RELEASE if (found := self.text(*clue))), "")
        fields = re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE)
        return {key: value.strip().strip("\"'") for key, value in fields}

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        """What its programs may be made for, 64 bit; empty where there is no loader, or a 32 bit one only."""
        return tuple(found for path, found in LOADERS.items() if found and self.has("root", path))

    @property
    def described(self) -> str:
        """The system and the partitions, one clause each."""
        release = self.os_release
        system = release.get("PRETTY_NAME") or release.get("ID") or "no os-release"
        return "; ".join((system, *self.volumes))
