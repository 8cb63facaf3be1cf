"""Disks laid out as a vendor lays out its own, by the real tools: sfdisk, mke2fs, mkfs.fat, mtools, never our codecs.

The stand-ins of vendors' images in this folder are made with it: small, random where nothing is said, faithful in
table, offsets, labels, features of the file systems and telling files.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from image.made_disks import EPOCH, SBIN, Disk, tool

MiB = 1 << 20


@dataclass(frozen=True)
class To:
    """A symbolic link in a tree of files."""

    target: str


@dataclass(frozen=True)
class Mode:
    """A file with permission bits of its own."""

    content: bytes
    mode: int


Files = Mapping[str, bytes | str | To | Mode]
"""Path to content; text is UTF-8. A path that ends in / is an empty folder."""


@dataclass(frozen=True)
class Part:
    """One partition. `start` and `size` in bytes; start 0 = right after the one before, aligned to a MiB."""

    role: str
    """The name that the disk's offsets are asked by."""
    kind: str
    """`ext4`, `fat` or `raw` (random bytes, as a boot loader's)."""
    size: int
    type: str
    """As sfdisk takes it: `c`, `83`, a GUID."""
    label: str = ""
    files: Files = field(default_factory=dict)
    options: Sequence[str] = ()
    """More words for mke2fs or mkfs.fat, as `-O ^64bit`."""
    start: int = 0
    number: int = 0
    """In the table; 0 = the next."""
    name: str = ""
    """Of a GPT partition."""
    content: Path | None = None
    """What is in it, finished already; it is used up."""


def make_disk(
    path: Path, table: str, parts: Sequence[Part], *, first: int = 1 * MiB, disk_id: str = "0x5e1a02c4", tail: int = MiB
) -> Disk:
    """The disk `path`: table `dos` or `gpt`, `parts` in their order from `first` on, `tail` bytes behind the last.

    The gap before the first partition holds random bytes (a canary for boot loaders), but for the table itself.
    """
    work = path.with_suffix(".parts")
    work.mkdir(parents=True)
    disk, at, lines = Disk(path), first, [f"label: {table}"]
    if table == "dos":
        lines.append(f"label-id: {disk_id}")
    for count, part in enumerate(parts, 1):
        at = part.start or -(-at // MiB) * MiB
        disk.offsets[part.role], disk.sizes[part.role] = at, part.size
        name = f", name={part.name}" if part.name else ""
        lines.append(f"{part.number or count}: start={at // 512}, size={part.size // 512}, type={part.type}{name}")
        at += part.size
    chance = random.Random(7)
    with path.open("wb") as stream:
        stream.seek(1 * MiB if table == "gpt" else 512)
        stream.write(chance.randbytes(max(0, first - stream.tell())))
        stream.truncate(max(disk.offsets[part.role] + part.size for part in parts) + tail)
    tool("sfdisk", "--quiet", "--no-reread", path, stdin="\n".join(["unit: sectors", *lines, ""]))
    for part in parts:
        content = make_filesystem(work / f"{part.role}.img", part)
        tool("dd", f"if={content}", f"of={path}", "bs=1M", "conv=notrunc,sparse", "oflag=seek_bytes",
             f"seek={disk.offsets[part.role]}", "status=none")  # fmt: skip
        content.unlink()
    return disk


def make_filesystem(path: Path, part: Part) -> Path:
    """The content of one partition as a file."""
    if part.content:
        return part.content
    if part.kind == "raw":
        path.write_bytes(random.Random(part.role).randbytes(part.size))
    elif part.kind == "fat":
        tool(
            "mkfs.fat", "-C", "--invariant", "-i", "5E1A02C4", "-n", part.label, *part.options, path, part.size // 1024
        )
        _fill_fat(path, part.files)
    else:
        tree = path.with_suffix(".tree")
        _lay_out(tree, part.files)
        env = {"SOURCE_DATE_EPOCH": str(EPOCH), "E2FSPROGS_FAKE_TIME": str(EPOCH)}
        label = ("-L", part.label) if part.label else ()
        tool("mke2fs", "-q", "-F", "-t", "ext4", "-E", "root_owner=0:0", *label, *part.options, "-d", tree, path,
             f"{part.size // 1024}K", env=env)  # fmt: skip
    return path


def _lay_out(folder: Path, files: Files) -> None:
    folder.mkdir()
    for name, content in files.items():
        place = folder / name.lstrip("/")
        if name.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        match content:
            case To():
                place.symlink_to(content.target)
            case Mode():
                place.write_bytes(content.content)
                place.chmod(content.mode)
            case str():
                place.write_text(content)
            case _:
                place.write_bytes(content)


def _fill_fat(path: Path, files: Files) -> None:
    for name, content in files.items():
        for above in reversed(Path(name.lstrip("/")).parents[:-1]):
            subprocess.run(["mmd", "-D", "s", "-i", path, f"::{above}"], env=SBIN, capture_output=True, check=False)
        if name.endswith("/"):
            continue
        assert isinstance(content, bytes | str), f"{name}: FAT has neither links nor modes"
        local = path.with_name("fat-file")
        local.write_bytes(content.encode() if isinstance(content, str) else content)
        tool("mcopy", "-o", "-i", path, local, f"::{name.lstrip('/')}", env={"SOURCE_DATE_EPOCH": str(EPOCH)})
        local.unlink()
