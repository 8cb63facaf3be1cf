"""Ubuntu Server preinstalled for Pis, small: MBR, FAT `system-boot` with cloud-init's stock seed, ext4 `writable`.

Faithful: types and labels, config.txt and the kernel's line of each release (26.04 starts from current/), the
stock seed that gives the user ubuntu its password, where cloud-init is told to look. Smaller: both partitions.
"""

from __future__ import annotations

import random
from pathlib import Path

from image.made_disks import Disk
from standins.disk import Files, MiB, Mode, Part, To, make_disk
from standins.ubuntu_cloud import NAMES

CMDLINE = "console=serial0,115200 multipath=off dwc_otg.lpm_enable=0 console=tty1 root=LABEL=writable rootfstype=ext4"
ENDS = {"24.04": " rootwait fixrtc\n", "26.04": " panic=10 rootwait fixrtc\n"}
AB = "[all]\nos_prefix=current/\n\n[tryboot]\nos_prefix=new/\n\n"
CONFIG = """\
[all]
kernel=vmlinuz
cmdline=cmdline.txt
initramfs initrd.img followkernel

# Enable the serial pins
enable_uart=1
arm_64bit=1
dtoverlay=vc4-kms-v3d

[pi3+]
dtoverlay=vc4-kms-v3d,cma-128

[all]
"""
USER_DATA = """\
#cloud-config
chpasswd:
  expire: true
  users:
  - name: ubuntu
    password: ubuntu
    type: text
ssh_pwauth: false
"""
META_DATA = "# This is the meta-data configuration file for cloud-init.\ndsmode: local\ninstance_id: cloud-image\n"
NETWORK = "network:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: true\n      optional: true\n"
SEEDED = "datasource_list: [ NoCloud, None ]\ndatasource:\n  NoCloud:\n    fs_label: system-boot\n"
FSTAB = "LABEL=writable\t/\text4\tdefaults\t0 1\nLABEL=system-boot\t/boot/firmware\tvfat\tdefaults\t0 1\n"
CLOUD = "users:\n  - default\ndisable_root: true\nsystem_info:\n  default_user:\n    name: ubuntu\n"
UNITS = "/usr/lib/systemd/system"


def ubuntu_raspi(path: Path, version: str = "24.04", *, boot: Files | None = None, root: Files | None = None) -> Disk:
    """The raw disk; `boot` and `root` are files put in addition or instead."""
    parts = (
        Part("boot", "fat", 40 * MiB, "c", "system-boot", {**_boot(version), **(boot or {})}, ("-F", "32", "-s", "1")),
        Part("root", "ext4", 24 * MiB, "83", "writable", {**_root(version), **(root or {})}),
    )
    return make_disk(path, "dos", parts, first=MiB, tail=0)


def _boot(version: str) -> Files:
    chance, prefix = random.Random(41), "" if version == "24.04" else "current/"
    return {
        "config.txt": CONFIG if version == "24.04" else AB + CONFIG,
        f"{prefix}cmdline.txt": CMDLINE + ENDS[version],
        f"{prefix}vmlinuz": chance.randbytes(200_000),
        f"{prefix}initrd.img": chance.randbytes(90_000),
        f"{prefix}bcm2711-rpi-4-b.dtb": chance.randbytes(9_000),
        f"{prefix}overlays/vc4-kms-v3d.dtbo": chance.randbytes(4_000),
        "start4.elf": chance.randbytes(50_000),
        "user-data": USER_DATA,
        "meta-data": META_DATA,
        "network-config": NETWORK,
        "README": "Ubuntu for the Raspberry Pi\n",
    }


def _root(version: str) -> Files:
    release = (
        f'PRETTY_NAME="Ubuntu {version} LTS"\nVERSION_ID="{version}"\nVERSION_CODENAME={NAMES[version]}\n'
        "ID=ubuntu\nID_LIKE=debian\n"
    )
    return {
        "usr/lib/os-release": release,
        "etc/os-release": To("../usr/lib/os-release"),
        "etc/machine-id": "",
        "etc/hostname": "ubuntu\n",
        "etc/fstab": FSTAB,
        "etc/cloud/cloud.cfg": CLOUD,
        "etc/cloud/cloud.cfg.d/99-fake-cloud.cfg": SEEDED,
        "etc/systemd/system/cloud-init-local.service.d/mount-seed.conf": "[Unit]\nRequiresMountsFor=/boot/firmware\n",
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
        "etc/shadow": Mode(b"root:*:20000:0:99999:7:::\n", 0o640),
        "etc/systemd/system/sockets.target.wants/ssh.socket": To(f"{UNITS}/ssh.socket"),
        f"{UNITS}/ssh.socket": "[Socket]\nListenStream=22\n",
        f"{UNITS}/ssh.service": "[Unit]\nDescription=OpenBSD Secure Shell server\n",
        "boot/firmware/": b"",
        "usr/bin/cloud-init": Mode(b"#!/usr/bin/python3\n", 0o755),
        "usr/sbin/netplan": To("../share/netplan/netplan.script"),
        "usr/lib/ld-linux-aarch64.so.1": random.Random(3).randbytes(30_000),
        "usr/share/doc/filler": random.Random(5).randbytes(3_000_000),
    }
