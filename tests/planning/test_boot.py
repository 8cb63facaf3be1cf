"""The guest's argv, disk size, deadlines, and what a Pi's boot files say."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.model import QemuMachine
from imagesmith.planning.boot import (
    BorrowedKernel,
    GuestFiles,
    PiBoot,
    adjust_cmdline,
    armbian_cmdline,
    can_power_off,
    deadlines,
    guest_argv,
    overlay_size,
    parse_config_txt,
    without_uboot_header,
)
from imagesmith.units import GiB, MiB

Q35 = QemuMachine("q35", "max", 2, GiB, "uefi", "virtio", "virtio", "ttyS0")
VIRT = QemuMachine("virt", "cortex-a72", 2, GiB, "kernel", "virtio", "virtio", "ttyAMA0")
PI3 = QemuMachine("raspi3b", "cortex-a53", 4, GiB, "kernel", "sd", "usb", "ttyAMA0", dtb="bcm2837-rpi-3-b.dtb")
UEFI = GuestFiles(Path("/t/disk"), Path("/fw/code"), Path("/t/variables"))
KERNEL = GuestFiles(
    Path("/t/disk"), kernel=BorrowedKernel(Path("/t/kernel"), Path("/t/initrd"), Path("/t/dtb"), "root=LABEL=r quiet")
)
NONCE = "00112233445566778899aabbccddeeff"


def q35() -> tuple[str, ...]:
    return guest_argv(Q35, "amd64", UEFI, NONCE, 7)


def value(argv: tuple[str, ...], option: str) -> str:
    return argv[argv.index(option) + 1]


def test_a_uefi_guest_starts_what_the_image_itself_loads() -> None:
    assert not {"-kernel", "-initrd", "-append", "-dtb"} & set(q35())


def test_firmware_code_is_read_only_and_its_variables_are_a_copy() -> None:
    drives = [word for word in q35() if word.startswith("if=pflash")]
    assert drives == [
        "if=pflash,unit=0,format=raw,readonly=on,file=/fw/code",
        "if=pflash,unit=1,format=raw,file=/t/variables",
    ]


def test_an_amd64_guest_is_emulated_never_accelerated() -> None:
    assert q35()[0] == "qemu-system-x86_64"
    assert value(q35(), "-accel").startswith("tcg")


def test_uefi_hands_over_the_nonce_by_smbios() -> None:
    assert value(q35(), "-smbios") == f"type=11,value=io.systemd.credential:imagesmith.nonce={NONCE}"


def test_virt_hands_over_the_nonce_by_fw_cfg_and_leaves_the_command_line_alone() -> None:
    argv = guest_argv(VIRT, "arm64", KERNEL, NONCE, 7)
    assert value(argv, "-fw_cfg") == f"name=opt/io.systemd.credentials/imagesmith.nonce,string={NONCE}"
    assert value(argv, "-append") == "root=LABEL=r quiet"


def test_raspi3b_hands_over_the_nonce_by_the_command_line() -> None:
    argv = guest_argv(PI3, "arm64", KERNEL, NONCE, 7)
    assert value(argv, "-append") == f"root=LABEL=r quiet systemd.set_credential=imagesmith.nonce:{NONCE}"
    assert "-fw_cfg" not in argv
    assert "-smbios" not in argv


def test_raspi3b_gets_the_images_kernel_initrd_and_device_tree_and_an_sd_card() -> None:
    argv = guest_argv(PI3, "arm64", KERNEL, NONCE, 7)
    assert (value(argv, "-kernel"), value(argv, "-initrd"), value(argv, "-dtb")) == (
        "/t/kernel",
        "/t/initrd",
        "/t/dtb",
    )
    assert value(argv, "-drive") == "if=sd,file=/t/disk,format=qcow2,cache=unsafe"


def test_raspi3b_keeps_its_fixed_processors_and_memory() -> None:
    assert not {"-cpu", "-smp", "-m"} & set(guest_argv(PI3, "arm64", KERNEL, NONCE, 7))


def test_memory_is_given_in_mebibytes() -> None:
    assert value(q35(), "-m") == "1024M"


@pytest.mark.parametrize("machine", [Q35, VIRT, PI3])
def test_no_guest_is_reachable_from_outside_or_has_a_shared_network(machine: QemuMachine) -> None:
    argv = guest_argv(machine, "arm64", UEFI if machine.start == "uefi" else KERNEL, NONCE, 7)
    assert [argv[i + 1] for i, word in enumerate(argv) if word == "-netdev"] == ["user,id=net"]


def test_a_comma_in_a_path_does_not_become_an_option() -> None:
    argv = guest_argv(VIRT, "arm64", GuestFiles(Path("/t/a,snapshot=on"), kernel=KERNEL.kernel), NONCE, 7)
    assert "file=/t/a,,snapshot=on," in value(argv, "-drive")


def test_only_machines_with_a_power_button_are_powered_off() -> None:
    assert [can_power_off(machine) for machine in (Q35, VIRT, PI3)] == [True, True, False]


@given(st.integers(min_value=1, max_value=1 << 40))
def test_the_overlay_is_a_power_of_two_and_a_gibibyte_larger(size: int) -> None:
    disk = overlay_size(size)
    assert disk.bit_count() == 1
    assert size + GiB <= disk < 2 * (size + GiB)


def test_an_overlay_that_is_just_large_enough_is_not_doubled() -> None:
    assert overlay_size(3 * GiB) == 4 * GiB
    assert overlay_size(3 * GiB + 1) == 8 * GiB


def test_deadlines_follow_each_other_and_end_with_the_whole_time() -> None:
    limits = deadlines(600)
    assert limits.kernel < limits.userspace < limits.report == 600


def test_the_serial_console_comes_last_and_it_is_said() -> None:
    words, told = adjust_cmdline("console=tty0 root=LABEL=root rw\n", VIRT)
    assert words == "console=tty0 root=LABEL=root rw console=ttyAMA0,115200"
    assert told == ("console=ttyAMA0,115200 was added, since that is the machine's serial line",)


def test_a_console_that_is_right_already_is_left_alone() -> None:
    line = "console=tty0 console=ttyAMA0,115200 root=LABEL=root"
    assert adjust_cmdline(line, VIRT) == (line, ())


def test_a_root_on_the_sd_card_becomes_the_virtio_disks() -> None:
    words, told = adjust_cmdline("root=/dev/mmcblk0p2 console=ttyAMA0", VIRT)
    assert words.startswith("root=/dev/vda2 ")
    assert len(told) == 1


@pytest.mark.parametrize("root", ["root=PARTUUID=12345678-02", "root=LABEL=root", "root=/dev/mmcblk0p2"])
def test_raspi3b_keeps_the_root_that_the_image_names(root: str) -> None:
    assert adjust_cmdline(f"{root} console=ttyAMA0", PI3)[0].split()[0] == root


def test_raspi3b_loses_the_watchdog_that_bites_at_once_and_it_is_said() -> None:
    words, told = adjust_cmdline("root=LABEL=root module_blacklist=a,b console=ttyAMA0", PI3)
    assert words.split()[-1] == "module_blacklist=a,b,bcm2835_wdt"
    assert "watchdog" in told[-1]


def test_raspi3b_spares_a_pis_own_kernel_what_qemus_usb_lacks() -> None:
    words, told = adjust_cmdline("root=LABEL=root console=ttyAMA0", PI3)
    assert {"dwc_otg.lpm_enable=0", "dwc_otg.fiq_fsm_enable=0"} <= set(words.split())
    assert any("USB" in one for one in told)


def test_virt_keeps_its_watchdog() -> None:
    assert "blacklist" not in adjust_cmdline("root=LABEL=root", VIRT)[0]


CONFIG = """\
# made by raspi-firmware
arm_64bit=1
kernel=vmlinuz-6.12   # upstream
initramfs initrd.img-6.12 followkernel
[pi4]
kernel=vmlinuz-pi4
[all]
enable_uart=1
"""


def test_config_txt_names_kernel_and_initramfs() -> None:
    assert parse_config_txt(CONFIG) == PiBoot("vmlinuz-6.12", "initrd.img-6.12", "cmdline.txt")


def test_config_txt_sections_hold_only_for_their_model() -> None:
    assert parse_config_txt(CONFIG, ("all", "pi4")).kernel == "vmlinuz-pi4"
    assert parse_config_txt(CONFIG, ("all", "pi3")).kernel == "vmlinuz-6.12"


def test_config_txt_prefix_stands_before_every_name() -> None:
    said = parse_config_txt("os_prefix=current/\nkernel=vmlinuz\ninitramfs initrd.img\n")
    assert said == PiBoot("current/vmlinuz", "current/initrd.img", "current/cmdline.txt")


@pytest.mark.parametrize("text", ["", "initramfs\n", "kernel=\n[\n]\n", "[pi5]\nkernel=x\n", "\x00\xff=\n"])
def test_config_txt_without_a_kernel_means_a_64_bit_pis(text: str) -> None:
    assert parse_config_txt(text) == PiBoot("kernel8.img", "", "cmdline.txt")


def test_config_txt_may_leave_the_choice_of_the_initramfs_to_the_firmware() -> None:
    assert parse_config_txt("auto_initramfs=1\n").initramfs == "initramfs8"
    assert parse_config_txt("auto_initramfs=1\nos_prefix=new/\n").initramfs == "new/initramfs8"
    assert parse_config_txt("auto_initramfs=0\n").initramfs == ""
    assert parse_config_txt("auto_initramfs=1\ninitramfs mine followkernel\n").initramfs == "mine"


def test_armbians_words_are_those_of_its_boot_script() -> None:
    text = "verbosity=7\nconsole=serial\nrootdev=UUID=ab-cd\nrootfstype=ext4\nextraargs=one two=3\n"
    expected = "root=UUID=ab-cd rootwait rootfstype=ext4 loglevel=7 one two=3 cgroup_enable=memory swapaccount=1"
    assert armbian_cmdline(text) == expected


def test_armbians_words_leave_out_what_was_switched_off() -> None:
    assert "cgroup" not in armbian_cmdline("docker_optimizations=off\n")


def test_an_initrd_is_taken_out_of_u_boots_wrapping_only_where_it_has_one() -> None:
    assert without_uboot_header(bytes.fromhex("27051956") + bytes(60) + b"cpio") == b"cpio"
    assert without_uboot_header(b"\x1f\x8b" + bytes(100)) == b"\x1f\x8b" + bytes(100)


def test_sizes_are_bytes() -> None:
    assert value(guest_argv(VIRT, "arm64", KERNEL, NONCE, 3), "-m") == f"{GiB // MiB}M"
