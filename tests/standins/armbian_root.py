"""A system set up as Armbian minimal (trixie): one ext4, no cloud-init, netplan with networkd, chrony, root's log-in.

Kernel and initrd are Debian's, the initrd wrapped as Armbian wraps it for U-Boot; in the gap lie random bytes.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from pathlib import Path

from image.made_disks import tool
from standins.bootable import (
    Base,
    disable,
    enable,
    inside,
    into_filesystem,
    lay,
    never_started,
    prepared,
    script,
    take,
)
from standins.disk import Files, MiB, Part, To, make_disk

PACKAGES = ("netplan.io", "chrony", "cloud-init-", "systemd-zram-generator-")
ROOT_ID = str(uuid.UUID("7f0b3a52-6c1d-4c0e-9a55-2d1f5e1a02c4"))
ASKS = "Armbian asks for a new root password"
"""What its wizard says on the console."""

FIRSTRUN = """\
#!/bin/bash
set -eu
. /etc/armbian-release
[ ! -e /etc/default/armbian-firstrun ] || . /etc/default/armbian-firstrun
sed '1s/^/IMAGE_UUID=/' /proc/sys/kernel/random/uuid >>/etc/armbian-image-release
if [ "${OPENSSHD_REGENERATE_HOST_KEYS:-true}" = true ]; then
    rm -f /etc/ssh/ssh_host*
    ssh-keygen -A
    systemctl --no-block restart ssh
fi
mac=$(od -An -N5 -tx1 /dev/urandom | sed 's/^ /02:/; s/ /:/g')
sed -i "s/^ethaddr=.*/ethaddr=$mac/" /boot/armbianEnv.txt
systemctl disable armbian-firstrun
"""
FIRSTRUN_UNIT = """\
[Unit]
Description=Armbian first run tasks
Before=getty.target system-getty.slice first-boot-complete.target ssh.service
Wants=first-boot-complete.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/lib/armbian/armbian-firstrun start
TimeoutStartSec=2min
[Install]
WantedBy=multi-user.target
"""
RESIZE = """\
#!/bin/bash
# Leaves 5 % free on a small medium, on a large one 1 %, and ends at a multiple of 16 MiB.
set -eu
if [ ! -f /root/.no_rootfs_resize ]; then
    root=$(findmnt -n -o SOURCE /)
    disk=/dev/$(lsblk -n -o PKNAME "$root")
    whole=$(blockdev --getsz "$disk")
    share=99
    [ "$whole" -ge 16777216 ] || share=98
    [ "$whole" -ge 8388608 ] || share=95
    last=$((whole * share / 100 / 32768 * 32768))
    size=$((last - $(cat "/sys/class/block/${root##*/}/start")))
    printf ', %s\\n' "$size" | sfdisk --quiet --no-reread --no-tell-kernel --force -N 1 "$disk"
    partx --update --nr 1 "$disk"
    resize2fs "$root"
