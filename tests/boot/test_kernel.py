"""What QEMU is given of a Pi's boot partition, on real FAT images."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from standins.armbian_root import u_boot_image
from standins.disk import Files, Part, To, make_disk

from imagesmith.boot.kernel import borrow
from imagesmith.errors import BootFailed
from imagesmith.model import QemuMachine
from imagesmith.units import GiB, MiB

PI3 = QemuMachine("raspi3b", "cortex-a53", 4, GiB, "kernel", "sd", "usb", "ttyAMA0", dtb="bcm2837-rpi-3-b.dtb")
VIRT = QemuMachine("virt", "cortex-a72", 2, GiB, "kernel", "virtio", "virtio", "ttyAMA0")
SBIN = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}

if not shutil.which("mcopy"):
    pytest.skip("mtools is not installed", allow_module_level=True)


def sh(*argv: str, stdin: str = "") -> None:
    subprocess.run(argv, input=stdin.encode(), check=True, env=SBIN, stdout=subprocess.DEVNULL)


def card(folder: Path, files: dict[str, bytes], table: str = "dos", kind: str = "c") -> Path:
    """An image with a FAT partition at 4 MiB that holds `files`, and one more behind it."""
    image, fat = folder / "card.img", folder / "fat"
    image.touch()
    os.truncate(image, 80 * MiB)
    sh("sfdisk", "-q", str(image), stdin=f"label: {table}\nstart=8192, size=65536, type={kind}\nstart=73728\n")
    fat.touch()
    os.truncate(fat, 32 * MiB)
    sh("mkfs.fat", str(fat))
    for name, data in files.items():
        (folder / "content").write_bytes(data)
        sh("mcopy", "-i", str(fat), str(folder / "content"), f"::/{name}")
    with image.open("r+b") as out:
        out.seek(4 * MiB)
        out.write(fat.read_bytes())
    return image


FILES = {
    "config.txt": b"kernel=vmlinuz-6.12\ninitramfs initrd.img-6.12\n",
    "cmdline.txt": b"console=tty0 root=LABEL=root rootwait\n",
    "vmlinuz-6.12": os.urandom(100_000),
    "initrd.img-6.12": os.urandom(70_001),
    "bcm2837-rpi-3-b.dtb": os.urandom(999),
}


def test_the_files_that_config_txt_names_are_copied_whole(tmp_path: Path) -> None:
    borrowed = borrow(card(tmp_path, FILES), PI3, tmp_path)
    assert borrowed.kernel.read_bytes() == FILES["vmlinuz-6.12"]
    assert borrowed.initrd is not None
    assert borrowed.initrd.read_bytes() == FILES["initrd.img-6.12"]
    assert borrowed.dtb is not None
    assert borrowed.dtb.read_bytes() == FILES["bcm2837-rpi-3-b.dtb"]
    assert borrowed.cmdline.startswith("console=tty0 root=LABEL=root rootwait console=ttyAMA0,115200 ")


def test_the_report_says_what_was_borrowed_and_adjusted(tmp_path: Path) -> None:
    told = borrow(card(tmp_path, FILES), PI3, tmp_path).told
    assert "kernel vmlinuz-6.12, initrd initrd.img-6.12, device tree bcm2837-rpi-3-b.dtb" in told[0]
    assert told[1].startswith("kernel command line: console=ttyAMA0")


def test_virt_takes_no_device_tree(tmp_path: Path) -> None:
    assert borrow(card(tmp_path, FILES), VIRT, tmp_path).dtb is None


def test_a_kernel_that_is_not_named_is_kernel8(tmp_path: Path) -> None:
    files = {"config.txt": b"arm_64bit=1\n", "cmdline.txt": b"root=x", "kernel8.img": b"K" * 5000}
    borrowed = borrow(card(tmp_path, files), VIRT, tmp_path)
    assert borrowed.kernel.read_bytes() == b"K" * 5000
    assert borrowed.initrd is None


@pytest.mark.parametrize("missing", ["config.txt", "cmdline.txt", "vmlinuz-6.12", "bcm2837-rpi-3-b.dtb"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    image = card(tmp_path, {name: data for name, data in FILES.items() if name != missing})
    with pytest.raises(BootFailed, match=f"has no {missing}"):
        borrow(image, PI3, tmp_path)


def test_the_initramfs_that_the_firmware_chooses_is_copied(tmp_path: Path) -> None:
    files = {
        "config.txt": b"auto_initramfs=1\n",
        "cmdline.txt": b"root=x",
        "kernel8.img": b"K",
        "initramfs8": b"I" * 99,
    }
    borrowed = borrow(card(tmp_path, files), VIRT, tmp_path)
    assert borrowed.initrd is not None
    assert borrowed.initrd.read_bytes() == b"I" * 99


def test_the_fat_partition_of_a_gpt_is_found(tmp_path: Path) -> None:
    assert borrow(card(tmp_path, FILES, "gpt", "U"), VIRT, tmp_path).kernel.read_bytes() == FILES["vmlinuz-6.12"]


def test_bytes_without_a_partition_table_are_refused(tmp_path: Path) -> None:
    image = tmp_path / "noise"
    image.write_bytes(b"\x01" + os.urandom(100) + bytes(5000))
    with pytest.raises(BootFailed, match="no disk image"):
        borrow(image, VIRT, tmp_path)


# -- Armbian: the only partition is ext4 ----------------------------------------------------------

INITRD = os.urandom(60_000)
ARMBIAN: Files = {
    "etc/armbian-release": "BOARD=bananapim5\n",
    "boot/vmlinuz-6.18-current-meson64": os.urandom(80_000),
    "boot/Image": To("vmlinuz-6.18-current-meson64"),
    "boot/uInitrd-6.18": u_boot_image(INITRD, "uInitrd"),
    "boot/uInitrd": To("uInitrd-6.18"),
    "boot/armbianEnv.txt": "rootdev=UUID=ab-cd\nrootfstype=ext4\nextraargs=quiet\n",
}


def armbian(folder: Path, files: Files) -> Path:
    folder /= "with a ? in it"
    folder.mkdir()
    part = Part("root", "ext4", 24 * MiB, "83", "armbi_root", files)
    return make_disk(folder / "a.img", "dos", [part], first=4 * MiB).path


def test_armbians_kernel_and_initrd_are_copied_out_of_ext4(tmp_path: Path) -> None:
    borrowed = borrow(armbian(tmp_path, ARMBIAN), VIRT, tmp_path)
    assert borrowed.kernel.read_bytes() == ARMBIAN["boot/vmlinuz-6.18-current-meson64"]
    assert borrowed.initrd is not None
    assert borrowed.initrd.read_bytes() == INITRD
    assert borrowed.cmdline.startswith(
        "root=UUID=ab-cd rootwait rootfstype=ext4 loglevel=1 quiet cgroup_enable=memory "
    )
    assert borrowed.cmdline.endswith(" console=ttyAMA0,115200")


def test_the_report_says_that_u_boot_had_no_part_in_it(tmp_path: Path) -> None:
    told = borrow(armbian(tmp_path, ARMBIAN), VIRT, tmp_path).told
    assert "kernel /boot/vmlinuz-6.18-current-meson64 and initrd /boot/uInitrd-6.18" in told[0]
    assert "not the board's U-Boot" in told[0]


@pytest.mark.parametrize("missing", ["boot/Image", "boot/uInitrd-6.18"])
def test_what_armbians_boot_folder_lacks_is_named(tmp_path: Path, missing: str) -> None:
    image = armbian(tmp_path, {name: data for name, data in ARMBIAN.items() if name != missing})
    with pytest.raises(BootFailed, match=f"has no /{missing.removesuffix('-6.18')}"):
        borrow(image, VIRT, tmp_path)


def test_an_image_with_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BootFailed, match="no FAT partition, and no Armbian"):
        borrow(armbian(tmp_path, {"etc/hostname": "other\n"}), VIRT, tmp_path)
