"""Raspberry Pi OS Lite as pi-gen lays it out, small: trixie with its seed for cloud-init, bookworm with `firstboot`.

Faithful: 8 MiB alignment, FAT32 `bootfs` and ext4 `rootfs` with their features, the stock lines of cmdline.txt,
config.txt, meta-data (with its wrong key) and fstab, units and links of the first boot. Smaller: both partitions.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from image.made_disks import Disk
from standins.disk import Files, MiB, Mode, Part, To, make_disk

DISK_ID = "5e1a02c4"
FEATURES = ("-O", "^huge_file,^64bit", "-b", "4096")
FAT32 = ("-F", "32", "-s", "1")
"""Small clusters, or so small a FAT would not be a FAT32; the published 512 MiB have larger ones."""

CONSOLES = "console=serial0,115200 console=tty1"
ROOT = f"root=PARTUUID={DISK_ID}-02 rootfstype=ext4 fsck.repair=yes rootwait"
CMDLINE_TRIXIE = f"{CONSOLES} {ROOT} resize\n"
CMDLINE_BOOKWORM = f"{CONSOLES} {ROOT} quiet init=/usr/lib/raspberrypi-sys-mods/firstboot\n"
CONFIG = """\
# For more options and information see
# http://rptl.io/configtxt

dtparam=audio=on
camera_auto_detect=1
auto_initramfs=1
dtoverlay=vc4-kms-v3d
arm_64bit=1
arm_boost=1

[cm4]
otg_mode=1

[cm5]
dtoverlay=dwc2,dr_mode=host

[all]
"""
META_DATA = """\
# This is the meta-data configuration file for cloud-init.
dsmode: local
instance_id: rpios-image
"""
USER_DATA = "#cloud-config\n\n# The options in this file are examples.\n#hostname: raspberrypi\n"
NETWORK_CONFIG = "# A netplan-compatible configuration which cloud-init will apply.\n#network:\n#  version: 2\n"
CLOUD_CFG = """\
datasource_list: [ NoCloud, None ]
datasource:
  NoCloud:
    seedfrom: file:///boot/firmware
