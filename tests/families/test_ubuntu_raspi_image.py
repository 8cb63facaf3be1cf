"""Ubuntu for Pis, from stand-ins of 24.04 and 26.04: the seed on FAT, the user ubuntu shut out, the rest untouched."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from building import KEY, Workshop
from families.stocks import beyond, built_disk, workshop
from image.made_disks import Disk, MiB
from standins.disk import Files
from standins.looking import changed, complaints, files, outside
from standins.ubuntu_cloud import NAMES
from standins.ubuntu_raspi import CONFIG, ubuntu_raspi

FACTS = {"24.04": "", "26.04": "    facts: {cmdline: /current/cmdline.txt}\n"}
LINES = {"24.04": "cmdline.txt", "26.04": "current/cmdline.txt"}
SEED = {"user-data", "meta-data", "network-config"}
SERIAL = "  serial_console: true\n"


@pytest.fixture(scope="module", params=FACTS)
def pi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The stock image, built once; for tests that only look."""
    folder = tmp_path_factory.mktemp("pi")
    disk = ubuntu_raspi(folder / "raw.img", request.param)
    base = f"    releases: [{NAMES[request.param]}]\n{FACTS[request.param]}"
    shop = workshop(folder, disk, "ubuntu-raspi", "rpi4", base=base)
    shop.build("./mine.yaml")
    return shop


@pytest.fixture(scope="module")
def made(pi: Workshop) -> Disk:
    return built_disk(pi)


def small(folder: Path, version: str = "24.04", *, base: str = "", settings: str = "", **words: Files) -> Workshop:
    disk = ubuntu_raspi(folder / "raw.img", version, **words)
    return workshop(folder, disk, "ubuntu-raspi", "rpi4", base=base + FACTS[version], settings=settings)


# -- what changes ----------------------------------------------------------------------------------------------


def test_the_seed_on_fat_is_this_nodes_and_no_word_of_the_stock_one_is_left(made: Disk) -> None:
    asked = yaml.safe_load(made.on_fat("user-data"))
    assert made.on_fat("user-data").startswith(b"#cloud-config\n")
    assert "chpasswd" not in asked
    assert asked["ssh_pwauth"] is False
    assert asked["hostname"] == "mine"
    meta = yaml.safe_load(made.on_fat("meta-data"))
    assert meta["instance-id"].startswith("mine-")
    assert "instance_id" not in meta


def test_only_the_user_that_was_asked_for_is_made(made: Disk) -> None:
    users = yaml.safe_load(made.on_fat("user-data"))["users"]
    assert [(user["name"], user["lock_passwd"], user["ssh_authorized_keys"]) for user in users] == [
        ("admin", True, [KEY])
    ]


def test_an_account_of_ubuntu_would_be_closed_by_the_first_boot(made: Disk) -> None:
    assert made.on_ext4("cat /etc/imagesmith/closed-accounts") == "ubuntu\n"


def test_nothing_else_on_the_boot_partition_changes(pi: Workshop, made: Disk) -> None:
    # The kernel has its memory cgroup without being told, so not even its line.
    assert changed(files(pi.disk, "boot"), files(made, "boot")) == SEED


def test_the_seed_on_the_root_is_the_same_one(made: Disk) -> None:
    for name in SEED:
        assert made.on_ext4(f"cat /var/lib/cloud/seed/nocloud/{name}").encode() == made.on_fat(name)


def test_nothing_else_on_the_root_changes(pi: Workshop, made: Disk) -> None:
    assert beyond(changed(files(pi.disk, "root"), files(made, "root"))) == set()


def test_the_table_and_the_gap_keep_every_byte(pi: Workshop, made: Disk) -> None:
    assert outside(made) == outside(pi.disk)


def test_both_file_systems_are_clean(made: Disk, tmp_path: Path) -> None:
    assert complaints(made, tmp_path) == []


def test_no_password_lies_on_fat(made: Disk) -> None:
    for name in SEED:
        text = made.on_fat(name).lower()
        assert not any(word in text for word in (b"hashed", b"password:", b"passwd: $", b"psk", b"$6$", b"$y$"))


def test_inspect_tells_boot_and_root(pi: Workshop) -> None:
    report = pi.run("inspect", "out/mine/mine.img", "--json").result
    found = [(volume["role"], volume["label"]) for volume in report["volumes"]]
    assert found == [("boot", "system-boot"), ("root", "writable")]


