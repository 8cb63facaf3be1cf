"""Sealing: digests, the map that bmaptool takes, the packed file, memory."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from made_disks import Disk, MiB, noise, tool

from imagesmith.errors import NoSpace
from imagesmith.events import Event, Progress
from imagesmith.formats import bmap
from imagesmith.image.allocation import used_ranges
from imagesmith.image.raw import RawImage
from imagesmith.output.seal import Sealed, seal


def sparse(path: Path, size: int, *data: tuple[int, bytes]) -> Path:
    with path.open("wb") as stream:
        for offset, content in data:
            stream.seek(offset)
            stream.write(content)
        stream.truncate(size)
    return path


def sealed(disk: Disk, packed: Path | None = None, compress: str = "none") -> Sealed:
    with RawImage(disk.path, writable=False) as raw:
        ranges = used_ranges(raw)
    return seal(disk.path, ranges, compress=compress, packed=packed)  # type: ignore[arg-type]


def test_the_whole_and_every_range_have_their_true_digests(tmp_path: Path) -> None:
    image = sparse(tmp_path / "x.img", 9 * MiB, (4096, noise(3 * MiB)), (7 * MiB, noise(MiB)))
    ranges = [(0, MiB), (2 * MiB, 2 * MiB + 4096), (5 * MiB, 9 * MiB)]
    result = seal(image, ranges, compress="none")
    data = image.read_bytes()
    assert result.digest.hex == hashlib.sha256(data).hexdigest()
    assert [(part.first * 4096, (part.last + 1) * 4096) for part in result.block_map.ranges] == ranges
    for part, (start, end) in zip(result.block_map.ranges, ranges, strict=True):
        assert part.sha256 == hashlib.sha256(data[start:end]).hexdigest()


def test_long_ranges_are_cut_so_that_a_fault_has_a_place(tmp_path: Path) -> None:
    image = sparse(tmp_path / "x.img", 200 * MiB, (0, noise(MiB)))
    parts = seal(image, [(0, 200 * MiB)], compress="none").block_map.ranges
    assert [part.last - part.first + 1 for part in parts] == [16384, 16384, 16384, 2048]


def test_a_last_block_that_is_not_whole_is_kept(tmp_path: Path) -> None:
    image = sparse(tmp_path / "x.img", 2 * MiB + 100, (MiB, noise(MiB + 100)))
    (part,) = seal(image, [(MiB, 2 * MiB + 100)], compress="none").block_map.ranges
    assert part.sha256 == hashlib.sha256(image.read_bytes()[MiB:]).hexdigest()


@pytest.mark.parametrize(
    "ranges", [[(0, 5000)], [(8192, 4096)], [(4096, 8192), (0, 4096)], [(0, 4 * MiB)], [(0, 8192), (4096, 12288)]]
)
def test_ranges_out_of_order_or_unaligned_are_a_mistake(tmp_path: Path, ranges: list[tuple[int, int]]) -> None:
    image = sparse(tmp_path / "x.img", 2 * MiB)
    with pytest.raises(ValueError, match="out of order or not aligned"):
        seal(image, ranges, compress="none")


@pytest.mark.parametrize(("kind", "unpack"), [("zst", ["zstd", "-dc"]), ("xz", ["xz", "-dc"])])
def test_the_packed_file_is_the_image(tmp_path: Path, kind: str, unpack: list[str]) -> None:
    image = sparse(tmp_path / "x.img", 40 * MiB, (MiB, noise(5 * MiB)), (30 * MiB, b"text " * MiB))
    packed = tmp_path / f"x.img.{kind}"
    result = seal(image, [(0, 4096)], compress=kind, packed=packed)  # type: ignore[arg-type]
    assert result.packed_digest and result.packed_digest.hex == hashlib.sha256(packed.read_bytes()).hexdigest()
    assert packed.stat().st_mode & 0o777 == 0o600
    unpacked = subprocess.run([*unpack, str(packed)], capture_output=True, check=True).stdout
    assert hashlib.sha256(unpacked).hexdigest() == result.digest.hex


@pytest.mark.parametrize("kind", ["zst", "xz"])
def test_holes_and_written_zeros_pack_to_the_same_bytes(tmp_path: Path, kind: str) -> None:
    content = noise(3 * MiB) + bytes(5 * MiB) + noise(2 * MiB, 2) + bytes(7 * MiB + 4096)
    (tmp_path / "full").write_bytes(content)
    sparse(tmp_path / "holes", len(content), (0, content[: 3 * MiB]), (8 * MiB, noise(2 * MiB, 2)))
    digests = {
        seal(tmp_path / name, [(0, 4096)], compress=kind, packed=tmp_path / f"{name}.packed").packed_digest  # type: ignore[arg-type]
        for name in ("full", "holes")
    }
    assert len(digests) == 1


def test_zst_is_the_same_whatever_the_number_of_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = sparse(tmp_path / "x.img", 60 * MiB, (MiB, noise(9 * MiB)), (30 * MiB, b"some text " * MiB))
    digests = set()
    for cores in (1, 3):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        digests.add(seal(image, [(0, 4096)], compress="zst", packed=tmp_path / f"{cores}.zst").packed_digest)
    assert len(digests) == 1


def test_progress_ends_with_the_whole(tmp_path: Path) -> None:
    told: list[Event] = []
    seal(sparse(tmp_path / "x.img", 10 * MiB, (0, noise(MiB))), [(0, 4096)], compress="none", listener=told.append)
    assert told[-1] == Progress("seal", 10 * MiB, 10 * MiB)


@pytest.mark.parametrize("kind", ["zst", "xz"])
@pytest.mark.root
def test_a_full_disk_is_no_space(tmp_path: Path, kind: str) -> None:
    image = sparse(tmp_path / "x.img", 5 * MiB, (0, noise(5 * MiB)))
    small = tmp_path / "small"
    small.mkdir()
    tool("mount", "-t", "tmpfs", "-o", "size=2m", "none", small)
    try:
        with pytest.raises(NoSpace, match="compressed image"):
            seal(image, [(0, 4096)], compress=kind, packed=small / "x.packed")  # type: ignore[arg-type]
    finally:
        tool("umount", small)


def test_bmaptool_writes_a_dirty_card_that_is_right(pi_disk: Disk, tmp_path: Path) -> None:
    """Zeros are not holes: on a card full of 0xFF, all that a file system uses must be written, zeros too."""
    result = sealed(pi_disk)
    (tmp_path / "node.bmap").write_text(bmap.encode(result.block_map))
    size = pi_disk.path.stat().st_size
    card = Disk(tmp_path / "card", pi_disk.offsets, pi_disk.sizes)
    card.path.write_bytes(b"\xff" * size)
    tool("bmaptool", "copy", "--no-sig-verify", "--bmap", tmp_path / "node.bmap", pi_disk.path, card.path)
    assert result.block_map.mapped_bytes < size / 2 and card.path.stat().st_size == size

    root = card.extract("root", tmp_path / "card.ext4")
    tool("e2fsck", "-fn", root)
    tool("fsck.fat", "-n", card.extract("boot", tmp_path / "card.fat"))
    assert card.on_fat("/zeros.bin") == bytes(2 * MiB)
    (tmp_path / "out").mkdir()
    tool("debugfs", "-R", f"rdump /home /usr /etc {tmp_path}/out", root)
    for path in sorted((tmp_path / "tree").rglob("*")):
        if path.is_file() and not path.is_symlink():
            assert (tmp_path / "out" / path.relative_to(tmp_path / "tree")).read_bytes() == path.read_bytes(), path
    assert pi_disk.path.read_bytes()[: 4 * MiB] == card.path.read_bytes()[: 4 * MiB]


def test_the_trial_card_would_be_wrong_with_holes_left_out(pi_disk: Disk, tmp_path: Path) -> None:
    """The trial above can fail: written by its data extents alone, this very image spoils the card."""
    card = Disk(tmp_path / "card", pi_disk.offsets, pi_disk.sizes)
    data = pi_disk.path.read_bytes()
    written = b"".join(
        block if block.strip(b"\0") else b"\xff" * 4096
        for block in (data[at : at + 4096] for at in range(0, len(data), 4096))
    )
    card.path.write_bytes(written)
    done = subprocess.run(
        ["/usr/sbin/fsck.fat", "-n", card.extract("boot", tmp_path / "f")], capture_output=True, check=False
    )
    assert done.returncode != 0


WATCHED = """
import os, re, sys, threading, time
from pathlib import Path
from imagesmith.output.seal import seal

