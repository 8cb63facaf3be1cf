"""A system set up as Raspberry Pi OS Lite (trixie): cloud-init with its seed on FAT, NetworkManager through netplan.

Its kernel is Debian's, as the Pi's own does not start on QEMU's `virt`. What the Pi's initramfs does when it finds the
word `resize` is done here by a unit early in the first boot: another disk id, a grown partition, fstab and cmdline.txt
written anew.
"""

from __future__ import annotations

from pathlib import Path

from image.made_disks import Disk
from standins.bootable import (
    Base,
    disable,
    enable,
    from_fat,
    inside,
    into_filesystem,
    lay,
    never_started,
    prepared,
    script,
)
from standins.disk import Files, MiB, Part, make_disk

PACKAGES = ("netplan.io", "network-manager")
DISK_ID = "5e1a02c4"
GROUPS = "adm,dialout,cdrom,audio,users,sudo,video,games,plugdev,input,netdev,render"

CLOUD = """\
datasource_list: [NoCloud, None]
datasource:
  NoCloud:
    seedfrom: file:///boot/firmware
# regenerate_ssh_host_keys.service makes them.
ssh_deletekeys: false
ssh_genkeytypes: []
"""
SYSTEM = """\
system_info:
  default_user: {name: pi, lock_passwd: true, gecos: Raspberry Pi, shell: /bin/bash, sudo: ["ALL=(ALL) NOPASSWD:ALL"]}
  network: {renderers: [netplan, network-manager, networkd]}
disable_fallback_netcfg: true
"""
RESIZE = f"""\
#!/bin/sh
# What the initramfs of Raspberry Pi OS does at the first boot.
set -eu
grep -qw resize /proc/cmdline || exit 0
root=$(findmnt -n -o SOURCE /)
disk=${{root%[0-9]}}
id=$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
printf ', +\\n' | sfdisk --quiet --no-reread --no-tell-kernel --force -N 2 "$disk"
partx --update --nr 2 "$disk"
resize2fs "$root"
sfdisk --quiet --no-reread --force --disk-id "$disk" "0x$id"
sed -i "s/{DISK_ID}/$id/" /etc/fstab /boot/firmware/cmdline.txt
"""
RESIZE_UNIT = """\
[Unit]
Description=Grow the root and give the disk an id of its own
ConditionFirstBoot=yes
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target first-boot-complete.target shutdown.target
Wants=first-boot-complete.target
Conflicts=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/lib/raspberrypi-sys-mods/resize
ExecStartPost=systemctl disable %n
[Install]
WantedBy=sysinit.target
"""
WIZARD_UNIT = """\
[Unit]
Description=User configuration dialog
After=systemd-user-sessions.service
[Service]
Type=oneshot
ExecStart=/usr/lib/userconf-pi/userconf-service
StandardInput=tty
TTYPath=/dev/tty8
TTYReset=yes
TTYVHangup=yes
TTYVTDisallocate=yes
[Install]
WantedBy=multi-user.target
"""
KEYS = """\
#!/bin/sh
set -eu
rm -f /etc/ssh/ssh_host_*_key*
ssh-keygen -A
systemctl --quiet disable regenerate_ssh_host_keys
"""
KEYS_UNIT = """\
[Unit]
Description=Regenerate SSH host keys
Before=ssh.service
ConditionFileIsExecutable=/usr/bin/ssh-keygen
[Service]
Type=oneshot
ExecStart=/usr/lib/raspberrypi-sys-mods/regenerate_ssh_host_keys
[Install]
WantedBy=multi-user.target
"""
SSH_SWITCH = """\
#!/bin/sh
set -eu
if [ -e /boot/firmware/ssh ] || [ -e /boot/firmware/ssh.txt ]; then
    rm -f /boot/firmware/ssh /boot/firmware/ssh.txt
    systemctl enable --now --no-block ssh
fi
"""
SSH_SWITCH_UNIT = """\
[Unit]
Description=Turn on SSH if /boot/firmware/ssh is present
After=regenerate_ssh_host_keys.service
[Service]
Type=oneshot
ExecStart=/usr/lib/raspberrypi-sys-mods/sshswitch
[Install]
WantedBy=multi-user.target
"""
FSTAB = f"""\
proc            /proc           proc    defaults          0       0
PARTUUID={DISK_ID}-01  /boot/firmware  vfat    defaults          0       2
PARTUUID={DISK_ID}-02  /               ext4    defaults,noatime  0       1
"""
ROOT: Files = {
    "etc/rpi-issue": "Raspberry Pi reference 2026-10-06\nGenerated using pi-gen, stage2\n",
    "etc/fstab": FSTAB,
    "etc/hostname": "raspberrypi\n",
    "etc/hosts": "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\n\n127.0.1.1\traspberrypi\n",
    "etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg": CLOUD,
    "etc/cloud/cloud.cfg.d/50-system.cfg": SYSTEM,
    "usr/lib/netplan/00-network-manager-all.yaml": "network:\n  version: 2\n  renderer: NetworkManager\n",
    "etc/sudoers.d/010_pi-nopasswd": "pi ALL=(ALL) NOPASSWD: ALL\n",
    "etc/ssh/sshd_config.d/rename_user.conf": "Banner /usr/share/userconf-pi/sshd_banner\n",
    "usr/share/userconf-pi/sshd_banner": "Please note that SSH may not work until a valid user has been set up.\n",
    "usr/lib/userconf-pi/userconf-service": script("#!/bin/sh\n# Asks, and nobody is there.\nread -r answer\n"),
    "usr/lib/systemd/system/userconfig.service": WIZARD_UNIT,
    "usr/lib/raspberrypi-sys-mods/resize": script(RESIZE),
    "usr/lib/systemd/system/rpi-resize.service": RESIZE_UNIT,
    "usr/lib/raspberrypi-sys-mods/regenerate_ssh_host_keys": script(KEYS),
    "usr/lib/systemd/system/regenerate_ssh_host_keys.service": KEYS_UNIT,
    "usr/lib/raspberrypi-sys-mods/sshswitch": script(SSH_SWITCH),
    "usr/lib/systemd/system/sshswitch.service": SSH_SWITCH_UNIT,
}
CMDLINE = (
    f"console=serial0,115200 console=tty1 root=PARTUUID={DISK_ID}-02 rootfstype=ext4 fsck.repair=yes rootwait resize\n"
)
BOOT: Files = {
    "cmdline.txt": CMDLINE,
    "config.txt": "dtparam=audio=on\nauto_initramfs=1\narm_64bit=1\n\n[cm4]\notg_mode=1\n\n[all]\n",
    "meta-data": "dsmode: local\ninstance_id: rpios-image\n",
    "user-data": "#cloud-config\n\n# Uncomment what you want.\n#hostname: raspberrypi\n",
    "network-config": "# Uncomment what you want.\n#network:\n#  version: 2\n",
}


