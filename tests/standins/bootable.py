"""Vendors' systems that really start: Debian's packages, laid out and set up as the vendor does it.

The root of a Debian base that imagesmith made is taken as raw material, a few packages are added in a chroot (root,
loop devices and the package archive are needed), then the vendor's own first boot is put around it. File systems are
made by mke2fs, mkfs.fat and mtools, tables by sfdisk, the boot loader by GRUB: nothing comes from our own codecs.
What each vendor's system is made of stands in `raspios_root.py`, `armbian_root.py` and `ubuntu_root.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from image.made_disks import SBIN, tool
from standins.disk import Files, MiB, Mode, To

ROOM = 512 * MiB
"""For the added packages."""

_INSTALL = """
set -eu
tree=$1
shift
mount --bind /dev "$tree/dev"
mount -t proc proc "$tree/proc"
mount -t tmpfs tmpfs "$tree/run"
mkdir -p "$tree/run/systemd/resolve"
cat /etc/resolv.conf >"$tree/run/systemd/resolve/stub-resolv.conf"
printf '#!/bin/sh\\nexit 101\\n' >"$tree/usr/sbin/policy-rc.d"
chmod 755 "$tree/usr/sbin/policy-rc.d"
export DEBIAN_FRONTEND=noninteractive
apt() { chroot "$tree" apt-get -q -y -o APT::Sandbox::User=root -o Dpkg::Options::=--force-unsafe-io "$@"; }
apt update
apt install --no-install-recommends "$@"
apt clean
rm -rf "$tree"/var/lib/apt/lists/* "$tree/usr/sbin/policy-rc.d"
"""
_ALONE = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")
"""What is mounted in it is gone with the process, however that ends."""


@dataclass(frozen=True)
class Base:
    """A Debian base in imagesmith's cache: the raw image, and its digest."""

    path: Path
    digest: str

    def partitions(self) -> list[tuple[int, int]]:
        """Start and size in bytes, in the order of the disk."""
        told = json.loads(tool("sfdisk", "--json", self.path))["partitiontable"]["partitions"]
        return sorted((part["start"] * 512, part["size"] * 512) for part in told)


def prepared(name: str, base: Base, packages: Sequence[str], shelf: Path) -> Path:
    """The base's root with `packages` more (`NAME-` = one less), as an ext4 file on `shelf`; made once.

    One of each `name` is kept there.
    """
    recipe = "\n".join([base.digest, *packages, _INSTALL])
    kept = shelf / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:32]}.ext4"
    if kept.exists():
        return kept
    shelf.mkdir(parents=True, exist_ok=True)
    for older in shelf.glob(f"{name}-*.ext4"):
        older.unlink()
    draft = kept.with_suffix(f".{os.getpid()}")
    try:
        start, size = base.partitions()[-1]
        tool("dd", f"if={base.path}", f"of={draft}", "bs=1M", "iflag=skip_bytes,count_bytes", f"skip={start}",
             f"count={size}", "conv=sparse", "status=none")  # fmt: skip
        os.truncate(draft, size + ROOM)
        tool("e2fsck", "-fp", draft)
        tool("resize2fs", draft)
        with mounted(draft) as tree:
            tool(*_ALONE, "sh", "-c", _INSTALL, "install", tree, *packages)
        draft.rename(kept)
    finally:
        draft.unlink(missing_ok=True)
    return kept


@contextlib.contextmanager
def mounted(filesystem: Path) -> Iterator[Path]:
    """The ext4 file, mounted to be written."""
    place = filesystem.with_name(filesystem.name + ".mounted")
    place.mkdir()
    try:
        # `-o loop` lets the kernel free the loop device with the mount.
        tool("mount", "-o", "loop", filesystem, place)
        try:
            yield place
        finally:
            tool("umount", place)
    finally:
        place.rmdir()


def lay(tree: Path, files: Files) -> None:
    """Put files into a tree, in the place of what is there. Text is 0644, `Mode` says otherwise, `To` is a link."""
    for name, content in files.items():
        place = tree / name.lstrip("/")
        if name.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        match content:
            case To():
                place.symlink_to(content.target)
                continue
            case Mode():
                data, mode = content.content, content.mode
            case _:
                data, mode = content.encode() if isinstance(content, str) else content, 0o644
        place.write_bytes(data)
        place.chmod(mode)


def script(text: str) -> Mode:
    """A program of the vendor's."""
    return Mode(text.encode(), 0o755)


def inside(tree: Path, *argv: str, stdin: str = "") -> None:
    """Run a program of the tree's own."""
    tool("chroot", tree, *argv, stdin=stdin)


def enable(tree: Path, *units: str) -> None:
    tool("systemctl", f"--root={tree}", "--quiet", "enable", *units)


def disable(tree: Path, *units: str) -> None:
    tool("systemctl", f"--root={tree}", "--quiet", "disable", *units)


def never_started(tree: Path, machine_id: str) -> None:
    """As an image is published: nothing that tells machines apart, no trace of what made it."""
    lay(tree, {"etc/machine-id": machine_id, "etc/resolv.conf": To("../run/systemd/resolve/stub-resolv.conf")})
    for pattern in ("etc/ssh/ssh_host_*", "var/lib/systemd/random-seed", "var/lib/dbus/machine-id", "var/log/*.log"):
        for path in tree.glob(pattern):
            path.unlink()


def into_filesystem(
    prepared_root: Path, work: Path, change: Callable[[Path], None], options: Sequence[str], spare: float = 1.25
) -> Path:
    """A copy of the prepared root as `change` leaves it, in a file system made with mke2fs's `options`."""
    draft, made = work / "draft.ext4", work / "root.ext4"
    tool("cp", "--sparse=always", "--reflink=auto", prepared_root, draft)
    with mounted(draft) as tree:
        change(tree)
        used = int(tool("du", "-sx", "--block-size=1", tree).split()[0])
        size = int(used * spare / (8 * MiB) + 1) * 8 * MiB
        tool("mke2fs", "-q", "-F", "-t", "ext4", "-E", "root_owner=0:0", *options, "-d", tree, made, f"{size // 1024}K")
    draft.unlink()
    return made


def from_fat(image: Path, offset: int, name: str) -> bytes:
    """The one file of a FAT's top folder whose name begins with `name`."""
    env = {**SBIN, "MTOOLS_SKIP_CHECK": "1"}
    at = f"{image}@@{offset}"
    listed = subprocess.run(["mdir", "-b", "-i", at, "::"], env=env, capture_output=True, text=True, check=True).stdout
    (found,) = [line for line in listed.split() if line.removeprefix("::/").startswith(name)]
    return subprocess.run(["mtype", "-i", at, found], env=env, capture_output=True, check=True).stdout


def take(folder: Path, pattern: str) -> Path:
    """The one path that matches."""
    (found,) = folder.glob(pattern)
    return found


def grub(folder: Path, prefix: str, modules: Sequence[str]) -> bytes:
    """GRUB for EFI on amd64, which reads its grub.cfg in `prefix`."""
    made = folder / "grub.efi"
    program = shutil.which("grub-mkimage", path=SBIN["PATH"]) or "grub-mkimage"
    tool(program, "-O", "x86_64-efi", "-p", prefix, "-o", made, *modules)
    data = made.read_bytes()
    made.unlink()
    return data
