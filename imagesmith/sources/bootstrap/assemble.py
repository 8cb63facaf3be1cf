"""A raw disk image out of tar archives: partition table, FAT, ext4, all at their places, without mounting.

Called by `obtain`. Touches only the image and the scratch folder it is given. The same archives, identity and epoch
give the same bytes: every id is derived, every time is the epoch, every order is sorted.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from imagesmith import tools
from imagesmith.errors import ContentMalformed, EditFailed, NoSpace, ToolMissing
from imagesmith.formats import gpt, mbr
from imagesmith.model import Architecture, DiskLayout, Partition, PartitionSpec
from imagesmith.sources.bootstrap.recipe import Identity
from imagesmith.sources.disk import failures
from imagesmith.units import SECTOR, KiB, MiB, align_up, show_size

ALIGN = 4 * MiB
"""Partitions and the whole image: the erase block of common cards."""
_BLOCK = 4 * KiB
_JOURNAL = 32 * MiB
_SMALL_FAT = 260 * MiB
_BYTES_PER_INODE = 16 * KiB
_SLACK = 128 * MiB
_ROOT_TYPE = {"amd64": gpt.ROOT_X86_64, "arm64": gpt.ROOT_ARM64}
_BASIC_DATA = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"

# What every kernel since 4.x and e2fsprogs since 1.44 know, named one by one so that no /etc/mke2fs.conf decides.
# resize_inode: room to grow to a thousand times the size while mounted.
_FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,"
    "dir_nlink,extra_isize,metadata_csum"
)


@dataclass(frozen=True, slots=True)
class Disk:
    """What is to be assembled."""

    layout: DiskLayout
    """Two partitions: FAT from `boot`, then ext4 from `root`."""
    architecture: Architecture
    identity: Identity
    epoch: int
    root: Path
    """tar archive of the root file system."""
    boot: Path
    """tar archive of the FAT partition's files, in a folder named as its mount point's last part."""


def assemble(disk: Disk, image: Path, scratch: Path) -> int:
    """Make the image, a new sparse file; returns its size in bytes.

    Raises NoSpace when content does not fit its partition, EditFailed when a file system is not clean, ToolMissing.
    """
    partitions = _place(disk)
    size = align_up(partitions[-1].start + partitions[-1].size + ALIGN // 2, ALIGN)
    with failures(image), image.open("xb") as file:
        file.truncate(size)
    fat, root = partitions
    _make_ext4(disk, image, root, scratch)
    _make_fat(disk, image, fat)
    _fill_fat(disk, image, fat, scratch)
    _write_table(disk, image, size, partitions)
    for part, argv in (
        (root, ["e2fsck", "-fn", f"{image}?offset={root.start}"]),
        (fat, ["fsck.fat", "-n", str(_copy_of(image, fat, scratch / "fat.img"))]),
    ):
        checked = tools.run(argv, expect=None)
        if checked.returncode:
            raise EditFailed(f"partition {part.number} is not clean: {checked.text[-500:]}", where=str(image))
    return size


def _place(disk: Disk) -> tuple[Partition, Partition]:
    boot, root = disk.layout.partitions
    start = ALIGN
    placed = []
    for number, spec in enumerate((boot, root), 1):
        size = align_up(spec.size or _root_size(disk.root), ALIGN)
        kind = _kind(disk, spec)
        placed.append(Partition(number, start, size, kind, spec.label, disk.identity.uuid(f"part-{number}").upper()))
        start += size
    return placed[0], placed[1]


def _kind(disk: Disk, spec: PartitionSpec) -> str:
    if disk.layout.table == "mbr":
        return mbr.LINUX if spec.role == "root" else mbr.FAT32
    return {"esp": gpt.ESP, "boot": _BASIC_DATA, "root": _ROOT_TYPE[disk.architecture]}[spec.role]


def _root_size(archive: Path) -> int:
    """Bytes for the content in whole blocks, ext4's own needs, and slack; the first boot grows it."""
    content = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            content += align_up(member.size, _BLOCK) if member.isreg() else _BLOCK if member.isdir() else 0
    wanted = content * 115 // 100 + _SLACK + _JOURNAL
    return wanted + wanted // _BYTES_PER_INODE * 256


def _timed(disk: Disk, target: Path) -> Path:
    """The root archive with access and change times in it, too: mke2fs would write 1970 for those."""
    times = {"atime": str(disk.epoch), "ctime": str(disk.epoch)}
    with (
        failures(target),
        tarfile.open(disk.root) as source,
        tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as timed,
    ):
        for member in source:
            member.mtime = min(member.mtime, disk.epoch)
            member.pax_headers = {**member.pax_headers, **times}
            timed.addfile(member, source.extractfile(member) if member.isreg() else None)
    return target