def make(image: Path, base: Base, shelf: Path) -> Disk:
    """The image; `base` is the Debian base of a Pi."""
    work = image.parent
    fat = base.partitions()[0][0]
    boot = {
        **BOOT,
        "kernel8.img": from_fat(base.path, fat, "vmlinuz"),
        "initramfs8": from_fat(base.path, fat, "initrd"),
    }
    options = ("-L", "rootfs", "-O", "^huge_file,^64bit")
    root = into_filesystem(prepared("raspios", base, PACKAGES, shelf), work, _as_published, options)
    parts = (
        Part("boot", "fat", 512 * MiB, "c", "bootfs", boot, ("-F", "32")),
        Part("root", "ext4", root.stat().st_size, "83", content=root),
    )
    return make_disk(image, "dos", parts, first=8 * MiB, disk_id=f"0x{DISK_ID}", tail=0)


def _as_published(tree: Path) -> None:
    lay(tree, ROOT)
    inside(tree, "useradd", "--create-home", "--shell", "/bin/bash", "--groups", GROUPS, "pi")
    disable(tree, "ssh.service", "systemd-networkd.service", "systemd-networkd-wait-online.service")
    enable(tree, "userconfig", "rpi-resize", "regenerate_ssh_host_keys", "sshswitch", "NetworkManager")
    never_started(tree, "uninitialized\n")
