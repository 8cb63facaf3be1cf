"""Ubuntu's cloud images, from stand-ins of 24.04 and 26.04: found by content, changed on the root alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from building import KEY, Workshop
from families.stocks import beyond, built_disk, partition, table, workshop
from image.made_disks import Disk, MiB, tool
from standins.looking import changed, complaints, files, outside
from standins.ubuntu_cloud import NAMES, as_published, ubuntu_cloud

SEED = "/var/lib/cloud/seed/nocloud"
VERSIONS = tuple(NAMES)


@pytest.fixture(scope="module", params=VERSIONS)
def pc(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The qcow2 as it is published, built once; for tests that only look."""
    folder = tmp_path_factory.mktemp("pc")
    disk = ubuntu_cloud(folder / "raw.img", request.param)
    as_published(disk, folder / "server-cloudimg-amd64.img")
    release = f"    releases: [{NAMES[request.param]}]\n"
    shop = workshop(
        folder, disk, "ubuntu-cloud", "x86-itx", file="server-cloudimg-amd64.img", base=release,
        settings="  locale: de_DE.UTF-8\n  timezone: Europe/Berlin\n  keyboard: de\n  time_servers: [ntp.example]\n",
    )  # fmt: skip
    shop.build("./mine.yaml", "--hostname", "mine")
    return shop


@pytest.fixture(scope="module")
def made(pc: Workshop) -> Disk:
    return built_disk(pc)


def small(
    folder: Path, version: str = "24.04", *, base: str = "", settings: str = "", **words: dict[str, object]
) -> Workshop:
    disk = ubuntu_cloud(folder / "raw.img", version, **words)  # type: ignore[arg-type]
    return workshop(folder, disk, "ubuntu-cloud", "qemu-x86", base=base, settings=settings)


def as_root(disk: Disk, role: str) -> Disk:
    """The disk, to have another of its ext4 looked into."""
    return Disk(disk.path, {"root": disk.offsets[role]}, {"root": disk.sizes[role]})


def on_root(disk: Disk, path: str) -> str:
    return disk.on_ext4(f"cat {path}")


# -- the stand-in ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "boot"), [("24.04", 16), ("26.04", 13)])
def test_the_root_is_p1_and_last_on_the_disk_and_boot_is_another_ext4(tmp_path: Path, version: str, boot: int) -> None:
    rows = [line.split(" :")[0] for line in table(ubuntu_cloud(tmp_path / "raw.img", version)) if " : " in line]
    assert sorted(map(int, rows)) == sorted((1, 14, 15, boot))
    by_start = sorted(
        (int(line.split("start=")[1].split(",")[0]), int(line.split(" :")[0]))
        for line in table(Disk(tmp_path / "raw.img")) if " : " in line
    )  # fmt: skip
    assert [number for _, number in by_start] == [14, 15, boot, 1]


def test_it_is_published_as_a_compressed_qcow2(pc: Workshop) -> None:
    published = pc.folder / "server-cloudimg-amd64.img"
    assert published.read_bytes()[:4] == b"QFI\xfb"
    assert published.stat().st_size < pc.disk.path.stat().st_size / 2
    assert '"compressed": true' in tool("qemu-img", "map", "--output=json", published)


# -- what changes ----------------------------------------------------------------------------------------------


def test_the_seed_lies_on_the_root_closed_to_others(made: Disk) -> None:
    there = files(made, "root")
    for name in ("user-data", "meta-data", "network-config"):
        assert there[f"{SEED[1:]}/{name}"][2:] == ("0600", "0:0")
    assert there[SEED[1:]][1] == "0700"
    assert on_root(made, f"{SEED}/user-data").startswith("#cloud-config\n")


def test_the_node_is_what_a_person_asked_for(made: Disk) -> None:
    asked = yaml.safe_load(on_root(made, f"{SEED}/user-data"))
    assert asked["hostname"] == "mine"
    assert asked["manage_etc_hosts"] == "localhost"
    assert (asked["locale"], asked["timezone"], asked["keyboard"]) == ("de_DE.UTF-8", "Europe/Berlin", {"layout": "de"})
    assert [(user["name"], user["ssh_authorized_keys"]) for user in asked["users"]] == [("admin", [KEY])]
    assert asked["ssh_pwauth"] is False
    assert "TIME_SERVERS='ntp.example'" in on_root(made, "/etc/imagesmith/node.conf")
    assert on_root(made, "/etc/locale.gen") == "de_DE.UTF-8 UTF-8\n"


def test_the_last_word_about_datasources_is_ours(made: Disk) -> None:
    folder = "etc/cloud/cloud.cfg.d/"
    cfgs = sorted(path for path in files(made, "root") if path.startswith(folder))
    assert cfgs[-1] == f"{folder}99-imagesmith.cfg"
    assert yaml.safe_load(on_root(made, f"/{cfgs[-1]}"))["datasource_list"] == ["NoCloud", "None"]


def test_nothing_else_on_the_root_changes(pc: Workshop, made: Disk) -> None:
    assert beyond(changed(files(pc.disk, "root"), files(made, "root"))) == set()


@pytest.mark.parametrize("role", ["bios", "esp", "ext4boot"])
def test_every_byte_of_the_other_partitions_stays(pc: Workshop, made: Disk, role: str) -> None:
    assert partition(made, role) == partition(pc.disk, role)


def test_the_table_the_gaps_and_the_backup_keep_every_byte(pc: Workshop, made: Disk) -> None:
    assert outside(made) == outside(pc.disk)


def test_the_file_systems_are_clean(made: Disk, tmp_path: Path) -> None:
    assert complaints(made, tmp_path) == []


