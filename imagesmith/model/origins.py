"""Where the bytes of a base image come from, and what vouches for them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

from imagesmith.model.machine import QemuMachine


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest of known algorithm, lower-case hex."""

    algorithm: Literal["sha256", "sha512"]
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `sha256:<64 hex>` or `sha512:<128 hex>`; raises ValueError on anything else."""
        match = re.fullmatch(r"(sha256|sha512):([0-9a-fA-F]+)", text)
        if not match or len(match[2]) != {"sha256": 64, "sha512": 128}[match[1]]:
            raise ValueError(f"{text!r} is not a digest; write it like sha256:<64 hex digits>")
        return cls(match[1], match[2].lower())  # type: ignore[arg-type]

    @classmethod
    def of(cls, data: bytes) -> Digest:
        return cls("sha256", hashlib.sha256(data).hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


@dataclass(frozen=True, slots=True)
class Signature:
    """A detached OpenPGP signature and the only primary keys that may have made it."""

    url: str
    covers: Literal["file", "checksums"]
    fingerprints: tuple[str, ...]
    keyring: str
    """File name in the project's keyrings/ folder."""
    key_url: str = ""
    """Where the publisher gives the keys, for when that file is not bundled; they count by fingerprint alone."""


Publisher = Literal["raspberrypi", "armbian", "ubuntu", "debian"]


@dataclass(frozen=True, slots=True)
class Follow:
    """A publisher's index, which tells what its newest files are, and which of them is meant."""

    publisher: Publisher
    index: str
    """URL."""
    choose: Mapping[str, str] = field(default_factory=dict)
    """What picks the entry, by words of that publisher's index: `name`, `release`, `variant` ..."""


@dataclass(frozen=True, slots=True)
class HttpSource:
    """A publisher's file. Trusted by `digest`, else by signed `checksums`; else refused."""

    url: str
    mirrors: tuple[str, ...] = ()
    digest: Digest | None = None
    size: int = 0
    """Of the file as published; 0 when unknown."""
    raw_digest: Digest | None = None
    raw_size: int = 0
    checksums_url: str = ""
    signature: Signature | None = None
    released: int = 0
    """When the publisher made it; becomes the image's epoch. 0 when unknown."""
    follow: Follow | None = None
    """Where `update` finds the newest file; None = the address itself leads there."""
    unchecked: bool = False
    """The digest was taken from a list that nobody vouched for: the signature must hold too before the first use."""


@dataclass(frozen=True, slots=True)
class ReleaseSource:
    """Where a program's releases are published, and what their files are called, by architecture."""

    channels: str
    """URL with `{channel}`, which leads on to one whose last part is the version."""
    files: str
    """URL of the folder of a release, with `{version}`; ends with a slash."""
    sums: Mapping[str, str]
    """Lists of sha256."""
    program: Mapping[str, str]
    images: Mapping[str, str]
    """The container images that it needs itself."""

    def channel_url(self, channel: str) -> str:
        return self.channels.format(channel=quote(channel, safe=""))

    def folder_url(self, version: str) -> str:
        return self.files.format(version=quote(version, safe=""))


@dataclass(frozen=True, slots=True)
class FileSource:
    """A local image, compressed or not; what it is, is told by content."""

    path: str
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class PartitionSpec:
    """One partition of an image that is made here, not stock."""

    role: Literal["boot", "esp", "root"]
    """`boot` = FAT that a Pi's firmware reads, `esp` = EFI system partition, `root` = ext4 root."""
    filesystem: Literal["fat32", "ext4"]
    label: str
    size: int
    """0 = as large as its content needs, plus some slack; only for the last one."""
    mount: str


@dataclass(frozen=True, slots=True)
class DiskLayout:
    table: Literal["gpt", "mbr"]
    partitions: tuple[PartitionSpec, ...]


@dataclass(frozen=True, slots=True)
class DebianSource:
    """A base made here from Debian's packages."""

    suite: str
    components: tuple[str, ...]
    packages: tuple[str, ...]
    loader: Literal["systemd-boot", "raspi-firmware"]
    cmdline: str
    """Words of the kernel command line beside root=, which the builder adds."""
    layout: DiskLayout
    download_size: int = 0
    """Roughly what the packages weigh, for `plan`; 0 when unknown."""
    state: str = ""
    """The package state that imagesmith.lock pins (sha256, hex); empty = what the archive has when it is made."""


Source = HttpSource | FileSource | DebianSource


@dataclass(frozen=True, slots=True)
class Base:
    """A base image by name: which operating-system family it is and where it comes from."""

    name: str
    family: str
    source: Source
    min_root: int = 0
    """The root partition is grown, offline, to at least this."""
    releases: tuple[str, ...] = ()
    """Codenames (VERSION_CODENAME of os-release) that the profile was made for; empty = any."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What this image has otherwise than its family takes for granted, see `Family.facts`."""
    machine: QemuMachine | Literal["board", "none"] = "board"
    """Where its kernel starts: the board's machine, another, or nothing that QEMU has."""
    unsuitable: Mapping[str, str] = field(default_factory=dict)
    """Boards that it does not work on, by name, with the reason."""
    cautions: Mapping[str, str] = field(default_factory=dict)
    """What to mind on which board: `plan` and `build` say it, and go on."""
