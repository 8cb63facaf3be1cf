"""Disk images out of tar archives, judged by the file systems' own tools."""

import io
import json
import random
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from bootstrapping import EFI, PI

from imagesmith import tools
from imagesmith.errors import ContentMalformed, NoSpace
from imagesmith.model import DiskLayout
from imagesmith.sources.bootstrap.assemble import ALIGN, Disk, assemble
from imagesmith.sources.bootstrap.recipe import Identity
from imagesmith.units import MiB

EPOCH = 1_763_251_201
STATE = Identity("e" * 64)
RANDOM = random.Random(3)
BIG, KERNEL = RANDOM.randbytes(3 * MiB + 17), RANDOM.randbytes(2 * MiB + 5)
CAPABILITY = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"


def root_archive(path: Path) -> Path:
    """As mmdebstrap packs it: owners, modes, links, a device, a file capability, an old time."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:

        def add(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **more: object) -> None:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.mtime, member.mode = kind, len(data), EPOCH, 0o644
            for key, value in more.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(data))

        add("./", tarfile.DIRTYPE, mode=0o755)
        add("./dev", tarfile.DIRTYPE, mode=0o755)
        add("./dev/null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3)
        add("./big", data=BIG, uid=1000, gid=1001, mode=0o640, mtime=EPOCH - 86400)
        add("./link", tarfile.SYMTYPE, linkname="../run/x", mode=0o777)
        add("./ping", data=b"\x7fELF", mode=0o755, pax_headers={"SCHILY.xattr.security.capability": CAPABILITY})
        for number in range(200):
            add(f"./file-{number}", data=RANDOM.randbytes(number))
    return path


def boot_archive(path: Path, folder: str, *, size: int = len(KERNEL)) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in (
            (f"{folder}/EFI/BOOT/BOOTX64.EFI", RANDOM.randbytes(70_000)),
            (f"{folder}/debian/6.12.1+deb13-amd64/linux", KERNEL[:size].ljust(size, b"k")),
            (f"{folder}/cmdline.txt", b"quiet\n"),
        ):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), int(time.time())
            tar.addfile(member, io.BytesIO(data))
    return path


def disk(folder: Path, layout: DiskLayout = EFI) -> Disk:
    mount = Path(layout.partitions[0].mount).name
    root, boot = root_archive(folder / "root.tar"), boot_archive(folder / "boot.tar", mount)
    return Disk(layout, "amd64", STATE, EPOCH, root, boot)


def made(what: Disk, folder: Path, name: str = "one") -> Path:
    scratch = folder / name
    scratch.mkdir()
    image = scratch / "disk.raw"
    size = assemble(what, image, scratch)
    assert image.stat().st_size == size
    return image


@pytest.fixture(scope="module")
def pc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pc")
    return made(disk(folder), folder)


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pi")
    return made(disk(folder, PI), folder)


def table(image: Path) -> dict[str, object]:
    return dict(json.loads(tools.run(["sfdisk", "--json", str(image)]).stdout)["partitiontable"])


def debugfs(image: Path, command: str) -> str:
    start = ALIGN + 64 * MiB
    argv = ["debugfs", "-R", command, f"{image}?offset={start}"]
    return tools.run(argv, env={"TZ": "UTC"}).text


def superblock(image: Path) -> dict[str, str]:
    told = debugfs(image, "stats -h")
    return {key: value.strip() for key, _, value in (line.partition(":") for line in told.splitlines())}


def test_a_pcs_table_says_what_its_partitions_are(pc: Path) -> None:
    found = table(pc)
    assert found["label"] == "gpt"
    assert [(part["type"], part["name"]) for part in found["partitions"]] == [  # type: ignore[attr-defined]
        ("C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "ESP"),
        ("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "root"),
    ]
    assert "No problems found" in tools.run(["sgdisk", "-v", str(pc)]).text


def test_a_pis_table_is_one_that_its_firmware_reads(pi: Path) -> None:
    found = table(pi)
    assert found["label"] == "dos"
    assert [part["type"] for part in found["partitions"]] == ["c", "83"]  # type: ignore[attr-defined]
    assert int(str(found["id"]), 16) == STATE.serial("disk")


def test_everything_is_aligned_to_cards_erase_blocks(pc: Path, pi: Path) -> None:
    for image in (pc, pi):
        assert image.stat().st_size % ALIGN == 0
        for part in table(image)["partitions"]:  # type: ignore[attr-defined]
            assert (part["start"] * 512 % ALIGN, part["size"] * 512 % ALIGN) == (0, 0)


def test_the_file_systems_have_the_ids_that_fstab_names(pc: Path) -> None:
    assert superblock(pc)["Filesystem UUID"] == STATE.uuid("root")
    told = tools.run(["mdir", "-i", f"{pc}@@{ALIGN}", "::"]).text
    assert STATE.fat_uuid in told
    assert "ESP" in told


def test_ext4_has_no_feature_that_older_tools_stumble_over(pc: Path) -> None:
    features = set(superblock(pc)["Filesystem features"].split())
    assert {"has_journal", "extent", "resize_inode", "metadata_csum"} <= features
    assert not {"orphan_file", "metadata_csum_seed", "64bit", "casefold", "encrypt", "verity"} & features


def test_there_is_room_for_the_first_boot(pc: Path) -> None:
    facts = superblock(pc)
    assert int(facts["Free blocks"]) * 4096 >= 128 * MiB


def test_files_are_what_they_were(pc: Path, tmp_path: Path) -> None:
    debugfs(pc, f"dump /big {tmp_path / 'big'}")
    assert (tmp_path / "big").read_bytes() == BIG
    told = debugfs(pc, "stat /big")
    assert "User:  1000   Group:  1001" in told
    assert "Mode:  0640" in told
    assert "../run/x" in debugfs(pc, "stat /link")
    assert "number: 01:03" in debugfs(pc, "stat /dev/null")
    assert "security.capability" in debugfs(pc, "ea_list /ping")


def test_kernels_are_on_the_boot_partition_under_their_long_names(pc: Path) -> None:
    argv = ["mtype", "-i", f"{pc}@@{ALIGN}", "::debian/6.12.1+deb13-amd64/linux"]
    assert tools.run(argv).stdout == KERNEL


def test_times_are_the_epoch_or_older(pc: Path) -> None:
    # 2025-11-16 00:00:01 UTC; FAT counts in steps of two seconds.
    listed = tools.run(["mdir", "-i", f"{pc}@@{ALIGN}", "-/", "::"], env={"TZ": "UTC"}).text
    lines = [line for line in listed.splitlines() if "<DIR>" in line or "cmdline" in line or "linux" in line]
    assert len(lines) > 5
    assert all("2025-11-16" in line for line in lines)
    for path in ("/file-7", "/dev", "/dev/null", "/link", "/lost+found", "/"):
        told = debugfs(pc, f"stat {path}")
        for name in ("ctime", "atime", "mtime", "crtime"):
            line = next(line for line in told.splitlines() if line.strip().startswith(name))
            assert "Sun Nov 16 00:00:01 2025" in line, f"{path}: {line}"
    assert "Sat Nov 15 00:00:01 2025" in debugfs(pc, "stat /big")


@pytest.mark.parametrize("layout", [EFI, PI], ids=["gpt", "mbr"])
def test_the_same_archives_give_the_same_bytes_a_while_later(tmp_path: Path, layout: DiskLayout) -> None:
    what = disk(tmp_path, layout)
    one = made(what, tmp_path, "one")
    time.sleep(2.1)  # FAT's clock ticks every other second
    two = made(what, tmp_path, "two")
    assert tools.run(["cmp", str(one), str(two)], expect=None).returncode == 0


def test_a_kernel_that_does_not_fit_is_no_space(tmp_path: Path) -> None:
    what = disk(tmp_path)
    what = replace(what, boot=boot_archive(tmp_path / "fat.tar", "efi", size=70 * MiB))
    with pytest.raises(NoSpace, match="boot partition of 64 MiB") as caught:
        made(what, tmp_path)
    assert "profile" in caught.value.hint


@pytest.mark.parametrize("size", [64, 256, 512])
def test_a_boot_partition_is_fat32_whatever_its_size(tmp_path: Path, size: int) -> None:
    what = disk(tmp_path)
    boot = replace(EFI.partitions[0], size=size * MiB)
    root = replace(EFI.partitions[1], size=600 * MiB)  # mkfs.fat looks at the whole file
    image = made(replace(what, layout=replace(EFI, partitions=(boot, root))), tmp_path)
    told = tools.run(["minfo", "-i", f"{image}@@{ALIGN}", "::"], expect=None).text
    assert "FAT32" in told
    argv = ["mtype", "-i", f"{image}@@{ALIGN}", "::cmdline.txt"]
    assert tools.run(argv).stdout == b"quiet\n"


def test_packages_that_do_not_fit_are_no_space(tmp_path: Path) -> None:
    what = disk(tmp_path)
    root = replace(EFI.partitions[1], size=40 * MiB)
    with tarfile.open(tmp_path / "large.tar", "w") as tar:
        member = tarfile.TarInfo("./large")
        member.size = 60 * MiB
        tar.addfile(member, io.BytesIO(RANDOM.randbytes(60 * MiB)))
    layout = replace(EFI, partitions=(EFI.partitions[0], root))
    with pytest.raises(NoSpace, match="root of 40 MiB"):
        made(replace(what, layout=layout, root=tmp_path / "large.tar"), tmp_path)


@pytest.mark.parametrize(("name", "kind"), [("efi/link", tarfile.SYMTYPE), ("efi/../../x", tarfile.REGTYPE)])
def test_links_and_ways_out_are_refused_in_a_boot_archive(tmp_path: Path, name: str, kind: bytes) -> None:
    what = disk(tmp_path)
    with tarfile.open(tmp_path / "odd.tar", "w") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(ContentMalformed, match=name):
        made(replace(what, boot=tmp_path / "odd.tar"), tmp_path)
    assert not (tmp_path / "x").exists()
