"""Raspberry Pi OS of trixie, from a stand-in laid out as the published image: what a build changes and leaves."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from building import KEY, Workshop
from families.raspberries import built_disk, workshop
from image.made_disks import Disk, MiB, tool
from standins import raspios
from standins.disk import Part
from standins.looking import changed, complaints, files, outside

ENV = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
Stand = Callable[..., Workshop]


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A workshop over a stand-in with other files; words for `raspios.trixie`."""

    def make(settings: str = "", release: str = "trixie", **words: object) -> Workshop:
        disk = raspios.trixie(tmp_path / "base.img", **words)  # type: ignore[arg-type]
        return workshop(tmp_path, disk, ENV, "raspios-cloudinit", release, settings)

    return make


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The stock image, built once, with a serial console; for tests that only look."""
    folder = tmp_path_factory.mktemp("pi")
    disk = raspios.trixie(folder / "base.img")
    shop = workshop(folder, disk, ENV, "raspios-cloudinit", "trixie", "  serial_console: true\n")
    shop.build("./mine.yaml")
    return shop


@pytest.fixture(scope="module")
def made(pi: Workshop) -> Disk:
    return built_disk(pi)


def on_root(disk: Disk, path: str) -> str:
    return disk.on_ext4(f"cat {path}")


def link(disk: Disk, path: str) -> str:
    return disk.on_ext4(f"stat {path}")


# -- the boot partition --------------------------------------------------------------------------------------


def test_the_stand_in_is_a_fat32_at_8_mib_and_an_ext4_behind_it(pi: Workshop, tmp_path: Path) -> None:
    assert pi.disk.offsets["boot"] == 8 * MiB
    assert b"FAT32   " in pi.disk.extract("boot", tmp_path / "fat").read_bytes()[:512]
    features = tool("dumpe2fs", "-h", pi.disk.extract("root", tmp_path / "ext4"))
    assert "huge_file" not in features
    assert "64bit" not in features


def test_the_seed_is_this_nodes_and_its_id_is_spelled_as_cloud_init_reads_it(made: Disk) -> None:
    assert made.on_fat("user-data").startswith(b"#cloud-config\n")
    meta = yaml.safe_load(made.on_fat("meta-data"))
    assert meta["instance-id"].startswith("mine-")
    assert "instance_id" not in meta
    assert meta["dsmode"] == "local"
    assert yaml.safe_load(made.on_fat("network-config"))["network"]["version"] == 2


def test_words_are_appended_to_the_kernels_line_and_none_is_touched(pi: Workshop, made: Disk) -> None:
    line = made.on_fat("cmdline.txt")
    stock = pi.disk.on_fat("cmdline.txt").rstrip(b"\n")
    assert line == stock + b" cgroup_enable=memory cgroup_memory=1\n"
    assert b" resize " in line
    assert f"root=PARTUUID={raspios.DISK_ID}-02 ".encode() in line


def test_ssh_is_turned_on_by_links_alone(made: Disk) -> None:
    assert "ssh" not in files(made, "boot")
    assert "system/ssh.service" in link(made, "/etc/systemd/system/sshd.service")
    assert "system/ssh.service" in link(made, "/etc/systemd/system/multi-user.target.wants/ssh.service")


def test_the_serial_port_gets_its_clock_and_keeps_its_console(made: Disk) -> None:
    assert made.on_fat("config.txt").endswith(b"[all]\nenable_uart=1\n")
    assert made.on_fat("cmdline.txt").count(b"console=serial0,115200") == 1


def test_without_a_serial_console_config_txt_stays_as_it_is(stand: Stand) -> None:
    shop = stand()
    shop.build("./mine.yaml")
    assert built_disk(shop).on_fat("config.txt") == shop.disk.on_fat("config.txt")


def test_nothing_else_on_the_boot_partition_changes(pi: Workshop, made: Disk) -> None:
    ours = {"user-data", "meta-data", "network-config", "cmdline.txt", "config.txt"}
    assert changed(files(pi.disk, "boot"), files(made, "boot")) == ours


# -- the root ------------------------------------------------------------------------------------------------


def test_the_wizard_can_not_start_and_the_screen_has_a_log_in(made: Disk) -> None:
    assert '"/dev/null"' in link(made, "/etc/systemd/system/userconfig.service")
    assert "getty@.service" in link(made, "/etc/systemd/system/getty.target.wants/getty@tty1.service")
    there = files(made, "root")
    assert "etc/systemd/system/multi-user.target.wants/userconfig.service" not in there
    assert "etc/ssh/sshd_config.d/rename_user.conf" not in there


def test_the_images_own_account_is_named_to_be_closed(made: Disk) -> None:
    assert on_root(made, "/etc/imagesmith/closed-accounts") == "pi\n"


def test_sudo_asks_for_a_password_where_nobody_said_otherwise(stand: Stand) -> None:
    old = {"etc/sudoers.d/010_pi-nopasswd": "pi ALL=(ALL) NOPASSWD: ALL\n"}
    shop = stand("  sudo_nopasswd: false\n", root=old)
    shop.build("./mine.yaml")
    disk = built_disk(shop)
    assert "etc/sudoers.d/010_pi-nopasswd" not in files(disk, "root")
    assert b"NOPASSWD" not in disk.on_fat("user-data")


def test_host_keys_are_left_to_the_image(made: Disk) -> None:
    # Both cloud-init and regenerate_ssh_host_keys.service making them would be a race.
    assert not {"ssh_deletekeys", "ssh_genkeytypes"} & yaml.safe_load(made.on_fat("user-data")).keys()
    assert on_root(made, "/etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg") == raspios.CLOUD_CFG


def test_swap_is_in_memory_and_rpi_swaps_own(made: Disk) -> None:
    assert on_root(made, "/etc/rpi/swap.conf.d/50-imagesmith.conf") == (
        "[Main]\nMechanism=zram\n\n[Zram]\nRamMultiplier=0.5\nMaxSizeMiB=32768\n"
    )
    assert "etc/systemd/zram-generator.conf" not in files(made, "root")


def test_the_first_boot_is_still_one(made: Disk) -> None:
    assert on_root(made, "/etc/machine-id") == "uninitialized\n"
    assert on_root(made, "/etc/fstab") == raspios.FSTAB


def test_nothing_else_on_the_root_changes(pi: Workshop, made: Disk) -> None:
    expected = (
        "etc/imagesmith", "usr/lib/imagesmith", "usr/lib/systemd/system/imagesmith-", "etc/rpi/swap.conf.d",
        "etc/systemd/system/multi-user.target.wants", "etc/systemd/system/getty.target.wants/getty@tty1.service",
        "etc/systemd/system/userconfig.service", "etc/ssh/sshd_config.d/rename_user.conf", "etc/locale.gen",
        "usr/lib/clock-epoch", "etc/ssh/sshd_config.d/10-imagesmith.conf", "etc/systemd/system/sshd.service",
        "etc/systemd/system/sysinit.target.wants/imagesmith-again.service",
    )  # fmt: skip
    touched = changed(files(pi.disk, "root"), files(made, "root"))
    assert {path for path in touched if not path.startswith(expected)} == set()


def test_the_table_and_the_gap_keep_every_byte(pi: Workshop, made: Disk) -> None:
    assert outside(made) == outside(pi.disk)


def test_both_file_systems_are_clean(made: Disk, tmp_path: Path) -> None:
    assert complaints(made, tmp_path) == []


# -- what people do with it ----------------------------------------------------------------------------------


def test_inspect_tells_it(pi: Workshop) -> None:
    told = pi.run("inspect", "out/mine/mine.img").out
    assert "Debian GNU/Linux 13 (trixie)" in told
    assert "'bootfs', the boot partition" in told
    assert "'rootfs', the root partition" in told


def test_on_a_dirty_card_it_is_found_whole(pi: Workshop, tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.write_bytes(b"\xff" * (pi.disk.path.stat().st_size + 4 * MiB))
    done = pi.run("flash", "out/mine/mine.img", card, "--to-file", "--yes")
    assert done.code == 0, done.err
    assert pi.run("verify", "out/mine/mine.img", card).code == 0
    flashed = Disk(card, pi.disk.offsets, pi.disk.sizes)
    assert complaints(flashed, tmp_path) == []
    assert files(flashed, "boot") == files(built_disk(pi), "boot")
    assert files(flashed, "root") == files(built_disk(pi), "root")


# -- another reality -----------------------------------------------------------------------------------------

STOCK = raspios.CMDLINE_TRIXIE.encode()
OTHER_ROOT = Part("other", "ext4", 8 * MiB, "83", "data", {"etc/hostname": "other\n"}, raspios.FEATURES)
INVENTORY = """\
schema: 1
name: home
nodes:
  - name: mine
    profile: mine
    password_file: admin.hash
    wifi: {ssid: my net, country: DE, key_file: wifi.key}