ssh_deletekeys: false
ssh_genkeytypes: []
"""
FSTAB = f"""\
proc            /proc           proc    defaults          0       0
PARTUUID={DISK_ID}-01  /boot/firmware  vfat    defaults          0       2
PARTUUID={DISK_ID}-02  /               ext4    defaults,noatime  0       1
"""
PASSWD = """\
root:x:0:0:root:/root:/bin/bash
systemd-timesync:x:997:997::/:/usr/sbin/nologin
pi:x:1000:1000::/home/pi:/bin/bash
"""
WIZARD = "[Unit]\nDescription=User configuration dialog\n[Service]\nType=oneshot\nTTYPath=/dev/tty8\n"
UNITS = "/usr/lib/systemd/system"
WANTED = "/etc/systemd/system/multi-user.target.wants"


def trixie(
    path: Path,
    *,
    boot: Files | None = None,
    root: Files | None = None,
    label: str = "bootfs",
    root_label: str = "rootfs",
    more: Sequence[Part] = (),
) -> Disk:
    """Since 2025-11-24; `boot` and `root` are files put in addition or instead, `more` partitions behind."""
    seed: Files = {"user-data": USER_DATA, "meta-data": META_DATA, "network-config": NETWORK_CONFIG}
    own: Files = {
        **_os_release("13", "trixie"),
        "etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg": CLOUD_CFG,
        "usr/bin/cloud-init": Mode(b"#!/usr/bin/python3\n", 0o755),
        "usr/sbin/netplan": To("../share/netplan/netplan.script"),
        "etc/rpi/swap.conf": "#[Main]\n#Mechanism=auto\n",
        "usr/lib/systemd/system-generators/rpi-swap-generator": Mode(b"#!/bin/sh\n", 0o755),
        f"{UNITS}/rpi-resize.service": "[Unit]\nConditionFirstBoot=yes\n",
        "etc/systemd/system/sysinit.target.wants/rpi-resize.service": To(f"{UNITS}/rpi-resize.service"),
    }
    on_boot, on_root = {**_boot(CMDLINE_TRIXIE), **seed, **(boot or {})}, {**_root(), **own, **(root or {})}
    return _pi_gen(path, on_boot, on_root, (label, root_label), more)


def bookworm(path: Path, *, boot: Files | None = None, root: Files | None = None, label: str = "bootfs") -> Disk:
    """The older way: no cloud-init, sudo without a password, swap on the card."""
    own: Files = {
        **_os_release("12", "bookworm"),
        "usr/lib/raspberrypi-sys-mods/firstboot": Mode(b"#!/bin/bash\n", 0o755),
        "etc/sudoers.d/010_pi-nopasswd": Mode(b"pi ALL=(ALL) NOPASSWD: ALL\n", 0o440),
        "etc/dphys-swapfile": "#CONF_SWAPSIZE=\n",
        "usr/lib/systemd/system/dphys-swapfile.service": "[Unit]\nDescription=set up a swap file\n",
        f"{WANTED}/dphys-swapfile.service": To(f"{UNITS}/dphys-swapfile.service"),
        "etc/init.d/resize2fs_once": Mode(b"#!/bin/sh\n", 0o755),
        "etc/NetworkManager/system-connections/": b"",
    }
    on_boot, on_root = {**_boot(CMDLINE_BOOKWORM), **(boot or {})}, {**_root(), **own, **(root or {})}
    return _pi_gen(path, on_boot, on_root, (label, "rootfs"))


def _pi_gen(path: Path, boot: Files, root: Files, labels: tuple[str, str], more: Sequence[Part] = ()) -> Disk:
    parts = (
        Part("boot", "fat", 40 * MiB, "c", labels[0], boot, FAT32),
        Part("root", "ext4", 24 * MiB, "83", labels[1], root, FEATURES),
        *more,
    )
    # The gap holds nothing there; random bytes show whether it is left alone.
    return make_disk(path, "dos", parts, first=8 * MiB, disk_id=f"0x{DISK_ID}", tail=0)


def _boot(cmdline: str) -> Mapping[str, str | bytes]:
    chance = random.Random(11)
    return {
        "cmdline.txt": cmdline,
        "config.txt": CONFIG,
        "issue.txt": "Raspberry Pi reference 2026-10-06\n",
        "kernel8.img": chance.randbytes(200_000),
        "initramfs8": chance.randbytes(90_000),
        "start4.elf": chance.randbytes(50_000),
        "bcm2711-rpi-4-b.dtb": chance.randbytes(9_000),
        "bcm2710-rpi-3-b.dtb": chance.randbytes(9_000),
        "overlays/vc4-kms-v3d.dtbo": chance.randbytes(4_000),
    }


def _root() -> Files:
    return {
        "etc/rpi-issue": "Raspberry Pi reference 2026-10-06\nGenerated using pi-gen, stage2\n",
        "etc/machine-id": "uninitialized\n",
        "etc/hostname": "raspberrypi\n",
        "etc/hosts": "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost\n\n127.0.1.1\t\traspberrypi\n",
        "etc/fstab": FSTAB,
        "etc/passwd": PASSWD,
        "etc/shadow": Mode(b"root:*:20000:0:99999:7:::\npi:!:20000:0:99999:7:::\n", 0o640),
        "etc/locale.gen": "# en_US.UTF-8 UTF-8\nen_GB.UTF-8 UTF-8\n",
        "etc/default/locale": "LANG=en_GB.UTF-8\n",
        "etc/default/keyboard": 'XKBMODEL="pc105"\nXKBLAYOUT="gb"\n',
        "etc/timezone": "Europe/London\n",
        "etc/localtime": To("/usr/share/zoneinfo/Europe/London"),
        "etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\n",
        "etc/ssh/sshd_config.d/rename_user.conf": "Banner /usr/share/userconf-pi/sshd_banner\n",
        "home/pi/.profile": "# ~/.profile\n",
        "boot/firmware/": b"",
        "usr/lib/ld-linux-aarch64.so.1": random.Random(3).randbytes(30_000),
        "usr/lib/userconf-pi/userconf-service": Mode(b"#!/bin/sh -e\n", 0o755),
        f"{UNITS}/userconfig.service": WIZARD,
        f"{WANTED}/userconfig.service": To(f"{UNITS}/userconfig.service"),
        f"{UNITS}/sshswitch.service": "[Unit]\nConditionPathExistsGlob=/boot/firmware/ssh{,.txt}\n",
        f"{WANTED}/sshswitch.service": To(f"{UNITS}/sshswitch.service"),
        f"{UNITS}/regenerate_ssh_host_keys.service": "[Unit]\nBefore=ssh.service\n",
        f"{WANTED}/regenerate_ssh_host_keys.service": To(f"{UNITS}/regenerate_ssh_host_keys.service"),
        f"{UNITS}/ssh.service": "[Unit]\nDescription=OpenBSD Secure Shell server\n",
        f"{UNITS}/getty@.service": "[Unit]\nDescription=Getty on %I\n",
        "etc/systemd/system/getty.target.wants/": b"",
        "usr/share/doc/filler": random.Random(5).randbytes(3_000_000),
    }


def _os_release(number: str, name: str) -> Files:
    text = (
        f'PRETTY_NAME="Debian GNU/Linux {number} ({name})"\nNAME="Debian GNU/Linux"\nVERSION_ID="{number}"\n'
        f'VERSION="{number} ({name})"\nVERSION_CODENAME={name}\nID=debian\n'
    )
    return {"usr/lib/os-release": text, "etc/os-release": To("../usr/lib/os-release")}
