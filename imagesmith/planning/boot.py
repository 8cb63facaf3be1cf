"""Which guest stands in for a board: QEMU's argv, the overlay's size, the deadlines. Pure.

Called by `workflow.boot`, which finds the files and starts the guest. Nothing here is opened or run.
How each choice was measured is told in docs/boot.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagesmith.model import Architecture, QemuMachine
from imagesmith.units import GiB

CREDENTIAL = "imagesmith.nonce"
"""The systemd credential by which a guest learns its nonce; see docs/boot.md."""

_USB_OF_A_PI = ("dwc_otg.lpm_enable=0", "dwc_otg.fiq_fsm_enable=0")

EMULATORS: Mapping[Architecture, str] = {"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}


@dataclass(frozen=True, slots=True)
class Firmware:
    """A UEFI build for QEMU: its code, a template of its variables, and the Debian package that brings both."""

    code: Path
    variables: Path
    package: str


FIRMWARE: Mapping[Architecture, tuple[Firmware, ...]] = {
    "amd64": (
        Firmware(Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd"), "ovmf"),
        Firmware(Path("/usr/share/OVMF/OVMF_CODE.fd"), Path("/usr/share/OVMF/OVMF_VARS.fd"), "ovmf"),
    ),
    "arm64": (
        Firmware(
            Path("/usr/share/AAVMF/AAVMF_CODE.no-secboot.fd"),
            Path("/usr/share/AAVMF/AAVMF_VARS.fd"),
            "qemu-efi-aarch64",
        ),
        Firmware(Path("/usr/share/AAVMF/AAVMF_CODE.fd"), Path("/usr/share/AAVMF/AAVMF_VARS.fd"), "qemu-efi-aarch64"),
    ),
}
"""Where Debian puts them, best first."""


@dataclass(frozen=True, slots=True)
class BorrowedKernel:
    """What the board's firmware would have loaded from the image, copied out for QEMU to load."""

    kernel: Path
    initrd: Path | None
    dtb: Path | None
    cmdline: str
    """The image's own words, adjusted by `adjust_cmdline`."""
    told: tuple[str, ...] = ()
    """What was borrowed and what was adjusted, one sentence each, for the report."""


@dataclass(frozen=True, slots=True)
class GuestFiles:
    """Paths of one guest; all but `firmware_code` are its own and thrown away."""

    overlay: Path
    firmware_code: Path | None = None
    firmware_variables: Path | None = None
    kernel: BorrowedKernel | None = None


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds since the guest was started."""

    kernel: float
    userspace: float
    report: float


def deadlines(total_s: float) -> Deadlines:
    """A fifth of the time until the kernel speaks, three fifths until systemd does, all of it for the report."""
    return Deadlines(kernel=total_s / 5, userspace=total_s * 3 / 5, report=total_s)


def overlay_size(image_size: int) -> int:
    """Bytes of the guest's disk: a power of two (SD cards must be) and 1 GiB larger, so that the root can grow."""
    return 1 << (image_size + GiB - 1).bit_length()