def test_ssh_is_promised_by_its_socket_and_swap_not_at_all(pc: Workshop) -> None:
    told = pc.run("plan", "./mine.yaml").out
    assert "unit.ssh.socket is active" in told
    assert "unit.ssh.service" not in told
    assert "zram is at least" not in told


def test_inspect_tells_root_and_esp(pc: Workshop) -> None:
    report = pc.run("inspect", "out/mine/mine.img", "--json").result
    roles = {volume["number"]: (volume["role"], volume["label"]) for volume in report["volumes"]}
    assert roles[1] == ("root", "cloudimg-rootfs")
    assert roles[15] == ("esp", "UEFI")
    assert {role for number, (role, _) in roles.items() if number in (13, 14, 16)} == {None}


def test_on_a_larger_dirty_disk_it_is_found_whole_with_its_backup_table_at_the_end(
    pc: Workshop, tmp_path: Path
) -> None:
    size = pc.disk.path.stat().st_size + 24 * MiB
    card = tmp_path / "card"
    card.write_bytes(b"\xff" * size)
    done = pc.run("flash", "out/mine/mine.img", card, "--to-file", "--yes")
    assert done.code == 0, done.err
    assert pc.run("verify", "out/mine/mine.img", card).code == 0
    told = subprocess.run(["sgdisk", "-v", card], capture_output=True, text=True, check=False).stdout
    assert "No problems found" in told
    flashed = Disk(card, pc.disk.offsets, pc.disk.sizes)
    assert complaints(flashed, tmp_path) == []
    assert files(flashed, "root") == files(built_disk(pc), "root")
    assert partition(flashed, "bios") == partition(pc.disk, "bios")
    assert files(flashed, "esp") == files(pc.disk, "esp")
    assert files(as_root(flashed, "ext4boot"), "root") == files(as_root(pc.disk, "ext4boot"), "root")


# -- settings --------------------------------------------------------------------------------------------------


def test_a_serial_console_is_a_log_in_and_a_word_for_grub(tmp_path: Path) -> None:
    shop = small(tmp_path, settings="  serial_console: true\n")
    shop.build("./mine.yaml")
    made = built_disk(shop)
    assert files(made, "root")["etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service"] == (
        "link", "/usr/lib/systemd/system/serial-getty@.service",
    )  # fmt: skip
    assert "console=ttyS0,115200" in on_root(made, "/etc/default/grub.d/99-imagesmith.cfg")
    assert partition(made, "ext4boot") == partition(shop.disk, "ext4boot")


def test_a_root_that_is_p1_but_last_is_grown_in_the_image(tmp_path: Path) -> None:
    shop = small(tmp_path, base="    min_root: 48MiB\n")
    shop.build("./mine.yaml")
    image = shop.out / "mine/mine.img"
    sizes = {
        line.split(" :")[0]: int(line.split("size=")[1].split(",")[0]) for line in table(Disk(image)) if " : " in line
    }
    assert sizes["1"] * 512 == 48 * MiB
    grown = Disk(image, shop.disk.offsets, {**shop.disk.sizes, "root": 48 * MiB})
    assert complaints(grown, tmp_path) == []
    assert partition(grown, "ext4boot") == partition(shop.disk, "ext4boot")
    assert (
        "No problems found"
        in subprocess.run(["sgdisk", "-v", image], capture_output=True, text=True, check=False).stdout
    )


def test_sshd_as_a_service_is_a_fact_of_the_base(tmp_path: Path) -> None:
    shop = small(tmp_path, base="    facts: {ssh: ssh.service}\n")
    assert "unit.ssh.service is active" in shop.run("plan", "./mine.yaml").out


def test_on_a_pc_the_kernels_lack_of_drivers_is_said_by_plan_and_by_build(tmp_path: Path) -> None:
    shop = small(tmp_path, base='    cautions: {qemu-x86: "its kernel lacks drivers"}\n')
    assert "mind          its kernel lacks drivers" in shop.run("plan", "./mine.yaml").out
    assert "stock on qemu-x86: its kernel lacks drivers" in shop.build("./mine.yaml").err
    assert "linux-virtual" in shop.run("plan", "x86-master", "--base", "ubuntu").out


# -- another reality -------------------------------------------------------------------------------------------


def test_a_boot_partition_that_looks_like_a_root_does_not_get_its_role(tmp_path: Path) -> None:
    shop = small(tmp_path, boot={"etc/hostname": "no\n"})
    shop.build("./mine.yaml")
    assert partition(built_disk(shop), "ext4boot") == partition(shop.disk, "ext4boot")


def test_a_release_that_nobody_tried_is_refused(tmp_path: Path) -> None:
    small(tmp_path, "26.04", base="    releases: [noble]\n").refused(11, "it is the release resolute, tried were noble")


def test_an_image_for_another_processor_is_refused(tmp_path: Path) -> None:
    shop = small(tmp_path, root={"usr/lib/ld-linux-aarch64.so.1": "x"})
    loader = "usr/lib64/ld-linux-x86-64.so.2"
    tool("debugfs", "-w", "-R", f"rm {loader}", f"{shop.disk.path}?offset={shop.disk.offsets['root']}")
    shop.refused(11, "made for arm64, the board is amd64")


def test_a_cloud_init_that_is_switched_off_is_refused(tmp_path: Path) -> None:
    small(tmp_path, root={"etc/cloud/cloud-init.disabled": ""}).refused(11, "its cloud-init is switched off")


def test_debian_in_its_place_is_told_by_name(tmp_path: Path) -> None:
    release = 'ID=debian\nVERSION_CODENAME=trixie\nPRETTY_NAME="Debian GNU/Linux 13"\n'
    small(tmp_path, root={"usr/lib/os-release": release}).refused(11, "family debian-generic", "says ubuntu-cloud")
