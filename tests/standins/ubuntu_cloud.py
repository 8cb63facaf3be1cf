"""Ubuntu's cloud images for PCs, small: a compressed qcow2 called .img, GPT, a /boot of its own, cloud-init, GRUB.

Faithful: the numbers and the order of the partitions (p1, the root, is the last on the disk; /boot is p16 in 24.04 and
p13 since 24.10), their types and labels, what is in /boot and in the ESP, the stock seedless cloud-init, sshd held by
systemd's socket since 22.10. Smaller: every partition.
"""

from __future__ import annotations

import random
from pathlib import Path

from image.made_disks import Disk, tool
from standins.disk import Files, MiB, Mode, Part, To, make_disk

ROOT_TYPE = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
BOOT_TYPE = "BC13C2FF-59E6-4262-A352-B275FD6F7172"
ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
BIOS_TYPE = "21686148-6449-6E6F-744E-656564454649"
NAMES = {"24.04": "noble", "26.04": "resolute"}
GRUB_DEFAULTS = 'GRUB_TIMEOUT=0\nGRUB_CMDLINE_LINUX_DEFAULT="console=tty1 console=ttyS0"\n'
DATASOURCES = (
    "# to update this file, run dpkg-reconfigure cloud-init\ndatasource_list: [ NoCloud, ConfigDrive, Ec2, None ]\n"
)
FSTAB = """\
LABEL=cloudimg-rootfs\t/\text4\tdiscard,commit=30,errors=remount-ro\t0 1
LABEL=BOOT\t/boot\text4\tdefaults\t0 2
LABEL=UEFI\t/boot/efi\tvfat\tumask=0077\t0 1
"""
UNITS = "/usr/lib/systemd/system"


def ubuntu_cloud(path: Path, version: str = "24.04", *, root: Files | None = None, boot: Files | None = None) -> Disk:
    """The raw disk; `root` and `boot` (the ext4 of /boot) are files put in addition or instead."""
    number = 16 if version == "24.04" else 13
    parts = (
        Part("bios", "raw", 4 * MiB, BIOS_TYPE, number=14),
        Part("esp", "fat", 6 * MiB, ESP_TYPE, "UEFI", _esp(), number=15),
        Part("ext4boot", "ext4", 12 * MiB, BOOT_TYPE, "BOOT", {**_boot(), **(boot or {})}, number=number),
        Part("root", "ext4", 32 * MiB, ROOT_TYPE, "cloudimg-rootfs", {**_root(version), **(root or {})}, number=1),
    )
    return make_disk(path, "gpt", parts, tail=MiB)


def as_published(disk: Disk, to: Path) -> Path:
    """The compressed qcow2 that Ubuntu publishes under a name that ends in .img."""
    tool("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", disk.path, to)
    return to


def _esp() -> Files:
    chance = random.Random(21)
    return {
        "EFI/BOOT/BOOTX64.EFI": chance.randbytes(90_000),
        "EFI/ubuntu/grubx64.efi": chance.randbytes(90_000),
        "EFI/ubuntu/grub.cfg": "search.fs_uuid 0f3c2d1e root\nset prefix=($root)'/grub'\nconfigfile $prefix/grub.cfg\n",
    }


def _boot() -> Files:
    chance = random.Random(22)
    linux = "linux /vmlinuz-6.8.0-86-generic root=LABEL=cloudimg-rootfs ro console=tty1 console=ttyS0"
    return {
        "grub/grub.cfg": f"menuentry 'Ubuntu' {{\n\t{linux}\n\tinitrd /initrd.img-6.8.0-86-generic\n}}\n",
        "grub/grubenv": "# GRUB Environment Block\n" + "#" * 999,
        "vmlinuz-6.8.0-86-generic": Mode(chance.randbytes(700_000), 0o600),
        "initrd.img-6.8.0-86-generic": chance.randbytes(900_000),
        "efi/": b"",
    }


def _root(version: str) -> Files:
    name = NAMES[version]
    release = (
        f'PRETTY_NAME="Ubuntu {version} LTS"\nNAME="Ubuntu"\nVERSION_ID="{version}"\nVERSION_CODENAME={name}\n'
        "ID=ubuntu\nID_LIKE=debian\n"
    )
    clock: Files = {"etc/systemd/timesyncd.conf": "[Time]\n"}
    if version != "24.04":
        clock = {"etc/chrony/chrony.conf": "sourcedir /etc/chrony/sources.d\n", "etc/chrony/sources.d/": b""}
    return {
        "usr/lib/os-release": release,
        "etc/os-release": To("../usr/lib/os-release"),
        "etc/machine-id": "",
        "etc/hostname": "ubuntu\n",
        "etc/fstab": FSTAB,
        "etc/cloud/cloud.cfg": "users:\n  - default\nsystem_info:\n  default_user:\n    name: ubuntu\n",
        "etc/cloud/cloud.cfg.d/90_dpkg.cfg": DATASOURCES,
        "etc/default/grub": "GRUB_DEFAULT=0\n",
        "etc/default/grub.d/50-cloudimg-settings.cfg": GRUB_DEFAULTS,
        "etc/apt/apt.conf.d/50unattended-upgrades": 'Unattended-Upgrade::Allowed-Origins { "x"; };\n',
        "etc/ssh/sshd_config.d/60-cloudimg-settings.conf": "PasswordAuthentication no\n",
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
        "etc/shadow": Mode(b"root:*:20000:0:99999:7:::\n", 0o640),
        "etc/systemd/system/sockets.target.wants/ssh.socket": To(f"{UNITS}/ssh.socket"),
        "etc/systemd/system/getty.target.wants/": b"",
        f"{UNITS}/ssh.socket": "[Socket]\nListenStream=22\n",
        f"{UNITS}/ssh.service": "[Unit]\nDescription=OpenBSD Secure Shell server\n",
        f"{UNITS}/serial-getty@.service": "[Unit]\nDescription=Serial Getty on %I\n",
        "usr/bin/cloud-init": Mode(b"#!/usr/bin/python3\n", 0o755),
        "usr/sbin/netplan": To("../share/netplan/netplan.script"),
        "usr/sbin/update-grub": Mode(b"#!/bin/sh\n", 0o755),
        "usr/lib64/ld-linux-x86-64.so.2": random.Random(3).randbytes(30_000),
        "var/lib/dpkg/info/linux-virtual.list": "/.\n",
        "var/lib/snapd/": b"",
        "usr/share/doc/filler": random.Random(5).randbytes(3_000_000),
        "boot/efi/": b"",
        **clock,
    }
