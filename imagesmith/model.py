"""The nouns of the sentence in docs/architecture.md, as frozen values. No file is opened here.

A `Profile` and a `Node` make a `BuildPlan`; the plan turns a verified `Base` into an `Image` with a `BlockMap`
and a manifest; an image is flashed to a `Device`, read back, and booted to prove it.
Sizes are bytes, durations seconds, times seconds since 1970 (UTC), unless a name says otherwise.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from imagesmith.secret import SecretRef

Architecture = Literal["amd64", "arm64"]
Role = Literal["server", "worker"]
"""`server` runs the k3s control plane, `worker` is a k3s agent."""


# -- digests and where bytes come from ------------------------------------------------------------


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


# -- what is wanted -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QemuMachine:
    """The emulated machine that stands in for a board, and what a pass on it does not prove."""

    machine: Literal["q35", "virt", "raspi3b"]
    cpu: str
    cpus: int
    memory: int
    start: Literal["uefi", "kernel"]
    """`uefi`: the image's own loader. `kernel`: kernel, initrd and device tree copied out of the image."""
    disk: Literal["virtio", "sd"]
    network: Literal["virtio", "usb", "none"]
    console: str
    """The kernel's name for the serial line, as ttyS0."""
    dtb: str = ""
    """Device tree's file name on the boot partition; empty = the machine brings its own."""
    unproven: tuple[str, ...] = ()
    deadline_s: int = 600
    """For the whole first boot under emulation on two slow cores."""


@dataclass(frozen=True, slots=True)
class Board:
    name: str
    title: str
    architecture: Architecture
    memory: int
    bases: tuple[Base, ...]
    machine: QemuMachine | None
    """None where QEMU has nothing that resembles the board."""
    roles: tuple[Role, ...]
    """What the board is strong enough for."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Network:
    """How a node reaches the network. No address means DHCP."""

    address: str = ""
    """With prefix length, as 192.168.1.10/24."""
    gateway: str = ""
    nameservers: tuple[str, ...] = ()
    mac: str = ""
    """Lower-case, colons; empty = every wired interface."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a person sets for a node; every field can be given for the whole cluster and per node."""

    user: str = "admin"
    ssh_keys: tuple[str, ...] = ()
    """Public keys, one OpenSSH line each."""
    locale: str = "en_US.UTF-8"
    timezone: str = "Etc/UTC"
    keyboard: str = "us"
    time_servers: tuple[str, ...] = ()
    """Empty = the base's own."""
    journal_max: int = 64 * 1024 * 1024
    zram_percent: int = 50
    """Compressed swap in memory, as a share of memory; 0 = none."""
    watchdog_s: int = 15
    """Hardware watchdog interval where there is one; 0 = off."""
    sudo_nopasswd: bool = True
    """The user is created without a password and logs in by key; sudo without one needs this."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A board in a role, with one base chosen."""

    name: str
    title: str
    board: Board
    role: Role
    base: str
    """Name of the default among the board's bases."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Overrides of `Settings` fields."""

    def base_named(self, name: str) -> Base | None:
        return next((base for base in self.board.bases if base.name == name), None)


@dataclass(frozen=True, slots=True)
class Node:
    """One machine: the host name it will have, its profile's name and what is particular to it."""

    name: str
    profile: str
    base: str = ""
    """Empty = the profile's default."""
    network: Network = field(default_factory=Network)
    settings: Settings = field(default_factory=Settings)
    cluster: str = ""
    """The cluster's name; empty = standalone, joins nothing."""
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Cluster:
    name: str
    domain: str
    nodes: tuple[Node, ...]
    path: str = ""
    """The inventory file it was read from."""

    def node(self, name: str) -> Node | None:
        return next((node for node in self.nodes if node.name == name), None)


@dataclass(frozen=True, slots=True)
class Materials:
    """Files that plans are made of, by name as `firstboot/steps/10-clock`, `cloud-init/user-data.j2`."""

    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Documents:
    """What is particular to one node, as the texts that its first boot reads. No secret is in them."""

    user_data: bytes
    meta_data: bytes
    network_config: bytes
    """cloud-init's three documents; the last one is netplan's format too."""
    node_conf: bytes
    """/etc/imagesmith/node.conf, lines of KEY='value'."""


# -- what will be done ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileContent:
    """Content too large for a plan: a file of known digest, opened when it is applied."""

    path: Path
    digest: Digest
    size: int


Content = bytes | FileContent | SecretRef
PartitionRole = Literal["boot", "esp", "root"]
"""Where an edit goes. Paths are absolute inside that file system, `/` separated."""


@dataclass(frozen=True, slots=True)
class PutFile:
    partition: PartitionRole
    path: str
    content: Content
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class EnsureLine:
    """The file has this line; added at the end when it is missing. The file is made when absent."""

    partition: PartitionRole
    path: str
    line: str


@dataclass(frozen=True, slots=True)
class EnsureToken:
    """A word in a one-line file (cmdline.txt); every other word stays as and where it is."""

    partition: PartitionRole
    path: str
    token: str