def _make_ext4(disk: Disk, image: Path, part: Partition, scratch: Path) -> None:
    identity = disk.identity
    archive = _timed(disk, scratch / "timed.tar")
    extended = (
        f"offset={part.start},hash_seed={identity.uuid('hash-seed')},root_owner=0:0,lazy_itable_init=0,"
        "lazy_journal_init=0,nodiscard"
    )
    argv = [
        "mke2fs", "-q", "-F", "-t", "ext4", "-o", "Linux", "-O", _FEATURES, "-E", extended, "-e", "remount-ro",
        "-b", str(_BLOCK), "-I", "256", "-i", str(_BYTES_PER_INODE), "-J", f"size={_JOURNAL // MiB}", "-m", "1",
        "-L", part.name, "-U", identity.uuid("root"), "-d", str(archive), str(image), f"{part.size // KiB}k",
    ]  # fmt: skip
    done = tools.run(argv, env=_still(disk), expect=None)
    archive.unlink()
    if done.returncode == 0:
        return
    if "libarchive" in done.complaint:
        raise ToolMissing("mke2fs reads archives by libarchive, which is missing", hint="apt-get install libarchive13")
    if "not a directory" in done.complaint.lower():
        raise ToolMissing("this mke2fs can't read archives; e2fsprogs 1.47.1 or newer is needed", hint=_NEWER)
    if "Could not allocate" in done.complaint or "too big for filesystem" in done.complaint:
        raise NoSpace(f"the packages do not fit a root of {show_size(part.size)}", hint="raise its size in the profile")
    raise EditFailed(f"mke2fs could not make the root: {done.complaint}", where=str(image))


_NEWER = "install e2fsprogs from your distribution's backports (see `imagesmith doctor`)"


def _make_fat(disk: Disk, image: Path, part: Partition) -> None:
    sector = part.start // SECTOR
    # Left to itself mkfs.fat goes by the image's size, not the partition's, and makes too few clusters for a FAT32.
    cluster = 1 if part.size < _SMALL_FAT else 8
    argv = [
        "mkfs.fat", "-F", "32", "-s", str(cluster), "--invariant", "-n", part.name.upper(),
        "-i", f"{disk.identity.serial('boot'):08x}", "-h", str(sector), "--offset", str(sector),
        str(image), str(part.size // KiB),
    ]  # fmt: skip
    done = tools.run(argv, env=_still(disk), expect=None)
    if done.returncode:
        raise EditFailed(f"mkfs.fat could not make the boot partition: {done.complaint}", where=str(image))


def _fill_fat(disk: Disk, image: Path, part: Partition, scratch: Path) -> None:
    """Copy the boot archive's files, folder by folder in sorted order, all with the epoch as their time."""
    top = scratch / "boot"
    _unpack(disk, top)
    place = f"{image}@@{part.start}"
    env = _still(disk)
    for folder, names, files in os.walk(top):
        names.sort()
        inside = Path(folder).relative_to(top).as_posix()
        inside = "" if inside == "." else f"{inside}/"
        sources = [os.path.join(folder, name) for name in sorted(files)]  # noqa: PTH118
        for name in names:
            _mtools(["mmd", "-i", place, f"::{inside}{name}"], env, part)
        if sources:
            _mtools(["mcopy", "-m", "-i", place, *sources, f"::{inside}"], env, part)


def _unpack(disk: Disk, top: Path) -> None:
    """The boot archive's files below `top`. By hand, as Python 3.11.2 has no safe `extractall`."""
    folder = Path(disk.layout.partitions[0].mount).name
    top.mkdir()
    with failures(top), tarfile.open(disk.boot) as tar:
        for member in tar:
            inside = PurePosixPath(member.name).parts
            if not (member.isreg() or member.isdir()) or inside[0] != folder or ".." in inside:
                raise ContentMalformed(f"{member.name} can't be put on FAT", where=str(disk.boot))
            path = top.joinpath(*inside[1:])
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            source = tar.extractfile(member)
            assert source is not None
            with path.open("xb") as target:
                shutil.copyfileobj(source, target, MiB)
            os.utime(path, (disk.epoch, disk.epoch))


def _mtools(argv: list[str], env: dict[str, str], part: Partition) -> None:
    done = tools.run(argv, env=env, expect=None)
    if "Disk full" in done.complaint:
        raise NoSpace(
            f"kernel and boot files do not fit a boot partition of {show_size(part.size)}",
            hint="raise its size in the profile",
        )
    if done.returncode:
        raise EditFailed(f"{argv[0]} could not write the boot partition: {done.complaint}")


def _write_table(disk: Disk, image: Path, size: int, partitions: tuple[Partition, ...]) -> None:
    if disk.layout.table == "mbr":
        pieces = [(0, mbr.encode(mbr.Mbr(disk.identity.serial("disk"), partitions)))]
    else:
        table = gpt.blank(disk.identity.uuid("disk").upper(), size)
        table = gpt.Gpt(
            table.disk_guid, table.sector_size, table.disk_size, table.first_usable, table.last_usable, partitions
        )
        pieces = [(0, gpt.encode_primary(table)), gpt.encode_backup(table)]
    with failures(image), image.open("r+b") as file:
        for offset, data in pieces:
            file.seek(offset)
            file.write(data)


def _copy_of(image: Path, part: Partition, target: Path) -> Path:
    """A partition as a file of its own, for tools that know no offset; holes stay holes."""
    with failures(target), image.open("rb") as source, target.open("wb") as file:
        file.truncate(part.size)
        for at in range(0, part.size, MiB):
            source.seek(part.start + at)
            data = source.read(MiB)
            if data.strip(b"\0"):
                file.seek(at)
                file.write(data)
    return target


def _still(disk: Disk) -> dict[str, str]:
    """An environment in which the tools take every time from the epoch and no setting from this machine."""
    epoch = str(disk.epoch)
    return {
        "SOURCE_DATE_EPOCH": epoch,
        "E2FSPROGS_FAKE_TIME": epoch,
        "MKE2FS_CONFIG": os.devnull,
        "MTOOLSRC": os.devnull,
        "TZ": "UTC",
    }
