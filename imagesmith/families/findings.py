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
MEDIUM_LOADERS: Mapping[str, Architecture] = {"/EFI/boot/bootx64.efi": "amd64", "/EFI/boot/bootaa64.efi": "arm64"}
"""By which a firmware starts an installer's medium."""
MEDIUM_INFO: Clue = ("medium", "/.disk/info")
"""One line, as `Ubuntu-Server 24.04.1 LTS "Noble Numbat" - Release amd64 (20240827)`."""
ALWAYS: tuple[Clue, ...] = (
    *OS_RELEASE,
    *(("root", path) for path in LOADERS),
    *(("medium", path) for path in MEDIUM_LOADERS),
    MEDIUM_INFO,
)


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
        if not text:
            return self._medium_release
        fields = re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE)
        return {key: value.strip().strip("\"'") for key, value in fields}

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        """What its programs may be made for, 64 bit; empty where there is no loader, or a 32 bit one only."""
        found = [made for path, made in LOADERS.items() if made and self.has("root", path)]
        return (*found, *(made for path, made in MEDIUM_LOADERS.items() if self.has("medium", path)))

    @property
    def _medium_release(self) -> Mapping[str, str]:
        """What of os-release an installer's .disk/info tells."""
        line = self.text(*MEDIUM_INFO).strip()
        parts = re.match(r'(\w+)\S* ([0-9.]+) .*?"(\w+)', line)
        if not parts:
            return {}
        names = {"ID": parts[1].lower(), "VERSION_ID": parts[2], "VERSION_CODENAME": parts[3].lower()}
        return {**names, "PRETTY_NAME": line}

    @property
    def described(self) -> str:
        """The system and the partitions, one clause each."""
        release = self.os_release
        system = release.get("PRETTY_NAME") or release.get("ID") or "no os-release"
        return "; ".join((system, *self.volumes))
