"""An image laid out as Armbian's, built into a node's: what changed, and nothing else did, the boot loader first."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml
from building import Workshop, make_workshop
from faults.disks import dirty_disk
from image.made_disks import Disk, MiB, tool
from standins.armbian import ENVIRONMENT, UUID, Changes, make_armbian
from standins.disk import Part, make_disk

PROFILE = """\
schema: 1
title: Armbian on a Banana Pi
board: bananapi-m5
role: server
base: small
bases:
  - name: small
    family: armbian
    releases: [trixie, bookworm]
    facts: {board: bananapim5}
    file: {path: base.img}
"""
GAP = 4 * MiB
MAC = "02:11:22:33:44:55"
SYSTEM = "/etc/systemd/system"
MASKED = {f"{SYSTEM}/armbian-firstrun.service", f"{SYSTEM}/armbian-resize-filesystem.service"}
GONE = {
    "/root/.not_logged_in_yet",
    f"{SYSTEM}/getty@.service.d/override.conf",
    f"{SYSTEM}/serial-getty@.service.d/override.conf",
    f"{SYSTEM}/network-online.target.wants/systemd-networkd-wait-online.service",
    "/etc/netplan/10-dhcp-all-interfaces.yaml",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/ssh/ssh_host_ed25519_key.pub",
}
CHANGED = {
    "/boot/armbianEnv.txt",
    "/etc/default/armbian-ramlog",
    "/etc/default/armbian-zram-config",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/machine-id",
    "/etc/shadow",
}


def workshop(folder: Path, disk: Disk) -> Workshop:
    shop = make_workshop(folder, disk)
    (folder / "mine.yaml").write_text(PROFILE)
    return shop


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    return make_armbian(tmp_path_factory.mktemp("armbian") / "armbian.img")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, stock: Disk) -> Workshop:
    """./mine.yaml built once, with nothing asked for but a key."""
    shop = workshop(tmp_path_factory.mktemp("made"), stock)
    shop.build("./mine.yaml", "--ssh-key", "key.pub", "--compress", "none")
    return shop


@pytest.fixture
def shop(tmp_path: Path, stock: Disk) -> Workshop:
    return workshop(tmp_path, stock)


def image(shop: Workshop) -> Disk:
    return Disk(shop.out / "mine/mine.img", shop.disk.offsets, shop.disk.sizes)


def text(shop: Workshop, path: str) -> str:
    return image(shop).on_ext4(f"cat {path}")


def tree(disk: Disk, folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file and link of the root: mode, and content or target."""
    folder.mkdir()
    disk.on_ext4(f"rdump / {folder}")
    found = {}
    for path in folder.rglob("*"):
        state = path.lstat()
        if not stat.S_ISDIR(state.st_mode):
            content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
            found[f"/{path.relative_to(folder)}"] = (stat.S_IMODE(state.st_mode), content)
    return found


# -- what did not change --------------------------------------------------------------------------


def test_the_table_and_the_boot_loader_before_the_partition_are_the_bases(made: Workshop, stock: Disk) -> None:
    with stock.path.open("rb") as before, image(made).path.open("rb") as after:
        old = before.read(GAP)
        assert old.count(b"\0") < GAP / 100  # a canary, not emptiness
        assert after.read(GAP) == old


def test_what_lies_behind_the_partition_is_the_bases(made: Workshop, stock: Disk) -> None:
    end = stock.offsets["root"] + stock.sizes["root"]
    old, new = stock.path.read_bytes(), image(made).path.read_bytes()
    assert len(new) == len(old)
    assert new[end:] == old[end:]


def test_every_file_that_is_not_meant_to_change_is_as_it_was(made: Workshop, stock: Disk, tmp_path: Path) -> None:
    old, new = tree(stock, tmp_path / "old"), tree(image(made), tmp_path / "new")
    assert old.keys() - new.keys() == GONE
    assert {path for path in old.keys() & new.keys() if old[path] != new[path]} == CHANGED
    for path in new.keys() - old.keys() - MASKED:
        assert "imagesmith" in path or path in {
            "/etc/default/keyboard", "/etc/default/locale", "/etc/locale.conf", "/etc/localtime", "/etc/timezone",
            "/usr/lib/clock-epoch",
        }, path  # fmt: skip


def test_the_file_system_is_clean_and_of_the_same_make(made: Workshop, stock: Disk, tmp_path: Path) -> None:
    root = image(made).extract("root", tmp_path / "root.img")
    tool("e2fsck", "-fn", root)
    told = tool("dumpe2fs", "-h", root)
    assert f"Filesystem UUID:          {UUID}" in told
    assert "Filesystem volume name:   armbi_root" in told
    assert "journal_data_writeback" in told
    assert "orphan_file" not in told
    features = [line for line in told.splitlines() if line.startswith("Filesystem features")]
    assert features[0] in tool("dumpe2fs", "-h", stock.extract("root", tmp_path / "old.img"))