def guest_argv(
    machine: QemuMachine, architecture: Architecture, files: GuestFiles, nonce: str, qmp_fd: int
) -> tuple[str, ...]:
    """QEMU's command line: console on stdout, control (QMP) on the inherited socket `qmp_fd`, a user network.

    With `start` "uefi" no kernel, initrd or argument is given: what starts is what the image itself loads.
    """
    argv = [EMULATORS[architecture], "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    argv += ["-accel", "tcg,thread=multi", "-machine", machine.machine, *_processors(machine)]
    argv += ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
    argv += ["-chardev", f"socket,id=control,fd={qmp_fd}", "-mon", "chardev=control,mode=control"]
    argv += [*_disk(machine, files.overlay), *_network(machine)]
    if machine.disk == "virtio":
        # Without it a fresh guest waits for entropy before it can make host keys.
        argv += ["-object", "rng-random,id=entropy,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=entropy"]
    if machine.start == "uefi":
        argv += _firmware(files)
    elif files.kernel is not None:
        argv += _kernel(files.kernel, nonce if machine.machine == "raspi3b" else "")
    if machine.machine != "raspi3b":
        argv += _credential(machine, nonce)
    return tuple(argv)


def can_power_off(machine: QemuMachine) -> bool:
    """Whether the machine has a power button that QEMU can press."""
    return machine.machine != "raspi3b"


def adjust_cmdline(text: str, machine: QemuMachine) -> tuple[str, tuple[str, ...]]:
    """The image's kernel command line made to fit the machine, and what was changed, one sentence each.

    Only four things are touched: the last console is the machine's serial line, a root that is named by the SD
    card's device becomes the virtio disk's, raspi3b's watchdog, which bites at once in QEMU, stays away, and the USB
    driver of Raspberry Pi's own kernels leaves out what QEMU's USB lacks.
    """
    words, told = text.split(), []
    if machine.disk == "virtio":
        for index, word in enumerate(words):
            found = re.fullmatch(r"root=/dev/mmcblk0p(\d+)", word)
            if found:
                words[index] = f"root=/dev/vda{found[1]}"
                told.append(f"{word} became {words[index]}, since the disk is a virtio one")
    consoles = [word for word in words if word.startswith("console=")]
    if not consoles or consoles[-1].removeprefix("console=").split(",")[0] != machine.console:
        words.append(f"console={machine.console},115200")
        told.append(f"{words[-1]} was added, since that is the machine's serial line")
    if machine.machine == "raspi3b":
        # As QEMU's page on its Pis says (docs/system/arm/raspi.rst); other kernels have no such driver.
        words += _USB_OF_A_PI
        told.append(f"{' '.join(_USB_OF_A_PI)} were added, for Raspberry Pi's own kernel and its driver of USB")
        # QEMU's bcm2835_powermgt has no timer: arming the watchdog resets the machine in that very moment.
        listed = [word.partition("=")[2] for word in words if word.startswith("module_blacklist=")]
        words.append(f"module_blacklist={','.join([*listed, 'bcm2835_wdt'])}")
        told.append(f"{words[-1]} was added, since QEMU resets a Pi whose watchdog is armed")
    return " ".join(words), tuple(told)


@dataclass(frozen=True, slots=True)
class PiBoot:
    """What a Pi's config.txt says about the kernel: names relative to the boot partition's root."""

    kernel: str
    initramfs: str
    cmdline: str


def parse_config_txt(text: str, models: tuple[str, ...] = ("all",)) -> PiBoot:
    """Read `kernel=`, `initramfs`, `auto_initramfs=`, `cmdline=` and `os_prefix=` under the sections in `models`.

    Empty initramfs = none; a kernel that is not named is a 64-bit Pi's. Source: Raspberry Pi documentation, config.txt.
    """
    kernel = initramfs = prefix = ""
    cmdline, section, automatic = "cmdline.txt", "all", False
    for raw in text.splitlines():
        line = raw.split("#", 1)[0].strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
            continue
        if section not in models:
            continue
        key, _, value = line.partition("=")
        if key == "kernel":
            kernel = value.strip()
        elif key == "cmdline":
            cmdline = value.strip()
        elif key == "os_prefix":
            prefix = value.strip()
        elif key == "auto_initramfs":
            automatic = value.strip() == "1"
        elif found := re.match(r"initramfs[\s=]+(\S+)", line):
            # `initramfs NAME [ADDRESS|followkernel]`: the one setting that is written without an equals sign.
            initramfs = found[1]
    kernel = kernel or "kernel8.img"
    if automatic and not initramfs:
        # The file beside the kernel whose name says the same of the processor.
        initramfs = kernel.replace("kernel", "initramfs", 1).removesuffix(".img")
    return PiBoot(prefix + kernel, initramfs and prefix + initramfs, prefix + cmdline)


ARMBIAN_FILES = ("/boot/Image", "/boot/uInitrd", "/boot/armbianEnv.txt")
"""Kernel, initrd and settings, as Armbian's boot script for the meson64 family loads them."""
_UBOOT_MAGIC, _UBOOT_HEADER = bytes.fromhex("27051956"), 64


def armbian_cmdline(text: str) -> str:
    """The kernel's command line as Armbian's boot script makes it of armbianEnv.txt, but for the consoles.

    Source: armbian/build, config/bootscripts/boot-meson64.cmd.
    """
    said = {"rootdev": "/dev/mmcblk1p1", "rootfstype": "ext4", "verbosity": "1", "docker_optimizations": "on"}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            said[key] = value.strip()
    words = [f"root={said['rootdev']}", "rootwait", f"rootfstype={said['rootfstype']}", f"loglevel={said['verbosity']}"]
    words += said.get("extraargs", "").split()
    if said["docker_optimizations"] == "on":
        words += ["cgroup_enable=memory", "swapaccount=1"]
    return " ".join(words)


def without_uboot_header(data: bytes) -> bytes:
    """An initrd as the kernel takes it: U-Boot's 64 bytes before it are left out. Source: U-Boot, include/image.h."""
    return data[_UBOOT_HEADER:] if data.startswith(_UBOOT_MAGIC) else data


def _processors(machine: QemuMachine) -> list[str]:
    if machine.machine == "raspi3b":
        return []  # its four Cortex-A53 and 1 GiB are fixed
    return ["-cpu", machine.cpu, "-smp", str(machine.cpus), "-m", f"{machine.memory // (1 << 20)}M"]


def _disk(machine: QemuMachine, overlay: Path) -> list[str]:
    # The overlay dies with the guest, so nothing on it needs to reach the host's disk.
    drive = f"file={_escaped(overlay)},format=qcow2,cache=unsafe"
    if machine.disk == "sd":
        return ["-drive", f"if=sd,{drive}"]
    return ["-drive", f"if=none,id=disk,{drive}", "-device", "virtio-blk-pci,drive=disk,bootindex=1"]


def _network(machine: QemuMachine) -> list[str]:
    if machine.network == "none":
        return ["-nic", "none"]
    # romfile= keeps the firmware from trying to start over the network.
    device = "virtio-net-pci,netdev=net,romfile=" if machine.network == "virtio" else "usb-net,netdev=net"
    return ["-netdev", "user,id=net", "-device", device]


def _firmware(files: GuestFiles) -> list[str]:
    assert files.firmware_code is not None and files.firmware_variables is not None
    code, variables = _escaped(files.firmware_code), _escaped(files.firmware_variables)
    return [
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}"),
        *("-drive", f"if=pflash,unit=1,format=raw,file={variables}"),
    ]


def _kernel(borrowed: BorrowedKernel, nonce: str) -> list[str]:
    cmdline = f"{borrowed.cmdline} systemd.set_credential={CREDENTIAL}:{nonce}" if nonce else borrowed.cmdline
    argv = ["-kernel", str(borrowed.kernel), "-append", cmdline]
    argv += ["-initrd", str(borrowed.initrd)] if borrowed.initrd else []
    return argv + (["-dtb", str(borrowed.dtb)] if borrowed.dtb else [])


def _credential(machine: QemuMachine, nonce: str) -> list[str]:
    if machine.start == "uefi":
        return ["-smbios", f"type=11,value=io.systemd.credential:{CREDENTIAL}={nonce}"]
    return ["-fw_cfg", f"name=opt/io.systemd.credentials/{CREDENTIAL},string={nonce}"]


def _escaped(path: Path) -> str:
    """A path inside one of QEMU's comma-separated options."""
    return str(path).replace(",", ",,")
