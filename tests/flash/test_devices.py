"""lsblk's answers, as machines of several kinds give them, become devices; and what is no device is refused."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from faults.disks import call, dirty_disk, listed, loop_device, make_image, mounted, needs_root, random_bytes

from imagesmith.errors import DeviceRefused, IOFailed
from imagesmith.flash.devices import file_as_device, find_device, list_devices, parse_lsblk
from imagesmith.model import Device, FileSystem
from imagesmith.planning.refusals import is_fixed, refusals, unmountable
from imagesmith.units import KiB, MiB

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


class TestDevicesOfAllKinds:
    """What `devices` shows of a desktop with readers, sticks and disks, and of a board with eMMC."""

    @staticmethod
    def reasons(device: Device) -> str:
        return "; ".join(refusal.reason for refusal in refusals(device, 0, allow_fixed=False))

    def test_a_reader_without_a_card_is_told_as_empty(self) -> None:
        reader = recorded("desktop")["sda"]
        assert (reader.size, reader.bus, reader.model) == (0, "usb", "USB3.0 CRW   -0")
        assert self.reasons(reader) == "has no medium in it (size 0): put the card in"

    def test_a_cameras_card_wants_its_name_typed_and_would_be_unmounted(self) -> None:
        card = recorded("desktop")["sdb"]
        assert card.filesystems == (FileSystem("sdb1", "exfat", "EOS_DIGITAL", 31910789120),)
        assert 'someone\'s data: sdb1 exfat "EOS_DIGITAL", 30 GiB' in self.reasons(card)
        assert unmountable(card) == ("/run/media/ann/EOS_DIGITAL",)

    def test_a_usb_disk_is_told_by_its_size_and_by_what_is_on_it(self) -> None:
        told = self.reasons(recorded("desktop")["sdc"])
        assert "more than the 256 GiB" in told
        assert 'sdc1 ntfs "Backup"' in told

    def test_an_opened_encrypted_stick_is_held(self) -> None:
        stick = recorded("desktop")["sdd"]
        assert stick.holders == ("luks-1f2e (crypt)",)
        assert unmountable(stick) == ()
        assert "in use by luks-1f2e" in self.reasons(stick)
        assert [one.name for one in stick.filesystems] == ["sdd1"]

    def test_a_locked_card_an_optical_drive_and_memory_are_what_they_are(self) -> None:
        devices = recorded("desktop")
        assert self.reasons(devices["sde"]) == "is read-only (look for the small switch on the card's side or adapter)"
        assert "is a rom device" in self.reasons(devices["sr0"])
        assert "lies in this machine's memory" in self.reasons(devices["zram0"])

    def test_disks_of_the_machine_are_fixed(self) -> None:
        devices = recorded("desktop")
        assert devices["nvme0n1"].holds_system
        assert is_fixed(devices["nvme1n1"])
        assert devices["nvme1n1"].logical_sector == 4096
        assert is_fixed(devices["nbd1"])

    def test_an_emmc_may_be_flashed_but_its_boot_areas_never(self) -> None:
        devices = recorded("board")
        assert self.reasons(devices["mmcblk2"]) == ""
        assert devices["mmcblk1"].holds_system
        for name in ("mmcblk2boot0", "mmcblk2boot1"):
            assert "eMMC's boot area" in self.reasons(devices[name])
        assert "flash chip" in self.reasons(devices["mtdblock0"])
        assert "lies in this machine's memory" in self.reasons(devices["zram1"])


NOT_WRITTEN = {
    "a folder": "a folder",
    "a file": "a regular file",
    "a pipe": "a pipe",
    "a socket": "a socket",
    "/dev/null": "a character device",
    "/dev/zero": "a character device",
    "a link to nothing": "leads nowhere",
    "a link to itself": "no such device|leads nowhere",
    "nothing": "no such device",
    "nothing/below": "no such device",
    "a file/below": "no such device",
}


@pytest.mark.parametrize("name", NOT_WRITTEN)
def test_what_is_no_disk_is_refused_and_nothing_is_made_or_changed(tmp_path: Path, name: str) -> None:
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a file").write_bytes(b"mine")
    os.mkfifo(tmp_path / "a pipe")
    (tmp_path / "a link to nothing").symlink_to(tmp_path / "gone")
    (tmp_path / "a link to itself").symlink_to(tmp_path / "a link to itself")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "a socket"))
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(DeviceRefused, match=NOT_WRITTEN[name]):
            find_device(str(tmp_path / name), ())
        if name != "a file":
            with pytest.raises(DeviceRefused):
                file_as_device(str(tmp_path / name))
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "a file").read_bytes() == b"mine"


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
        source = call("findmnt", "--noheadings", "--nofsroot", "--output", "SOURCE", "/").strip()
        if not Path(source).is_block_device():
            pytest.skip("the root file system is on no block device here")
        name = Path(source).name
        assert any(device.holds_system for device in list_devices() if name.startswith(device.name))

    def test_a_partition_is_found_and_refused_as_one(self, tmp_path: Path) -> None:
        with loop_device(make_image(tmp_path / "i.img", "gpt"), partitions=True) as path:
            part = listed(f"{path}p2")
            assert (part.kind, part.parent) == ("part", path)
            assert f"the whole disk is {path}" in refusals(part, 0, allow_fixed=True)[0].reason

    def test_a_dangling_name_is_told_and_one_that_leads_to_a_disk_is_taken(self, tmp_path: Path) -> None:
        name = tmp_path / "usb-Card_1234"
        with loop_device(dirty_disk(tmp_path / "disk", MiB)) as path:
            name.symlink_to(path)
            assert listed(str(name)).name == Path(path).name
        name.unlink()
        name.symlink_to("/dev/sdzz")
        with pytest.raises(DeviceRefused, match="its device is gone"):
            listed(str(name))
        assert not Path("/dev/sdzz").exists()

    def test_what_lies_on_a_card_is_recognised_with_how_full_it_is(self, tmp_path: Path) -> None:
        with loop_device(make_image(tmp_path / "i.img", "dos"), partitions=True) as path:
            fat, root = listed(path).filesystems
        assert (fat.name, fat.kind, fat.size) == (f"{Path(path).name}p1", "vfat", 8 * MiB)
        assert MiB <= (fat.used or 0) <= MiB + 64 * KiB
        assert (root.name, root.kind, root.used) == (f"{Path(path).name}p2", "ext4", None)

    def test_a_node_image_is_nobodys_but_a_labelled_ext4_is_someones(self, tmp_path: Path) -> None:
        with loop_device(make_image(tmp_path / "i.img", "gpt"), partitions=True) as path:
            assert refusals(listed(path), 0, allow_fixed=False) == ()
        with loop_device(dirty_disk(tmp_path / "disk", 8 * MiB)) as path:
            call("mke2fs", "-q", "-t", "ext4", "-L", "backup", path)
            (found,) = refusals(listed(path), 0, allow_fixed=False)
            assert f'{Path(path).name} ext4 "backup", 8.0 MiB' in found.reason

    def test_a_new_card_is_nobodys_until_something_is_put_on_it(self, tmp_path: Path) -> None:
        (tmp_path / "photo").write_bytes(random_bytes(9 * MiB, 3))
        with loop_device(dirty_disk(tmp_path / "disk", 64 * MiB)) as path:
            call("mkfs.fat", "-I", path)
            assert refusals(listed(path), 0, allow_fixed=False) == ()
            call("mcopy", "-i", path, tmp_path / "photo", "::photo")
            call("sync")
            assert "of it in use" in refusals(listed(path), 0, allow_fixed=False)[0].reason

    def test_an_encrypted_card_is_someones(self, tmp_path: Path) -> None:
        disk = dirty_disk(tmp_path / "disk", 8 * MiB)
        with disk.open("r+b") as file:
            file.write(b"LUKS\xba\xbe\0\1".ljust(1024, b"\0"))
        with loop_device(disk) as path:
            assert listed(path).filesystems[0].kind == "crypto_LUKS"
            assert "encrypted with LUKS" in refusals(listed(path), 0, allow_fixed=False)[0].reason
