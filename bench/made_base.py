"""The base image that the cases measure on: 2.5 GiB, sparse, a FAT and an ext4 with random files.

It is taken for the family `debian-generic`, for arm64.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

MiB = 1 << 20
ENV = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "MTOOLS_SKIP_CHECK": "1", "TZ": "UTC"}
_FAT_AT, _FAT_SIZE, _ROOT_AT, _SIZE = 8 * MiB, 512 * MiB, 520 * MiB, 2560 * MiB


@dataclass(frozen=True, slots=True)
class Base:
    path: Path
    fat_at: int = _FAT_AT
    root_at: int = _ROOT_AT


def run(*argv: object, stdin: str | None = None) -> None:
    subprocess.run([str(word) for word in argv], env=ENV, input=stdin, text=True, check=True, capture_output=True)


_TELLING = {
    "etc/os-release": "ID=debian\nVERSION_CODENAME=trixie\nPRETTY_NAME='A base of the bench'\n",
    "usr/bin/cloud-init": "",
    "usr/sbin/netplan": "",
    "usr/lib/ld-linux-aarch64.so.1": "",
}


def make_base(folder: Path, files: int = 3000, *, size: int = _SIZE, seed: int = 1) -> Base:
    """Like a published Pi image: 70 MiB in the FAT, a third of a MiB per file in the root, half of it compressible."""
    chance = random.Random(seed)
    tree, boot = folder / "tree", folder / "boot"
    boot.mkdir(parents=True)
    for path, text in _TELLING.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    for number in range(files):
        place = tree / f"usr/lib/d{number % 100}"
        place.mkdir(parents=True, exist_ok=True)
        length = chance.randrange(700_000)
        data = chance.randbytes(length // 2) + chance.randbytes(length // 4 + 1).hex().encode()
        (place / f"f{number}").write_bytes(data)
    (boot / "cmdline.txt").write_text("console=tty1 root=PARTUUID=5e1a02c4-02 rootwait\n")
    (boot / "config.txt").write_text("[all]\n")
    for number in range(7):
        (boot / f"kernel{number}.img").write_bytes(chance.randbytes(10 * MiB))
    fat, root, base = folder / "fat", folder / "root", folder / "base.img"
    run("mkfs.fat", "-C", "-F", "32", "-n", "BOOTFS", fat, _FAT_SIZE // 1024)
    run("mcopy", "-i", fat, *sorted(boot.iterdir()), "::/")
    run("mke2fs", "-q", "-t", "ext4", "-L", "rootfs", "-d", tree, root, f"{(size - _ROOT_AT) // 1024}K")
    with base.open("wb") as stream:
        stream.truncate(size)
    table = f"label: dos\nlabel-id: 0x5e1a02c4\nstart={_FAT_AT // 512},size={_FAT_SIZE // 512},type=c\n"
    run("sfdisk", "-q", base, stdin=f"{table}start={_ROOT_AT // 512},type=83\n")
    for part, at in ((fat, _FAT_AT), (root, _ROOT_AT)):
        run("dd", f"if={part}", f"of={base}", "bs=1M", f"seek={at // MiB}", "conv=notrunc,sparse")
        part.unlink()
    shutil.rmtree(tree)
    return Base(base)