peaks = {}

def peak(pid):
    found = re.search(r"VmHWM:\\s+(\\d+)", Path(f"/proc/{pid}/status").read_text())
    peaks[pid] = int(found[1]) if found else peaks.get(pid, 0)

def watch():
    while True:
        for thread in os.listdir("/proc/self/task"):
            try:
                for child in Path(f"/proc/self/task/{thread}/children").read_text().split():
                    peak(child)
            except OSError:
                pass
        time.sleep(0.05)

threading.Thread(target=watch, daemon=True).start()
image = Path(sys.argv[1])
seal(image, [(0, image.stat().st_size)], compress=sys.argv[2], packed=image.with_name("packed"))
peak("self")
print(len(peaks), sum(peaks.values()))
"""


@pytest.mark.parametrize(("kind", "size", "processes"), [("zst", 1500, 1), ("xz", 100, 2)])
def test_memory_does_not_grow_with_the_image(tmp_path: Path, kind: str, size: int, processes: int) -> None:
    image = sparse(tmp_path / "x.img", size * MiB, *((at * MiB, noise(4 * MiB, at)) for at in range(0, size - 4, 40)))
    done = subprocess.run([sys.executable, "-c", WATCHED, image, kind], capture_output=True, text=True, check=True)
    seen, kib = map(int, done.stdout.split())
    assert seen == processes
    assert kib < 200 * 1024
