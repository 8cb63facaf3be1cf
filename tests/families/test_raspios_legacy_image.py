"""Raspberry Pi OS of bookworm, from a stand-in laid out as the published image: what a build changes and leaves."""

from __future__ import annotations

import configparser
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from building import KEY, Workshop
from families.raspberries import built_disk, workshop
from image.made_disks import Disk, MiB
from standins import raspios
from standins.disk import Files
from standins.looking import changed, complaints, files, outside

ENV = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
STOCK = raspios.CMDLINE_BOOKWORM.encode()
SETTINGS = "  locale: de_DE.UTF-8\n  timezone: Europe/Berlin\n  keyboard: de\n"
Stand = Callable[..., Workshop]


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    def make(settings: str = "", **words: Files | str) -> Workshop:
        disk = raspios.bookworm(tmp_path / "base.img", **words)  # type: ignore[arg-type]
        return workshop(tmp_path, disk, ENV, "raspios-legacy", "bookworm", settings)

    return make


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The stock image, built once; for tests that only look."""
    folder = tmp_path_factory.mktemp("pi")
    disk = raspios.bookworm(folder / "base.img")
    shop = workshop(folder, disk, ENV, "raspios-legacy", "bookworm", SETTINGS)
    shop.build("./mine.yaml", "--set", "address=192.0.2.7/24", "--set", "gateway=192.0.2.1")
    return shop


@pytest.fixture(scope="module")
def made(pi: Workshop) -> Disk:
    return built_disk(pi)


def on_root(disk: Disk, path: str) -> str:
    return disk.on_ext4(f"cat {path}")


def stat(disk: Disk, path: str) -> str:
    return disk.on_ext4(f"stat {path}")


def test_the_images_own_first_start_stays_on_the_kernels_line(made: Disk) -> None:
    line = made.on_fat("cmdline.txt")
    assert line == STOCK.rstrip(b"\n") + b" cgroup_enable=memory cgroup_memory=1\n"
    assert b" init=/usr/lib/raspberrypi-sys-mods/firstboot " in line


def test_what_that_start_takes_out_of_the_line_leaves_ours(made: Disk, tmp_path: Path) -> None:
    # As its sed does: the word with the blank before it, and "quiet".
    line = made.on_fat("cmdline.txt").decode()
    left = line.replace(" init=/usr/lib/raspberrypi-sys-mods/firstboot", "").replace(" quiet", "")
    assert left.endswith(" rootwait cgroup_enable=memory cgroup_memory=1\n")


def test_nothing_is_written_for_a_cloud_init_that_is_not_there(pi: Workshop, made: Disk) -> None:
    assert changed(files(pi.disk, "boot"), files(made, "boot")) == {"cmdline.txt"}


def test_ssh_is_on_and_takes_keys_only(made: Disk) -> None:
    assert "ssh.service" in stat(made, "/etc/systemd/system/multi-user.target.wants/ssh.service")
    assert "PasswordAuthentication no" in on_root(made, "/etc/ssh/sshd_config.d/10-imagesmith.conf")
    assert on_root(made, "/etc/imagesmith/authorized_keys") == f"{KEY}\n"


def test_it_is_named_and_speaks_as_it_was_told(made: Disk) -> None:
    assert on_root(made, "/etc/hostname") == "mine\n"
    assert "127.0.1.1 mine\n" in on_root(made, "/etc/hosts")
    assert on_root(made, "/etc/default/locale") == "LANG=de_DE.UTF-8\n"
    assert on_root(made, "/etc/locale.gen").endswith("de_DE.UTF-8 UTF-8\n")
    assert on_root(made, "/etc/default/keyboard") == "XKBMODEL=pc105\nXKBLAYOUT=de\n"
    assert on_root(made, "/etc/timezone") == "Europe/Berlin\n"
    assert "/usr/share/zoneinfo/Europe/Berlin" in stat(made, "/etc/localtime")


def test_its_address_is_in_a_keyfile_that_root_alone_reads(made: Disk) -> None:
    path = "/etc/NetworkManager/system-connections/imagesmith-wired.nmconnection"
    assert "Mode:  0600" in stat(made, path)
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(on_root(made, path))
    assert parser["ipv4"]["address1"] == "192.0.2.7/24,192.0.2.1"


def test_the_wizard_can_not_start_and_the_account_opens_nothing(made: Disk) -> None:
    assert '"/dev/null"' in stat(made, "/etc/systemd/system/userconfig.service")
    assert on_root(made, "/etc/imagesmith/closed-accounts") == "pi\n"
    there = files(made, "root")
    assert "etc/sudoers.d/010_pi-nopasswd" not in there
    assert "etc/systemd/system/multi-user.target.wants/userconfig.service" not in there


def test_no_swap_wears_the_card(made: Disk) -> None:
    assert '"/dev/null"' in stat(made, "/etc/systemd/system/dphys-swapfile.service")
    assert "etc/systemd/zram-generator.conf" not in files(made, "root")


def test_swap_in_memory_is_not_promised_where_nothing_makes_it(pi: Workshop) -> None:
    told = pi.run("plan", "./mine.yaml").out
    assert "zram" not in told
    assert "timezone is Europe/Berlin" in told


def test_host_keys_are_left_to_the_images_first_start(pi: Workshop, made: Disk) -> None:
    unit = "etc/systemd/system/multi-user.target.wants/regenerate_ssh_host_keys.service"
    assert files(made, "root")[unit] == files(pi.disk, "root")[unit]
    assert on_root(made, "/etc/machine-id") == "uninitialized\n"


def test_nothing_else_on_the_root_changes(pi: Workshop, made: Disk) -> None:
    expected = (
        "etc/imagesmith", "usr/lib/imagesmith", "usr/lib/systemd/system/imagesmith-", "etc/systemd/system/",
        "etc/ssh/sshd_config.d/", "etc/sudoers.d/010_pi-nopasswd", "usr/lib/clock-epoch", "etc/hostname", "etc/hosts",
        "etc/locale.gen", "etc/localtime", "etc/timezone", "etc/default/locale", "etc/locale.conf",
        "etc/default/keyboard",
        "etc/NetworkManager/system-connections/imagesmith-wired.nmconnection",
    )  # fmt: skip
    touched = changed(files(pi.disk, "root"), files(made, "root"))
    assert {path for path in touched if not path.startswith(expected)} == set()


def test_the_table_and_the_gap_keep_every_byte(pi: Workshop, made: Disk) -> None:
    assert outside(made) == outside(pi.disk)


def test_both_file_systems_are_clean(made: Disk, tmp_path: Path) -> None:
    assert complaints(made, tmp_path) == []


def test_on_a_dirty_card_it_is_found_whole(pi: Workshop, tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.write_bytes(b"\xff" * (pi.disk.path.stat().st_size + 4 * MiB))
    done = pi.run("flash", "out/mine/mine.img", card, "--to-file", "--yes")
    assert done.code == 0, done.err
    flashed = Disk(card, pi.disk.offsets, pi.disk.sizes)
    assert complaints(flashed, tmp_path) == []
    assert files(flashed, "root") == files(built_disk(pi), "root")


def test_the_newer_kind_is_told_by_its_name(tmp_path: Path) -> None:
    disk = raspios.trixie(tmp_path / "base.img")
    shop = workshop(tmp_path, disk, ENV, "raspios-legacy", "bookworm")
    shop.refused(11, "is of the family raspios-cloudinit", "user-data on the boot partition")


def test_the_first_trixie_which_had_no_cloud_init_is_told_by_its_release(stand: Stand) -> None:
    early = {"usr/lib/os-release": "ID=debian\nVERSION_CODENAME=trixie\nPRETTY_NAME=Debian\n"}
    stand(root=early).refused(11, "it is the release trixie, tried were bookworm")


def test_a_first_start_that_is_over_is_told(stand: Stand) -> None:
    used = STOCK.replace(b" init=/usr/lib/raspberrypi-sys-mods/firstboot", b"")
    stand(boot={"cmdline.txt": used}).refused(11, "neither resize nor init=", "so its first boot was over")