def test_a_used_card_takes_it_and_verifies(made: Workshop) -> None:
    dirty_disk(made.folder / "card", 64 * MiB)
    done = made.run("flash", "out/mine/mine.img", "card", "--to-file", "--yes")
    assert done.code == 0, done.err
    assert made.run("verify", "out/mine/mine.img", "card").code == 0
    card, whole = (made.folder / "card").read_bytes(), image(made).path.read_bytes()
    assert card[:GAP] == whole[:GAP]
    root = Disk(made.folder / "card", made.disk.offsets, made.disk.sizes).extract("root", made.folder / "card-root")
    tool("e2fsck", "-fn", root)


def test_inspect_tells_what_it_is(made: Workshop) -> None:
    report = made.run("inspect", "out/mine/mine.img", "--json").result
    (volume,) = report["volumes"]
    assert (report["table"], volume["start"], volume["label"], volume["role"]) == ("mbr", GAP, "armbi_root", "root")


# -- what did -------------------------------------------------------------------------------------


def test_the_boot_environment_has_the_words_for_k3s_and_no_address_that_all_boards_share(made: Workshop) -> None:
    expected = ENVIRONMENT.replace("ethaddr=00:50:43:84:fb:2f\n", "")
    assert text(made, "/boot/armbianEnv.txt") == f"{expected}extraargs=cgroup_enable=memory\ndocker_optimizations=on\n"


def test_words_that_are_there_stay(tmp_path: Path) -> None:
    more = "extraargs=quiet cgroup_enable=memory pcie_aspm=off\ndocker_optimizations=off"
    shop = workshop(tmp_path, make_armbian(tmp_path / "a.img", changes={"/boot/armbianEnv.txt": ENVIRONMENT + more}))
    shop.build("./mine.yaml")
    assert text(shop, "/boot/armbianEnv.txt").endswith(more.replace("=off", "=on").replace("aspm=on", "aspm=off"))


def test_nothing_asks_and_nobody_is_logged_in_without_a_password(made: Workshop) -> None:
    for unit in MASKED:
        assert 'Fast link dest: "/dev/null"' in image(made).on_ext4(f"stat {unit}")
    assert "ssh-keygen -A" in text(made, f"{SYSTEM}/ssh.service.d/10-imagesmith.conf")
    assert text(made, "/etc/machine-id") == ""


def test_the_known_password_of_root_is_locked_before_the_first_boot(made: Workshop) -> None:
    assert text(made, "/etc/shadow") == "root:!$y$j9T$notreally$1234:20000:0:99999:7:::\n"
    assert "Mode:  0640" in image(made).on_ext4("stat /etc/shadow")


def test_the_network_is_closed_to_other_users_and_on_dhcp(made: Workshop) -> None:
    assert "Mode:  0600" in image(made).on_ext4("stat /etc/netplan/90-imagesmith.yaml")
    (card,) = yaml.safe_load(text(made, "/etc/netplan/90-imagesmith.yaml"))["network"]["ethernets"].values()
    assert card == {"match": {"name": "e*"}, "optional": True, "dhcp4": True}


def test_swap_is_by_armbians_own_service_and_logs_are_on_the_card(made: Workshop) -> None:
    assert text(made, "/etc/default/armbian-zram-config").splitlines()[-3:] == [
        "SWAP=true", "ZRAM_PERCENTAGE=50", "SWAP_ALGORITHM=zstd",
    ]  # fmt: skip
    assert text(made, "/etc/default/armbian-ramlog").startswith("ENABLED=false\n#\nSIZE=50M\n")
    assert "Storage=persistent" in text(made, "/etc/systemd/journald.conf.d/40-imagesmith-armbian.conf")


def test_what_the_node_asks_for_is_in_the_boot_environment(shop: Workshop) -> None:
    asked = ("mac=" + MAC, "serial_console=true", "zram_percent=0", "address=192.0.2.9/24")
    shop.build("./mine.yaml", *(word for one in asked for word in ("--set", one)))
    environment = text(shop, "/boot/armbianEnv.txt")
    assert f"console=both\nethaddr={MAC}\n" in environment
    (card,) = yaml.safe_load(text(shop, "/etc/netplan/90-imagesmith.yaml"))["network"]["ethernets"].values()
    assert (card["match"], card["macaddress"], card["addresses"]) == ({"name": "e*"}, MAC, ["192.0.2.9/24"])
    getty = f"{SYSTEM}/getty.target.wants/serial-getty@ttyAML0.service"
    assert "serial-getty@.service" in image(shop).on_ext4(f"stat {getty}")
    assert text(shop, "/etc/default/armbian-zram-config").endswith("SWAP=false\n")


