"""Debian's cloud images for PCs, small: GPT with the root as p1 and last on the disk, ESP p15, BIOS boot p14, GRUB.

Faithful: numbers, order and offsets of the partitions, the root's features, fstab, cloud-init's settings, what tells
`generic` from `genericcloud` and `nocloud`. Smaller: ESP and root.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Literal

from image.made_disks import Disk
from standins.disk import Files, MiB, Mode, Part, To, make_disk
from standins.ubuntu_cloud import BIOS_TYPE, ESP_TYPE

ROOT_TYPE = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
Flavour = Literal["generic", "genericcloud", "nocloud"]
CONSOLES = "console=tty0 console=ttyS0,115200"
DATASOURCES = "datasource_list: [ NoCloud, ConfigDrive, OpenStack, Ec2, None ]\n"
FSTAB = """\
PARTUUID=9f1c2b3a-0000-4000-8000-000000000001 / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1
PARTUUID=9f1c2b3a-0000-4000-8000-00000000000f /boot/efi vfat defaults 0 0
"""
UNITS = "/usr/lib/systemd/system"


def debian_generic(path: Path, flavour: Flavour = "generic", *, root: Files | None = None) -> Disk:
    """The raw disk; `root` are files put in addition or instead."""
    parts = (
        Part("bios", "raw", 3 * MiB, BIOS_TYPE, number=14),
        Part("esp", "fat", 8 * MiB, ESP_TYPE, "EFI", _esp(), number=15),
        Part("root", "ext4", 40 * MiB, ROOT_TYPE, "", {**_root(flavour), **(root or {})}, number=1),
    )
    return make_disk(path, "gpt", parts, tail=MiB)


def _esp() -> Files:
    chance = random.Random(31)
    return {
        "EFI/BOOT/BOOTX64.EFI": chance.randbytes(90_000),
        "EFI/debian/grub.cfg": "search.fs_uuid 0f3c2d1e root\nconfigfile ($root)/boot/grub/grub.cfg\n",
    }


def _root(flavour: Flavour) -> Files:
    chance = random.Random(32)
    kernel = "linux-image-amd64" if flavour == "generic" else "linux-image-cloud-amd64"
    linux = f"linux /boot/vmlinuz-6.12.48+deb13-amd64 root=PARTUUID=9f1c2b3a ro {CONSOLES}"
    files: dict[str, bytes | str | To | Mode] = {
        "usr/lib/os-release": 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_CODENAME=trixie\nID=debian\n',
        "etc/os-release": To("../usr/lib/os-release"),
        "etc/machine-id": "uninitialized\n",
        "etc/hostname": "localhost\n",
        "etc/fstab": FSTAB,
        "etc/locale.gen": "# en_US.UTF-8 UTF-8\n",
        "etc/default/grub": "GRUB_DEFAULT=0\n",
        "etc/default/grub.d/10_cloud.cfg": f'GRUB_CMDLINE_LINUX="{CONSOLES}"\n',
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
        "etc/shadow": Mode(b"root::20000:::::\n" if flavour == "nocloud" else b"root:*:20000:0:99999:7:::\n", 0o640),
        "boot/grub/grub.cfg": f"menuentry 'Debian' {{\n\t{linux}\n}}\n",
        "boot/vmlinuz-6.12.48+deb13-amd64": chance.randbytes(700_000),
        "boot/initrd.img-6.12.48+deb13-amd64": chance.randbytes(900_000),
        "boot/efi/": b"",
        "usr/sbin/netplan": To("../share/netplan/netplan.script"),
        "usr/sbin/update-grub": Mode(b"#!/bin/sh\n", 0o755),
        f"{UNITS}/ssh.service": "[Unit]\nDescription=OpenBSD Secure Shell server\n",
        f"{UNITS}/serial-getty@.service": "[Unit]\nDescription=Serial Getty on %I\n",
        "etc/systemd/system/multi-user.target.wants/ssh.service": To(f"{UNITS}/ssh.service"),
        "etc/systemd/system/getty.target.wants/": b"",
        "usr/lib64/ld-linux-x86-64.so.2": random.Random(3).randbytes(30_000),
        f"var/lib/dpkg/info/{kernel}.list": "/.\n",
        "usr/share/doc/filler": random.Random(5).randbytes(3_000_000),
    }
    if flavour != "nocloud":
        files |= {
            "usr/bin/cloud-init": Mode(b"#!/usr/bin/python3\n", 0o755),
            "etc/cloud/cloud.cfg": "users:\n  - default\ndisable_root: true\n",
            "etc/cloud/cloud.cfg.d/01_debian_cloud.cfg": "apt:\n  generate_mirrorlists: true\n",
            "etc/cloud/cloud.cfg.d/90_dpkg.cfg": DATASOURCES,
        }
    return files
