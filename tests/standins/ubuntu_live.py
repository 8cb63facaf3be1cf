"""An ISO in the shape of Ubuntu Server's live medium, by xorriso alone: small, random where nothing is said.

Made with the options that `xorriso -report_el_torito as_mkisofs` tells of the real ones since 22.04: GPT with the ESP
appended and the file system from sector 64 on, El Torito for BIOS and UEFI, GRUB's boot code in the first sector.
"""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

from image.made_disks import tool

ESP_TYPE = "28732ac11ff8d211ba4b00a0c93ec93b"
ISO_TYPE = "a2a0d0ebe5b9334487c068b6b72699c7"
INFO = 'Ubuntu-Server 26.04.1 LTS "Resolute Raccoon" - Release amd64 (20260806)'
DATE = 1_786_000_000
LOADER = "boot/grub/i386-pc/eltorito.img"
"""What a BIOS starts."""
UUID = "2026080607064000"
GRUB_CFG = """\
set timeout=30

loadfont unicode

set menu_color_normal=white/black
set menu_color_highlight=black/light-gray

menuentry "Try or Install Ubuntu Server" {
	set gfxpayload=keep
	linux	/casper/vmlinuz  ---
	initrd	/casper/initrd
}
menuentry "Ubuntu Server with the HWE kernel" {
	set gfxpayload=keep
	linux	/casper/hwe-vmlinuz  ---
	initrd	/casper/hwe-initrd
}
grub_platform
if [ "$grub_platform" = "efi" ]; then
menuentry 'Boot from next volume' {
	exit 1
}
menuentry 'UEFI Firmware Settings' {
	fwsetup
}
else
menuentry 'Test memory' {
	linux16 /boot/memtest86+x64.bin
}
fi
"""
LOOPBACK_CFG = """\
menuentry "Try or Install Ubuntu Server" {
	set gfxpayload=keep
	linux	/casper/vmlinuz  iso-scan/filename=${iso_path} ---
	initrd	/casper/initrd
}
"""


def make_live_iso(
    path: Path, *, info: str = INFO, menu: str = GRUB_CFG, hybrid: bool = True, lists_loader: bool = False
) -> Path:
    """The ISO `path`; without `hybrid` one that starts from a CD only, as burners took them long ago.

    With `lists_loader` its MD5 sums name the BIOS's loader too, as it is on the medium.
    """
    work = path.with_suffix(".parts")
    tree = work / "tree"
    _lay_out(tree, info, menu)
    (work / "mbr").write_bytes(random.Random(11).randbytes(432))
    esp = _make_esp(work / "esp", tree / "EFI/boot/bootx64.efi")
    boot = ["-c", "boot.catalog", "-b", LOADER, "-no-emul-boot", "-boot-load-size", "4",
            "-boot-info-table", "--grub2-boot-info"]  # fmt: skip
    stick = ["--grub2-mbr", work / "mbr", "--protective-msdos-label", "-partition_cyl_align", "off",
             "-partition_offset", "16", "--mbr-force-bootable", "-append_partition", "2", ESP_TYPE, esp,
             "-appended_part_as_gpt", "-iso_mbr_part_type", ISO_TYPE]  # fmt: skip
    uefi = ["-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::", "-no-emul-boot"]
    words = [*(stick if hybrid else []), *boot, *(uefi if hybrid else [])]

    def write() -> None:
        named = ("-V", "Ubuntu-Server 26.04.1 LTS amd64", f"--modification-date={UUID}", "-r", "-J", "-joliet-long")
        tool("xorriso", "-no_rc", "-as", "mkisofs", "-quiet", *named, "-o", path, *words, tree)

    write()
    if lists_loader:
        _list_loader(path, work, tree)
        path.unlink()
        write()
    return path


def _list_loader(path: Path, work: Path, tree: Path) -> None:
    """The positions in the loader stay, since the list is of one block before and after."""
    tool("xorriso", "-no_rc", "-osirrox", "on", "-indev", path, "-extract", f"/{LOADER}", work / "loader")
    sums = tree / "md5sum.txt"
    with sums.open("a") as stream:
        stream.write(f"{hashlib.md5((work / 'loader').read_bytes()).hexdigest()}  ./{LOADER}\n")
    os.utime(sums, (DATE, DATE))


def _lay_out(tree: Path, info: str, menu: str) -> None:
    chance = random.Random(12)
    files = {
        ".disk/info": info.encode(),
        ".disk/casper-uuid-generic": b"4f6a8a5e-6a0b-4d64-9a2f-3f3f0f7f5d10\n",
        "casper/vmlinuz": chance.randbytes(300_000),
        "casper/initrd": chance.randbytes(900_000),
        "casper/hwe-vmlinuz": chance.randbytes(200_001),
        "casper/hwe-initrd": chance.randbytes(500_000),
        "casper/ubuntu-server-minimal.squashfs": chance.randbytes(3_000_000),
        "casper/install-sources.yaml": b"- id: ubuntu-server\n  default: true\n",
        "dists/resolute/Release": b"Origin: Ubuntu\nCodename: resolute\n",
        "EFI/boot/bootx64.efi": chance.randbytes(50_000),
        "EFI/boot/grubx64.efi": chance.randbytes(70_000),
        LOADER: chance.randbytes(30_000),
        "boot/grub/grub.cfg": menu.encode(),
        "boot/grub/loopback.cfg": LOOPBACK_CFG.encode(),
        "boot/memtest86+x64.bin": chance.randbytes(10_000),
        ".disk/base_installable": b"",
        "pool/main/g/grub2/grub-efi_2.12~rc1+b1_amd64.deb": chance.randbytes(4_097),
        "pool/main/l/a name with 'quotes' and more than sixty-four characters in it.deb": b"x",
    }
    for name, content in files.items():
        place = tree / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    (tree / "ubuntu").symlink_to(".")
    sums = [f"{hashlib.md5(files[name]).hexdigest()}  ./{name}\n" for name in sorted(files) if name != LOADER]
    (tree / "md5sum.txt").write_text("".join(sums))
    for place in (*tree.rglob("*"), tree):
        os.utime(place, (DATE, DATE), follow_symlinks=False)


def _make_esp(path: Path, loader: Path) -> Path:
    tool("mkfs.fat", "-C", "--invariant", "-n", "ESP", path, 4096)
    tool("mmd", "-i", path, "::EFI", "::EFI/boot")
    tool("mcopy", "-i", path, loader, "::EFI/boot/bootx64.efi")
    return path
