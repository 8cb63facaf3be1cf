"""A system set up as Ubuntu's cloud image (24.04) is: four partitions on GPT, the root last, /boot apart, GRUB for EFI.

Kernel and programs are Debian's; what says Ubuntu is os-release, cloud-init's settings, netplan and the SSH socket.
"""

from __future__ import annotations

from pathlib import Path

from image.made_disks import tool
from standins.bootable import (
    Base,
    disable,
    enable,
    grub,
    into_filesystem,
    lay,
    never_started,
    prepared,
    take,
)
from standins.disk import Files, MiB, Part, make_disk

PACKAGES = ("netplan.io",)
BOOT_ID = "3e5a02c4-4f0b-4a52-8c1d-1d1f5e1a02c4"
BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
EXTENDED_BOOT = "BC13C2FF-59E6-4262-A352-B275FD6F7172"
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
MODULES = ("part_gpt", "fat", "ext2", "normal", "linux", "search", "search_fs_uuid", "configfile", "echo", "test")

OS_RELEASE = """\
PRETTY_NAME="Ubuntu 24.04.3 LTS"
NAME="Ubuntu"
VERSION_ID="24.04"
VERSION="24.04.3 LTS (Noble Numbat)"
VERSION_CODENAME=noble
ID=ubuntu
ID_LIKE=debian
"""
CLOUD = """\
datasource_list: [NoCloud, ConfigDrive, OpenNebula, DigitalOcean, Azure, OVF, MAAS, GCE, OpenStack, Ec2, LXD, None]
"""
SYSTEM = """\
system_info:
  distro: ubuntu
  default_user:
    name: ubuntu
    lock_passwd: true
    gecos: Ubuntu
    groups: [adm, cdrom, dip, sudo]
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
    shell: /bin/bash
  network: {renderers: [netplan, eni, sysconfig]}
"""
SSH_SOCKET = """\
[Unit]
Description=OpenBSD Secure Shell server socket
Before=sockets.target ssh.service
ConditionPathExists=!/etc/ssh/sshd_not_to_be_run
[Socket]
ListenStream=0.0.0.0:22
ListenStream=[::]:22
BindIPv6Only=ipv6-only
Accept=no
FreeBind=yes
[Install]
WantedBy=sockets.target
RequiredBy=ssh.service
"""
FSTAB = """\
LABEL=cloudimg-rootfs\t/\t ext4\tdiscard,commit=30,errors=remount-ro\t0 1
LABEL=BOOT\t/boot\text4\tdefaults\t0 2
LABEL=UEFI\t/boot/efi\tvfat\tumask=0077\t0 1
"""
ROOT: Files = {
    "usr/lib/os-release": OS_RELEASE,
    "etc/fstab": FSTAB,
    "etc/hostname": "ubuntu\n",
    "etc/cloud/cloud.cfg.d/90_dpkg.cfg": CLOUD,
    "etc/cloud/cloud.cfg.d/91-system.cfg": SYSTEM,
    "usr/lib/systemd/system/ssh.socket": SSH_SOCKET,
    "boot/efi/": b"",
}
ESP_CFG = f"search.fs_uuid {BOOT_ID} root\nset prefix=($root)'/grub'\nconfigfile $prefix/grub.cfg\n"
GRUB_CFG = """\
set timeout=0
linux /{kernel} root=LABEL=cloudimg-rootfs ro console=tty1 console=ttyS0
initrd /{initrd}
boot
"""


def make(image: Path, base: Base, shelf: Path) -> Path:
    """The image as it is published: qcow2 with compressed clusters. `base` is a Debian base for amd64."""
    work = image.parent
    boot = work / "boot"
    boot.mkdir()
    root = into_filesystem(
        prepared("ubuntu", base, PACKAGES, shelf),
        work,
        lambda tree: _as_published(tree, boot),
        ("-L", "cloudimg-rootfs"),
        1.5,
    )
    boot_image = work / "boot.ext4"
    tool("mke2fs", "-q", "-F", "-t", "ext4", "-E", "root_owner=0:0", "-L", "BOOT", "-U", BOOT_ID, "-d", boot,
         boot_image, f"{913 * 1024}K")  # fmt: skip
    esp = {
        "EFI/BOOT/BOOTX64.EFI": grub(work, "/EFI/ubuntu", MODULES),
        "EFI/ubuntu/grub.cfg": ESP_CFG,
    }
    parts = (
        Part("bios", "raw", 4 * MiB, BIOS_BOOT, number=14),
        Part("esp", "fat", 106 * MiB, ESP, "UEFI", esp, ("-F", "32"), number=15),
        Part("boot", "ext4", 913 * MiB, EXTENDED_BOOT, content=boot_image, number=16),
        Part("root", "ext4", root.stat().st_size, LINUX, content=root, number=1),
    )
    raw = make_disk(work / "disk.raw", "gpt", parts)
    tool("qemu-img", "convert", "-c", "-O", "qcow2", raw.path, image)
    raw.path.unlink()
    return image


def _as_published(tree: Path, boot: Path) -> None:
    lay(tree, ROOT)
    for path in (tree / "boot").iterdir():
        if path.is_file():
            tool("mv", path, boot)
    kernel, initrd = take(boot, "vmlinuz-*"), take(boot, "initrd.img-*")
    lay(boot, {"grub/grub.cfg": GRUB_CFG.format(kernel=kernel.name, initrd=initrd.name)})
    disable(tree, "ssh.service")
    enable(tree, "ssh.socket", "systemd-networkd")
    never_started(tree, "uninitialized\n")