"""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (STOCK.replace(b"\n", b"\r\n"), "carriage returns"),
        (b"\xef\xbb\xbf" + STOCK, "byte order mark"),
        (STOCK + b"quiet\n", "has 2 lines"),
        (STOCK.replace(b" resize", b""), "neither resize nor init="),
        (STOCK.replace(b"PARTUUID=5e1a02c4-02", b"LABEL=rootfs"), "has root=LABEL=rootfs"),
    ],
)
def test_a_kernel_line_that_would_be_read_otherwise_is_refused(stand: Stand, line: bytes, said: str) -> None:
    stand(boot={"cmdline.txt": line}).refused(11, "/cmdline.txt", said)


def test_a_kernel_line_without_a_newline_gets_its_words(stand: Stand) -> None:
    shop = stand(boot={"cmdline.txt": STOCK.rstrip(b"\n")})
    shop.build("./mine.yaml")
    assert built_disk(shop).on_fat("cmdline.txt") == STOCK.rstrip(b"\n") + b" cgroup_enable=memory cgroup_memory=1"


def test_words_that_are_there_already_are_not_doubled(stand: Stand) -> None:
    shop = stand(boot={"cmdline.txt": STOCK.rstrip(b"\n") + b" cgroup_memory=1 cgroup_enable=memory\n"})
    shop.build("./mine.yaml")
    assert built_disk(shop).on_fat("cmdline.txt").count(b"cgroup_") == 2


def test_an_image_that_was_booted_is_refused(stand: Stand) -> None:
    stand(root={"etc/machine-id": "0123456789abcdef0123456789abcdef\n"}).refused(11, "it was booted before")


def test_a_config_that_ends_for_one_board_only_is_refused(stand: Stand) -> None:
    stand(boot={"config.txt": raspios.CONFIG + "\n[pi4]\n"}).refused(11, "ends in the section [pi4]")


def test_a_release_that_the_profile_was_not_made_for_is_refused(stand: Stand) -> None:
    forky = {"usr/lib/os-release": "ID=debian\nVERSION_CODENAME=forky\nPRETTY_NAME=Forky\n"}
    stand(root=forky).refused(11, "it is the release forky, tried were trixie")


def test_the_older_kind_is_told_by_its_name(tmp_path: Path) -> None:
    disk = raspios.bookworm(tmp_path / "base.img")
    shop = workshop(tmp_path, disk, ENV, "raspios-cloudinit", "trixie")
    shop.refused(11, "is of the family raspios-legacy", "no user-data on the boot partition")


def test_32_bit_is_told_by_its_name(stand: Stand, tmp_path: Path) -> None:
    shop = stand(root={"usr/lib/ld-linux-armhf.so.3": b"\x7fELF"})
    tool("debugfs", "-w", "-R", "rm /usr/lib/ld-linux-aarch64.so.1", f"{shop.base}?offset={shop.disk.offsets['root']}")
    shop.refused(11, "this is Raspberry Pi OS, 32 bit", "64-bit")


def test_preseed_is_told_by_its_name(stand: Stand) -> None:
    stand(boot={"rpi-preseed.toml": "config_version = 1\n"}).refused(11, "this is Raspberry Pi OS with rpi-preseed")


def test_another_label_does_not_matter_where_there_is_one_candidate(stand: Stand) -> None:
    stand(label="NO NAME").build("./mine.yaml")


def test_of_two_roots_the_one_with_the_right_label_is_taken(stand: Stand) -> None:
    shop = stand(more=[OTHER_ROOT])
    shop.build("./mine.yaml")
    made = Disk(shop.out / "mine/mine.img", shop.disk.offsets, shop.disk.sizes)
    assert (
        made.extract("other", shop.folder / "a").read_bytes()
        == shop.disk.extract("other", shop.folder / "b").read_bytes()
    )


def test_two_roots_without_the_right_label_are_refused(stand: Stand) -> None:
    stand(root_label="system", more=[OTHER_ROOT]).refused(11, "could each be the root partition")


def test_neither_passphrase_nor_hash_nor_key_is_on_fat(stand: Stand) -> None:
    shop = stand()
    secrets = {"admin.hash": "$6$saltsalt$" + "a" * 86, "wifi.key": "correct horse battery"}
    for name, text in secrets.items():
        (shop.folder / name).write_text(f"{text}\n")
        (shop.folder / name).chmod(0o600)
    (shop.folder / "profiles").mkdir()
    shutil.copyfile(shop.folder / "mine.yaml", shop.folder / "profiles/mine.yaml")
    shutil.copyfile(shop.base, shop.folder / "profiles/base.img")
    shop.inventory(INVENTORY)
    shop.build("mine", "--cluster", "cluster.yaml")
    made = built_disk(shop)
    key = hashlib.pbkdf2_hmac("sha1", b"correct horse battery", b"my net", 4096, 32).hex()
    fat, root = (made.extract(role, shop.folder / role).read_bytes() for role in ("boot", "root"))
    for secret in (*secrets.values(), key):
        assert secret.encode() not in fat
    # The test would find them: on ext4 they are.
    assert secrets["admin.hash"].encode() in root
    assert key.encode() in root
    assert secrets["wifi.key"].encode() not in root


def test_a_full_boot_partition_is_told_and_leaves_nothing(stand: Stand) -> None:
    shop = stand()
    filler = shop.folder / "filler"
    drive = f"{shop.base}@@{shop.disk.offsets['boot']}"
    free = _free(drive)
    with filler.open("wb") as stream:
        stream.write(os.urandom(1 * MiB) * (free // MiB))
        stream.write(os.urandom(free % MiB))
    tool("mcopy", "-i", drive, filler, "::filler")
    assert _free(drive) == 0
    shop.refused(11, "the FAT is full")


def _free(drive: str) -> int:
    last = tool("mdir", "-i", drive, "::").strip().splitlines()[-1]
    return int("".join(word for word in last.split() if word.isdigit()))


def test_a_root_with_a_feature_of_tomorrow_is_refused(stand: Stand) -> None:
    shop = stand()
    # The last of the 32 bits of s_feature_incompat, which no kernel has given a meaning yet.
    at = shop.disk.offsets["root"] + 1024 + 0x60
    before = shop.base.read_bytes()[at + 3]
    shop.disk.patch(at + 3, bytes([before | 0x80]))
    shop.refused(11, "unsupported feature")


def test_the_key_that_logs_in_is_in_the_seed(made: Disk) -> None:
    assert yaml.safe_load(made.on_fat("user-data"))["users"][0]["ssh_authorized_keys"] == [KEY]


def test_a_second_build_gives_the_same_bytes(pi: Workshop, tmp_path: Path) -> None:
    pi.build("./mine.yaml", "--output", tmp_path)
    first, second = (hashlib.sha256((folder / "mine/mine.img").read_bytes()).digest() for folder in (pi.out, tmp_path))
    assert first == second