fi
systemctl disable armbian-resize-filesystem
"""
RESIZE_UNIT = """\
[Unit]
Description=Armbian filesystem resize
Before=basic.target first-boot-complete.target
After=sysinit.target local-fs.target
DefaultDependencies=no
Wants=first-boot-complete.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/lib/armbian/armbian-resize-filesystem start
TimeoutStartSec=6min
[Install]
WantedBy=basic.target
"""
ZRAM = """\
#!/bin/bash
# The first device is kept for logs, the second is for swap, the third for /tmp.
set -eu
[ ! -f /etc/default/armbian-zram-config ] || . /etc/default/armbian-zram-config
[ "${1:-}" = start ] && [ "${ENABLED:-}" = true ] || exit 0
modprobe zram num_devices=3
[ "${SWAP:-true}" = true ] || exit 0
memory=$(awk '/^MemTotal:/ { print $2 * 1024 }' /proc/meminfo)
echo "${SWAP_ALGORITHM:-lzo}" >/sys/block/zram1/comp_algorithm
echo "$((memory * ${ZRAM_PERCENTAGE:-50} / 100))" >/sys/block/zram1/disksize
mkswap /dev/zram1
swapon -p 5 /dev/zram1
"""
ZRAM_UNIT = """\
[Unit]
Description=Armbian ZRAM config
DefaultDependencies=no
Before=systemd-journald.service sysinit.target shutdown.target
After=local-fs.target
Conflicts=shutdown.target
RequiresMountsFor=/var/log /var/log.hdd
IgnoreOnIsolate=yes
[Service]
Type=oneshot
ExecStart=/usr/lib/armbian/armbian-zram-config start
RemainAfterExit=yes
TimeoutStartSec=2min
[Install]
WantedBy=sysinit.target
"""
RAMLOG = """\
#!/bin/bash
set -eu
[ ! -f /etc/default/armbian-ramlog ] || . /etc/default/armbian-ramlog
[ "${1:-}" = start ] && [ "${ENABLED:-}" = true ] || exit 0
mkdir -p /var/log.hdd
mount --bind /var/log /var/log.hdd
mount --make-private /var/log.hdd
mount -t tmpfs -o "nosuid,noexec,nodev,mode=0755,size=${SIZE:-50M}" armbian-ramlog /var/log
cp -a /var/log.hdd/. /var/log/
"""
RAMLOG_UNIT = """\
[Unit]
Description=Armbian memory supported logging
DefaultDependencies=no
Before=systemd-journald.service sysinit.target shutdown.target
After=armbian-zram-config.service
Conflicts=shutdown.target
RequiresMountsFor=/var/log /var/log.hdd
IgnoreOnIsolate=yes
[Service]
Type=oneshot
ExecStart=/usr/lib/armbian/armbian-ramlog start
RemainAfterExit=yes
TimeoutStartSec=2min
[Install]
WantedBy=sysinit.target
"""
GETTY = """\
[Service]
ExecStartPre=/bin/sh -c 'exec /bin/sleep 1'
ExecStart=
ExecStart=-/sbin/agetty --noissue --autologin root %I $TERM
Type=idle
"""
CHECK = f"""\
if [ -f /root/.not_logged_in_yet ] && [ -n "$BASH_VERSION" ] && tty -s; then
    echo "{ASKS}"
    read -r answer
fi
"""
RELEASE = """\
BOARD=bananapim5
BOARD_NAME="Banana Pi M5"
BOARDFAMILY=meson-sm1
VERSION=26.8.1
LINUXFAMILY=meson64
ARCH=arm64
IMAGE_TYPE=stable
BOARD_TYPE=conf
INITRD_ARCH=arm64
KERNEL_IMAGE_TYPE=Image
BRANCH=current
"""
ENVIRONMENT = f"""\
verbosity=1
bootlogo=false
console=both
overlay_prefix=meson
rootdev=UUID={ROOT_ID}
rootfstype=ext4
ethaddr=00:50:43:84:fb:2f
usbstoragequirks=0x2537:0x1066:u
"""
NETPLAN = """\
network:
  version: 2
  renderer: networkd
  ethernets:
    all-eth-interfaces:
      match:
        name: "e*"
      dhcp4: yes
      dhcp6: yes
      ipv6-privacy: yes
