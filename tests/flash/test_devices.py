"""lsblk's answers, as machines of several kinds give them, become devices; and what is no device is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from faults.disks import call, dirty_disk, listed, loop_device, make_image, mounted, needs_root

from imagesmith.errors import DeviceRefused, IOFailed
from imagesmith.flash.devices import file_as_device, find_device, list_devices, parse_lsblk
from imagesmith.model import Device
from imagesmith.units import MiB

RECORDED = Path(__file__).with_name("lsblk")


def recorded(name: str, system: tuple[str, ...] = ()) -> dict[str, Device]:
    return {device.name: device for device in parse_lsblk((RECORDED / f"{name}.json").read_text(), system)}


def test_a_laptop_with_encrypted_lvm_and_a_card_reader() -> None:
    devices = recorded("laptop")
    system = devices["nvme0n1"]
    assert system.holds_system
    assert system.mounts == ("/boot/efi", "/boot", "/", "[SWAP]")
    assert system.holders == ("luks-root (crypt)", "vg-root (lvm)", "vg-swap (lvm)")
    card = devices["sda"]
    assert not card.holds_system
    assert (card.model, card.serial, card.bus, card.removable) == ("STORAGE DEVICE", "000000001206", "usb", True)
    assert card.mounts == ("/media/ann/bootfs",)
    assert card.contents == (
        "sda1 vfat bootfs 512 MiB mounted on /media/ann/bootfs",
        "sda2 ext4 rootfs 29 GiB",
    )


def test_partitions_name_their_disk_and_know_its_bus() -> None:
    part = recorded("laptop")["sda1"]
    assert (part.kind, part.parent, part.bus, part.removable) == ("part", "/dev/sda", "usb", True)


def test_both_members_of_a_raid_hold_the_system() -> None:
    devices = recorded("raid")
    assert devices["sda"].holds_system
    assert devices["sdb"].holds_system
    assert not devices["sdc"].holds_system
    assert devices["sdb"].holders == ("md0 (raid1)",)


def test_a_raid_is_listed_as_a_holder_and_never_as_a_disk() -> None:
    assert set(recorded("raid")) == {"sda", "sda1", "sdb", "sdb1", "sdc"}


def test_a_pi_runs_from_its_card() -> None:
    devices = recorded("pi")
    assert devices["mmcblk0"].holds_system
    assert devices["mmcblk0"].bus == "mmc"
    assert devices["mmcblk0"].mounts == ("/boot/firmware", "/")
    assert not devices["sda"].holds_system


def test_a_disk_that_only_the_mount_table_knows_holds_the_system() -> None:
    # In a container lsblk sees no mount points; the numbers come from elsewhere.
    assert recorded("bare")["vda"].holds_system is False
    assert recorded("bare", ("254:0",))["vda"].holds_system is True


def test_missing_udev_leaves_models_empty() -> None:
    device = recorded("bare")["vda"]
    assert (device.model, device.serial, device.bus) == ("", "", "")


def test_what_a_device_says_can_not_move_the_cursor() -> None:
    tree = json.loads((RECORDED / "bare.json").read_text())
    tree["blockdevices"][0]["model"] = "\x1b[2JGood\nCard\x07 "
    (device, *_) = parse_lsblk(json.dumps(tree), ())
    assert device.model == "[2JGoodCard"


def test_no_devices_are_no_error() -> None:
    assert parse_lsblk("", ()) == ()


@pytest.mark.parametrize("text", ["lsblk: unknown column", "{}", '{"blockdevices": [{"name": "x"}]}', "[1]"])
def test_an_answer_that_is_not_understood_is_said(text: str) -> None:
    with pytest.raises(IOFailed, match="not understood"):
        parse_lsblk(text, ())


def test_a_path_that_does_not_exist_is_refused_and_not_created(tmp_path: Path) -> None:
    for look in (lambda path: find_device(path, ()), file_as_device):
        with pytest.raises(DeviceRefused, match="no such"):
            look(str(tmp_path / "sdx"))
    assert not (tmp_path / "sdx").exists()


def test_a_dangling_link_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "usb-Card").symlink_to(tmp_path / "gone")
    with pytest.raises(DeviceRefused, match="its device is gone"):
        find_device(str(tmp_path / "usb-Card"), ())


def test_what_is_no_block_device_is_refused_by_its_kind(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    kinds = {"file": "a regular file", "pipe": "a pipe", "": "a folder", "/dev/null": "a character device"}
    for name, kind in kinds.items():
        with pytest.raises(DeviceRefused, match=kind):
            find_device(str(tmp_path / name), ())


def test_only_a_regular_file_is_taken_as_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DeviceRefused, match="a pipe"):
        file_as_device(str(tmp_path / "pipe"))
    assert file_as_device(str(dirty_disk(tmp_path / "f", MiB))).size == MiB


class TestOnThisMachine:
    pytestmark = needs_root

    def test_a_loop_device_is_listed_with_its_number_and_sequence(self, tmp_path: Path) -> None:
        with loop_device(dirty_disk(tmp_path / "disk", 2 * MiB)) as path:
            device = listed(path)
            assert (device.kind, device.size, device.read_only, device.holds_system) == ("loop", 2 * MiB, False, False)
            assert device.number.startswith("7:")
            assert device.diskseq > 0

    def test_a_link_is_followed_and_its_name_kept(self, tmp_path: Path) -> None:
        with loop_device(dirty_disk(tmp_path / "disk", MiB)) as path:
            (tmp_path / "link").symlink_to(path)
            device = listed(str(tmp_path / "link"))
            assert (device.path, device.name) == (str(tmp_path / "link"), Path(path).name)

    def test_read_only_and_sector_size_are_seen(self, tmp_path: Path) -> None:
        with loop_device(dirty_disk(tmp_path / "disk", MiB), read_only=True, sector=4096) as path:
            assert listed(path).read_only
            assert listed(path).logical_sector == 4096

    def test_mounts_of_a_partition_are_the_disks(self, tmp_path: Path) -> None:
        with loop_device(make_image(tmp_path / "i.img", "gpt"), partitions=True) as path:
            with mounted(f"{path}p2", tmp_path / "mnt"):
                assert listed(path).mounts == (str(tmp_path / "mnt"),)
            assert listed(f"{path}p2").parent == path

    def test_a_detached_loop_device_is_no_disk(self, tmp_path: Path) -> None:
        with loop_device(dirty_disk(tmp_path / "disk", MiB)) as path:
            pass
        with pytest.raises(DeviceRefused, match="no medium"):
            find_device(path, list_devices())

    def test_the_disk_under_the_root_file_system_holds_the_system(self) -> None:
        source = call("findmnt", "--noheadings", "--output", "SOURCE", "/").strip()
        if not Path(source).is_block_device():
            pytest.skip("the root file system is on no block device here")
        name = Path(source).name
        assert any(device.holds_system for device in list_devices() if name.startswith(device.name))
