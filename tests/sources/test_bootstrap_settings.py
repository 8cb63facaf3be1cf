"""The files that are laid over Debian's own."""

from bootstrapping import PC, RASPBERRY

from imagesmith.sources.bootstrap import settings
from imagesmith.sources.bootstrap.recipe import Identity, Recipe

STATE = Identity("d" * 64)
PC_FILES = settings.files(Recipe.of(PC, "amd64"), STATE)
PI_FILES = settings.files(Recipe.of(RASPBERRY, "arm64"), STATE)


def test_file_systems_are_named_by_the_ids_that_they_get() -> None:
    lines = [line.split() for line in PC_FILES["/etc/fstab"].splitlines() if not line.startswith("#")]
    assert [line[:3] for line in lines] == [
        [f"UUID={STATE.uuid('root')}", "/", "ext4"],
        [f"UUID={STATE.fat_uuid}", "/boot/efi", "vfat"],
    ]


def test_root_spares_the_card_and_the_boot_partition_may_be_away() -> None:
    root, boot = (line.split()[3].split(",") for line in PC_FILES["/etc/fstab"].splitlines()[1:])
    assert "noatime" in root
    assert {"nofail", "umask=0077"} <= set(boot)


def test_a_pc_starts_by_its_own_command_line() -> None:
    words = PC_FILES["/etc/kernel/cmdline"].split()
    assert words[0] == f"root=UUID={STATE.uuid('root')}"
    assert words[-1] == "console=ttyS0"
    assert PC_FILES["/etc/kernel/entry-token"] == "debian\n"


def test_a_pis_words_are_where_its_hook_looks_for_them() -> None:
    assert PI_FILES["/etc/default/raspi-extra-cmdline"] == "quiet splash\n"
    added = settings.appended(Recipe.of(RASPBERRY, "arm64"), STATE)["/etc/default/raspi-firmware"]
    assert f'ROOTPART="UUID={STATE.uuid("root")}"' in added.splitlines()


def test_the_initrd_checks_the_root() -> None:
    assert "FSTYPE=ext4" in PI_FILES["/etc/initramfs-tools/conf.d/imagesmith"].splitlines()


def test_no_name_of_this_machine_is_in_them() -> None:
    assert PC_FILES["/etc/hostname"] == "debian\n"
    assert "127.0.1.1 debian" in PC_FILES["/etc/hosts"]