"""
ROOT: Files = {
    "etc/armbian-release": RELEASE,
    "etc/armbian-image-release": "",
    "etc/hostname": "bananapim5\n",
    "etc/hosts": "127.0.0.1   localhost\n127.0.1.1   bananapim5\n::1         localhost bananapim5 ip6-localhost\n",
    "etc/fstab": f"UUID={ROOT_ID} / ext4 defaults,noatime,commit=120,errors=remount-ro 0 1\n"
    "tmpfs /tmp tmpfs defaults,nosuid 0 0\n",
    "etc/netplan/10-dhcp-all-interfaces.yaml": script(NETPLAN),
    "etc/default/armbian-firstrun": "OPENSSHD_REGENERATE_HOST_KEYS=true\n",
    "etc/default/armbian-ramlog": "ENABLED=true\nSIZE=50M\n",
    "etc/default/armbian-zram-config": "ENABLED=true\n# ZRAM_PERCENTAGE=50\n# SWAP_ALGORITHM=lzo\n",
    "etc/profile.d/armbian-check-first-login.sh": CHECK,
    "etc/systemd/system/getty@.service.d/override.conf": GETTY,
    "etc/systemd/system/serial-getty@.service.d/override.conf": GETTY,
    "root/.not_logged_in_yet": "",
    "usr/lib/armbian/armbian-firstrun": script(FIRSTRUN),
    "usr/lib/armbian/armbian-resize-filesystem": script(RESIZE),
    "usr/lib/armbian/armbian-zram-config": script(ZRAM),
    "usr/lib/armbian/armbian-ramlog": script(RAMLOG),
    "usr/lib/systemd/system/armbian-zram-config.service": ZRAM_UNIT,
    "usr/lib/systemd/system/armbian-ramlog.service": RAMLOG_UNIT,
    "usr/lib/systemd/system/armbian-firstrun.service": FIRSTRUN_UNIT,
    "usr/lib/systemd/system/armbian-resize-filesystem.service": RESIZE_UNIT,
    "boot/armbianEnv.txt": ENVIRONMENT,
    "boot/boot.scr": "the boot script, compiled\n",
}


def make(image: Path, base: Base, shelf: Path) -> str:
    """The image, from a Debian base for arm64; the fingerprint of the host key that every copy of it bears."""
    options = ("-L", "armbi_root", "-U", ROOT_ID, "-O", "^orphan_file")
    root = into_filesystem(prepared("armbian", base, PACKAGES, shelf), image.parent, _as_published, options)
    tool("tune2fs", "-o", "journal_data_writeback", root)
    size = root.stat().st_size
    told = tool("debugfs", "-R", "cat /etc/ssh/ssh_host_ed25519_key.pub", root)
    make_disk(image, "dos", [Part("root", "ext4", size, "83", content=root)], first=4 * MiB, tail=0)
    return tool("ssh-keygen", "-l", "-f", "-", stdin=told).split()[1]


def u_boot_image(data: bytes, name: str) -> bytes:
    """As `mkimage -A arm64 -T ramdisk -C none` wraps it: 64 bytes before the data, big-endian."""
    head = struct.pack(">7I4B32s", 0x27051956, 0, 0, len(data), 0, 0, zlib.crc32(data), 5, 22, 3, 0, name.encode())
    return head[:4] + struct.pack(">I", zlib.crc32(head)) + head[8:] + data


def _as_published(tree: Path) -> None:
    lay(tree, ROOT)
    (tree / "etc/netplan/10-dhcp-all-interfaces.yaml").chmod(0o600)
    kernel, initrd = take(tree, "boot/vmlinuz-*"), take(tree, "boot/initrd.img-*")
    wrapped = kernel.name.replace("vmlinuz", "uInitrd")
    lay(
        tree,
        {
            "boot/Image": To(kernel.name),
            f"boot/{wrapped}": u_boot_image(initrd.read_bytes(), "uInitrd"),
            "boot/uInitrd": To(wrapped),
        },
    )
    for name in ("initrd.img", "initrd.img.old", "vmlinuz", "vmlinuz.old"):
        (tree / name).unlink(missing_ok=True)
    inside(tree, "chpasswd", "--crypt-method", "SHA256", stdin="root:1234\n")
    disable(tree, "systemd-networkd-wait-online.service")
    enable(tree, "armbian-firstrun", "armbian-resize-filesystem", "armbian-zram-config", "armbian-ramlog")
    enable(tree, "systemd-networkd", "ssh")
    never_started(tree, "9d3b8b0e2a9f4d6c8a7b6c5d4e3f2a10\n")
    tool("ssh-keygen", "-A", "-f", tree)