def test_logs_stay_in_memory_where_the_base_says_so_with_room_for_the_journal(shop: Workshop) -> None:
    asked = PROFILE.replace("board: bananapim5}", "board: bananapim5, logs_in_memory: 'yes'}")
    (shop.folder / "mine.yaml").write_text(asked)
    shop.build("./mine.yaml", "--set", "journal_max=100MiB")
    assert text(shop, "/etc/default/armbian-ramlog").startswith("ENABLED=true\n#\nSIZE=132M\n")
    assert "40-imagesmith" not in image(shop).on_ext4("ls /etc/systemd/journald.conf.d")


def test_bookworm_is_taken_too(tmp_path: Path) -> None:
    shop = workshop(tmp_path, make_armbian(tmp_path / "bookworm.img", "bookworm"))
    shop.build("./mine.yaml")
    tool("e2fsck", "-fn", image(shop).extract("root", tmp_path / "root.img"))


def test_the_same_build_gives_the_same_bytes(made: Workshop, shop: Workshop) -> None:
    shop.build("./mine.yaml", "--ssh-key", "key.pub", "--compress", "none")
    assert image(shop).path.read_bytes() == image(made).path.read_bytes()


# -- what is not as it should be ------------------------------------------------------------------

BOARD = "/etc/armbian-release"
TWO = ENVIRONMENT + "extraargs=a\nextraargs=b\n"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"/boot/armbianEnv.txt": None}, ["it has no /boot/armbianEnv.txt"]),
        ({"/etc/default/armbian-ramlog": None}, ["it has no /etc/default/armbian-ramlog"]),
        ({BOARD: "BOARD=odroidn2\n"}, ["it is for odroidn2, the base is for bananapim5"]),
        ({BOARD: 'BOARD="rpi4b"\n', "/boot/armbianEnv.txt": None}, ["for rpi4b", "no /boot/armbianEnv.txt"]),
        ({BOARD: ""}, ["it is for no board"]),
        ({"/usr/bin/cloud-init": b"x"}, ["Armbian built with cloud-init", "minimal image"]),
        ({"/boot/armbianEnv.txt": ENVIRONMENT.replace("\n", "\r\n")}, ["armbianEnv.txt has carriage returns"]),
        ({"/boot/armbianEnv.txt": "\ufeff" + ENVIRONMENT}, ["armbianEnv.txt begins with a byte order mark"]),
        ({"/boot/armbianEnv.txt": ENVIRONMENT.encode() + b"\0"}, ["armbianEnv.txt has zero bytes"]),
        ({"/boot/armbianEnv.txt": TWO}, ["armbianEnv.txt says extraargs 2 times"]),
        ({"/usr/lib/os-release": "ID=debian\nVERSION_CODENAME=forky\n"}, ["release forky", "trixie, bookworm"]),
    ],
)
def test_an_armbian_that_is_otherwise_is_refused(tmp_path: Path, changes: Changes, said: list[str]) -> None:
    shop = workshop(tmp_path, make_armbian(tmp_path / "other.img", changes=changes))
    shop.refused(11, *said)
    assert not (shop.out / "mine").exists()


def test_one_with_a_boot_partition_of_its_own_is_refused(tmp_path: Path, stock: Disk) -> None:
    parts = [
        Part("boot", "fat", 8 * MiB, "ea", "armbi_boot", {"/armbianEnv.txt": ENVIRONMENT}),
        Part("root", "ext4", stock.sizes["root"], "83"),
    ]
    disk = make_disk(tmp_path / "two.img", "dos", parts, first=4 * MiB)
    disk.patch(disk.offsets["root"], stock.extract("root", tmp_path / "root.img").read_bytes())
    workshop(tmp_path, disk).refused(11, "it has 2 partitions", "armbi_boot", "there should be one")


def test_one_of_another_name_is_refused(tmp_path: Path, stock: Disk) -> None:
    shop = workshop(tmp_path, stock)
    tool("tune2fs", "-L", "ROOTFS", f"{shop.base}?offset={GAP}")
    shop.refused(11, "(ext4 'armbi_root')", "(ext4 'ROOTFS')")


@pytest.mark.parametrize("fact", ["mac: sett", "logs_in_memory: maybe"])
def test_a_fact_of_few_words_is_one_of_them(shop: Workshop, fact: str) -> None:
    (shop.folder / "mine.yaml").write_text(PROFILE.replace("board: bananapim5}", f"board: bananapim5, {fact}}}"))
    shop.refused(11, f"the base's fact `{fact.split(':')[0]}` is")


def test_a_file_that_an_image_does_not_have_can_be_named_so(tmp_path: Path) -> None:
    disk = make_armbian(tmp_path / "other.img", changes={"/etc/default/armbian-ramlog": None})
    shop = workshop(tmp_path, disk)
    (shop.folder / "mine.yaml").write_text(PROFILE.replace("bananapim5}", "bananapim5, ramlog: none}"))
    shop.build("./mine.yaml")
