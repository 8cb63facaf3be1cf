"""Debian's cloud images, from a stand-in: `generic` becomes a node's, its siblings are told by name and refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from building import Workshop
from families.stocks import beyond, built_disk, partition, table, workshop
from image.made_disks import Disk, MiB
from standins.debian_generic import debian_generic
from standins.looking import changed, complaints, files, outside

SEED = "var/lib/cloud/seed/nocloud"


@pytest.fixture(scope="module")
def pc(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Built once, for tests that only look."""
    folder = tmp_path_factory.mktemp("pc")
    disk = debian_generic(folder / "raw.img")
    shop = workshop(folder, disk, "debian-generic", "x86-itx", base="    releases: [trixie]\n",
                    settings="  serial_console: true\n")  # fmt: skip
    shop.build("./mine.yaml")
    return shop


@pytest.fixture(scope="module")
def made(pc: Workshop) -> Disk:
    return built_disk(pc)


def test_the_root_is_p1_behind_p14_and_p15(pc: Workshop) -> None:
    rows = [line for line in table(pc.disk) if " : " in line]
    by_start = sorted((int(row.split("start=")[1].split(",")[0]), int(row.split(" :")[0])) for row in rows)
    assert [number for _, number in by_start] == [14, 15, 1]


def test_the_seed_lies_on_the_root_closed_to_others(made: Disk) -> None:
    there = files(made, "root")
    assert {there[f"{SEED}/{name}"][2] for name in ("user-data", "meta-data", "network-config")} == {"0600"}


def test_no_identity_comes_with_the_image(made: Disk) -> None:
    assert made.on_ext4("cat /etc/machine-id") == ""


def test_the_keyboard_is_a_file_since_cloud_init_would_fail_without_console_setup(made: Disk) -> None:
    assert made.on_ext4("cat /etc/default/keyboard") == "XKBMODEL=pc105\nXKBLAYOUT=us\n"
    assert "keyboard" not in made.on_ext4(f"cat /{SEED}/user-data")


def test_nothing_else_on_the_root_changes(pc: Workshop, made: Disk) -> None:
    serial = (
        "etc/default/keyboard",
        "etc/default/grub.d/99-imagesmith.cfg",
        "etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service",
    )
    assert beyond(changed(files(pc.disk, "root"), files(made, "root")), *serial) == set()
    assert set(serial) <= changed(files(pc.disk, "root"), files(made, "root"))


@pytest.mark.parametrize("role", ["bios", "esp"])
def test_every_byte_of_the_other_partitions_stays(pc: Workshop, made: Disk, role: str) -> None:
    assert partition(made, role) == partition(pc.disk, role)


def test_the_table_the_gaps_and_the_backup_keep_every_byte(pc: Workshop, made: Disk) -> None:
    assert outside(made) == outside(pc.disk)


def test_the_file_systems_are_clean(made: Disk, tmp_path: Path) -> None:
    assert complaints(made, tmp_path) == []


def test_ssh_is_promised_as_a_service(pc: Workshop) -> None:
    told = pc.run("plan", "./mine.yaml").out
    assert "unit.ssh.service is active" in told
    assert "ssh.socket" not in told


def test_on_a_larger_dirty_disk_it_is_found_whole(pc: Workshop, tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.write_bytes(b"\xff" * (pc.disk.path.stat().st_size + 16 * MiB))
    done = pc.run("flash", "out/mine/mine.img", card, "--to-file", "--yes")
    assert done.code == 0, done.err
    flashed = Disk(card, pc.disk.offsets, pc.disk.sizes)
    assert complaints(flashed, tmp_path) == []
    assert files(flashed, "root") == files(built_disk(pc), "root")
    assert files(flashed, "esp") == files(pc.disk, "esp")


def test_the_kernel_for_virtual_machines_is_refused_and_the_right_image_is_named(tmp_path: Path) -> None:
    disk = debian_generic(tmp_path / "raw.img", "genericcloud")
    said = ("genericcloud", "lacks drivers of real hardware", "`generic`")
    workshop(tmp_path, disk, "debian-generic", "x86-itx").refused(11, *said)


def test_for_a_virtual_machine_it_is_a_fact_of_the_base(tmp_path: Path) -> None:
    disk = debian_generic(tmp_path / "raw.img", "genericcloud")
    workshop(tmp_path, disk, "debian-generic", "qemu-x86", base="    facts: {kernel: cloud}\n").build("./mine.yaml")


def test_the_image_without_cloud_init_is_refused_by_name(tmp_path: Path) -> None:
    disk = debian_generic(tmp_path / "raw.img", "nocloud")
    said = ("nocloud", "root logs in without a password", "`generic`")
    workshop(tmp_path, disk, "debian-generic", "qemu-x86").refused(11, *said)


def test_an_image_that_inspect_knows_is_told_by_family_in_the_error(tmp_path: Path) -> None:
    disk = debian_generic(tmp_path / "raw.img")
    workshop(tmp_path, disk, "ubuntu-cloud", "qemu-x86").refused(11, "family debian-generic", "says ubuntu-cloud")