@dataclass(frozen=True, slots=True)
class MakeDir:
    """A directory, with its missing parents (0755 root)."""

    partition: PartitionRole
    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link at `path`, replacing a file or link that is there."""

    partition: PartitionRole
    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Remove:
    """A file or link that must not be there; absent is fine."""

    partition: PartitionRole
    path: str


Edit = PutFile | EnsureLine | EnsureToken | MakeDir | Link | Remove


@dataclass(frozen=True, slots=True)
class Promise:
    """One thing that the first boot must bring about, checked against the guest's report.

    `fact` is a key of the report (`hostname`, `unit.ssh.service`, `step.20-grow-root`), see docs/boot.md.
    """

    fact: str
    relation: Literal["equals", "at_least", "present", "absent"]
    value: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """All that decides the bytes of an image, before a byte is read. Its id is in `formats.canonical`."""

    name: str
    """Of the output: the node's or the profile's name."""
    node: Node
    role: Role
    profile: str
    board: str
    architecture: Architecture
    base: Base
    edits: tuple[Edit, ...]
    promises: tuple[Promise, ...]
    machine: QemuMachine | None
    epoch: int = 0
    """Time that every written file bears; 0 = the base's own."""
    schema: int = 1


# -- what there is --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Package:
    name: str
    version: str
    architecture: str


@dataclass(frozen=True, slots=True)
class ObtainedBase:
    """A verified raw base image in the cache; never written to."""

    path: Path
    size: int
    digest: Digest
    """Of the raw image."""
    published: Digest | None
    """Of the file as its publisher gave it; None for a base made here."""
    epoch: int
    trust: str
    """Why its bytes are trusted, one clause for the manifest."""
    packages: tuple[Package, ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)
    """The programs that made it, with their versions then; empty where it was not made here, or nobody noted them."""
    published_size: int = 0
    """Of the file as its publisher gave it; 0 for a base made here."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition as found in a table. `number` is the kernel's (1-based)."""

    number: int
    start: int
    size: int
    type: str
    """GPT type GUID, upper-case; or MBR type as two hex digits."""
    name: str = ""
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class MappedRange:
    """Blocks `first`..`last`, both included, and the sha256 (hex) of their bytes."""

    first: int
    last: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BlockMap:
    """What must be written to a card. Unlisted means provably free in the file system, never merely zero."""

    image_size: int
    block_size: int
    ranges: tuple[MappedRange, ...]

    @property
    def blocks(self) -> int:
        return -(-self.image_size // self.block_size)

    @property
    def mapped_bytes(self) -> int:
        last = self.blocks - 1
        tail = self.blocks * self.block_size - self.image_size
        return sum(
            (part.last - part.first + 1) * self.block_size - (tail if part.last == last else 0) for part in self.ranges
        )


@dataclass(frozen=True, slots=True)
class Image:
    """A sealed image under its final name, with what lies beside it."""

    name: str
    path: Path
    """The raw image."""
    packed: Path | None
    """Its zst or xz."""
    size: int
    digest: Digest
    plan_id: str
    block_map: Path
    manifest: Path


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What was recognised on a disk or on one of its partitions: a file system, or a part of a larger store."""

    name: str
    """Of the disk or partition it lies on, `sdb1`."""
    kind: str
    """As blkid calls it: `vfat`, `ext4`, `crypto_LUKS`, `LVM2_member` ..."""
    label: str
    size: int
    """Of the disk or partition."""
    used: int | None = None
    """Bytes in use; told for FAT and exFAT only, None where not known."""


@dataclass(frozen=True, slots=True)
class Device:
    """A block device as `lsblk --json` reported it: a report, not a handle."""

    path: str
    name: str
    kind: str
    """`disk`, `part`, `loop`, `rom` ..."""
    size: int
    model: str = ""
    serial: str = ""
    bus: str = ""
    removable: bool = False
    read_only: bool = False
    by_id: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    """Mount points of the device and of everything on it."""
    holders: tuple[str, ...] = ()
    holds_system: bool = False
    logical_sector: int = 512
    diskseq: int = 0
    """Counts up with every medium put in; 0 where the kernel does not tell."""
    number: str = ""
    """Of the kernel, `8:16`."""
    parent: str = ""
    """The whole disk's path, for a partition."""
    contents: tuple[str, ...] = ()
    """What lies on it, in words, one for each partition."""
    filesystems: tuple[FileSystem, ...] = ()
    """What was recognised on it and on its partitions."""
    by_path: tuple[str, ...] = ()
    """Names as those of by_id, but of the port that it is plugged into."""
    backing: str = ""
    """The file of a loop device, as the kernel tells its path."""
    stands_on: str = ""
    """The path of the block device that a loop device passes everything on to; it has no `backing` then."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason not to write a device. Without an override there is no way round it."""

    reason: str
    override: str = ""
    """The flag that lifts it."""