def test_on_a_dirty_card_it_is_found_whole(pi: Workshop, tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.write_bytes(b"\xff" * (pi.disk.path.stat().st_size + 4 * MiB))
    done = pi.run("flash", "out/mine/mine.img", card, "--to-file", "--yes")
    assert done.code == 0, done.err
    assert pi.run("verify", "out/mine/mine.img", card).code == 0
    flashed = Disk(card, pi.disk.offsets, pi.disk.sizes)
    assert complaints(flashed, tmp_path) == []
    for role in ("boot", "root"):
        assert files(flashed, role) == files(built_disk(pi), role)


# -- settings and facts ----------------------------------------------------------------------------------------


def test_the_stock_image_has_its_serial_console_already(tmp_path: Path) -> None:
    shop = small(tmp_path, settings=SERIAL)
    shop.build("./mine.yaml")
    made = built_disk(shop)
    assert made.on_fat("config.txt") == shop.disk.on_fat("config.txt")
    assert made.on_fat("cmdline.txt") == shop.disk.on_fat("cmdline.txt")


@pytest.mark.parametrize("version", FACTS)
def test_a_serial_console_that_is_missing_is_added_to_the_line_that_counts(tmp_path: Path, version: str) -> None:
    quiet = "console=tty1 root=LABEL=writable rootwait fixrtc\n"
    shop = small(tmp_path, version, settings=SERIAL, boot={LINES[version]: quiet})
    shop.build("./mine.yaml")
    assert built_disk(shop).on_fat(LINES[version]) == quiet.strip().encode() + b" console=serial0,115200\n"


def test_the_memory_cgroup_is_asked_for_where_the_base_says_that_it_is_off(tmp_path: Path) -> None:
    disk = ubuntu_raspi(tmp_path / "raw.img")
    shop = workshop(tmp_path, disk, "ubuntu-raspi", "rpi4", base="    facts: {memory_cgroup: off}\n")
    shop.build("./mine.yaml")
    stock = disk.on_fat("cmdline.txt").rstrip(b"\n")
    assert built_disk(shop).on_fat("cmdline.txt") == stock + b" cgroup_enable=memory cgroup_memory=1\n"


def test_26_04_on_a_pi_3_is_refused_before_anything_with_the_reason_and_what_to_take(tmp_path: Path) -> None:
    shop = small(tmp_path)
    for command in ("plan", "build"):
        done = shop.run(command, "rpi3-worker", "--base", "ubuntu-resolute")
        assert done.code == 2
        assert "ubuntu-resolute does not work on rpi3: with 1 GiB of memory its initramfs is cut short" in done.err
        assert "2155094" in done.err
        assert "ubuntu" in done.err.partition("what to do")[2]


def test_on_a_pi_4_it_says_what_the_boot_loader_must_know(tmp_path: Path) -> None:
    told = small(tmp_path).run("plan", "rpi4-worker", "--base", "ubuntu-resolute").out
    assert "2022-11-25" in told


# -- another reality -------------------------------------------------------------------------------------------


def test_a_kernels_line_elsewhere_than_the_base_says_is_refused(tmp_path: Path) -> None:
    disk = ubuntu_raspi(tmp_path / "raw.img", "26.04")
    shop = workshop(tmp_path, disk, "ubuntu-raspi", "rpi4")
    shop.refused(11, "config.txt leads to /current/cmdline.txt", "the base says /cmdline.txt")


def test_a_base_that_expects_two_folders_where_there_is_one_is_refused(tmp_path: Path) -> None:
    disk = ubuntu_raspi(tmp_path / "raw.img", "24.04")
    shop = workshop(tmp_path, disk, "ubuntu-raspi", "rpi4", base=FACTS["26.04"])
    shop.refused(11, "config.txt leads to /cmdline.txt", "the base says /current/cmdline.txt")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("console=tty1 root=LABEL=writable\r\n", "carriage returns"),
        ("\ufeffconsole=tty1 root=LABEL=writable\n", "byte order mark"),
        ("console=tty1\nroot=LABEL=writable\n", "has 2 lines"),
    ],
)
def test_a_spoiled_kernels_line_is_refused(tmp_path: Path, line: str, said: str) -> None:
    small(tmp_path, boot={"cmdline.txt": line}).refused(11, "/cmdline.txt", said)


def test_a_config_txt_that_ends_for_one_board_only_is_refused(tmp_path: Path) -> None:
    small(tmp_path, boot={"config.txt": CONFIG + "[pi4]\narm_boost=1\n"}).refused(11, "ends in the section [pi4]")


def test_raspberry_pi_os_in_its_place_is_refused(tmp_path: Path) -> None:
    release = "ID=debian\nVERSION_CODENAME=trixie\n"
    root: Files = {"usr/lib/os-release": release, "etc/rpi-issue": "x"}
    small(tmp_path, root=root, boot={"cmdline.txt": "root=PARTUUID=1-02 resize\n"}).refused(11, "raspios-cloudinit")
