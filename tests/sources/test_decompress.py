"""Expanding published images; the packers are the real ones."""

import bz2
import functools
import gzip
import hashlib
import io
import lzma
import os
import random
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from backports import zstd

from imagesmith.errors import ContentMalformed
from imagesmith.sources.decompress import Expanded, expand
from imagesmith.sources.xz_blocks import blocks_of
from imagesmith.units import GiB, KiB, MiB


def _xz(data: bytes, *options: str) -> bytes:
    return subprocess.run(["xz", "-c", *options], input=data, stdout=subprocess.PIPE, check=True).stdout


def _zip(data: bytes, *names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, data)
    return out.getvalue()


def _qcow2(data: bytes, folder: Path, *options: str) -> bytes:
    raw, out = folder / "q.raw", folder / "q.qcow2"
    raw.write_bytes(data)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, raw, out], check=True)
    return out.read_bytes()


PACKERS = {
    "raw": lambda data: data,
    "xz": lambda data: _xz(data, "-1"),
    "xz blocks": lambda data: _xz(data, "-1", "-T2", "--block-size=100KiB"),
    "xz blocks crc32": lambda data: _xz(data, "-1", "-T2", "--block-size=100KiB", "--check=crc32"),
    "xz blocks sha256": lambda data: _xz(data, "-1", "-T2", "--block-size=100KiB", "--check=sha256"),
    "xz bcj": lambda data: _xz(data, "--block-size=100KiB", "--x86", "--lzma2=preset=1"),
    "xz streams": lambda data: _xz(data[:300_001], "-1") + bytes(8) + _xz(data[300_001:], "-1") + bytes(4),
    "gz": gzip.compress,
    "gz members": lambda data: gzip.compress(data[:9]) + gzip.compress(b"") + gzip.compress(data[9:]),
    "zst": zstd.compress,
    "zst frames": lambda data: zstd.compress(data[:9]) + b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstd.compress(data[9:]),
    "bz2": bz2.compress,
    "bz2 streams": lambda data: bz2.compress(data[:9]) + bz2.compress(data[9:]),
    "zip": lambda data: _zip(data, "disk.img"),
}


@functools.cache
def _packed(packer: str, image: bytes) -> bytes:
    return PACKERS[packer](image)


STREAMED = [name for name in PACKERS if name != "zip"]


def _expanded(packed: bytes, folder: Path, **options: int) -> tuple[Expanded, bytes]:
    source = folder / "packed"
    source.write_bytes(packed)
    done = expand(source, folder / "raw", **options)  # type: ignore[arg-type]
    return done, (folder / "raw").read_bytes()


@pytest.mark.parametrize("packer", PACKERS)
def test_every_format_gives_the_image_its_size_and_its_digest(packer: str, image: bytes, tmp_path: Path) -> None:
    done, raw = _expanded(_packed(packer, image), tmp_path)
    assert raw == image
    assert done == Expanded(len(image), done.digest, packer.split()[0])  # type: ignore[arg-type]
    assert done.digest.hex == hashlib.sha256(image).hexdigest()


@pytest.mark.parametrize("packer", STREAMED)
def test_a_pipe_gives_the_same(packer: str, image: bytes, tmp_path: Path) -> None:
    class Pipe:
        def __init__(self, data: bytes) -> None:
            self._file = io.BytesIO(data)

        def read(self, size: int, /) -> bytes:
            return self._file.read(min(size, 1000))

    done = expand(Pipe(_packed(packer, image)), tmp_path / "raw")
    assert (tmp_path / "raw").read_bytes() == image
    assert done.digest.hex == hashlib.sha256(image).hexdigest()


@pytest.mark.parametrize("options", [(), ("-c",), ("-c", "-o", "compression_type=zstd"), ("-o", "compat=0.10"),
                                     ("-c", "-o", "cluster_size=4k")])  # fmt: skip
def test_qcow2_gives_what_qemu_was_given(options: tuple[str, ...], image: bytes, tmp_path: Path) -> None:
    image = image[: len(image) // 512 * 512]
    done, raw = _expanded(_qcow2(image, tmp_path, *options), tmp_path)
    assert raw == image
    assert done.format == "qcow2"


def test_a_qcow2_cut_in_its_last_data_cluster_is_refused(tmp_path: Path) -> None:
    packed = _qcow2(os.urandom(256 * KiB), tmp_path)
    with pytest.raises(ContentMalformed, match="truncated"):
        _expanded(packed[:-4096], tmp_path)


def test_a_qcow2_may_end_where_its_raw_image_does(tmp_path: Path) -> None:
    data = os.urandom(130 * KiB)
    unread = 64 * KiB - len(data) % (64 * KiB)
    assert _expanded(_qcow2(data, tmp_path)[:-unread], tmp_path)[1] == data


@pytest.mark.parametrize("packer", [name for name in PACKERS if name != "raw"])
@pytest.mark.parametrize("share", [0.0005, 0.3, 0.7, 0.99, 0.99999])
def test_truncation_is_found_anywhere(packer: str, share: float, image: bytes, tmp_path: Path) -> None:
    packed = _packed(packer, image)
    if packer == "xz streams":
        packed = packed[:-8]  # without the end's padding, which may go
    cut = min(int(len(packed) * share), len(packed) - 1)
    with pytest.raises(ContentMalformed):
        _expanded(packed[: max(cut, 6)], tmp_path)


@pytest.mark.parametrize("packer", [name for name in PACKERS if name not in ("raw", "zip")])
def test_what_follows_the_data_is_an_error(packer: str, image: bytes, tmp_path: Path) -> None:
    with pytest.raises(ContentMalformed, match="follows the end of the"):
        _expanded(_packed(packer, image) + b"garbage after the end", tmp_path)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_xz_padding_comes_in_fours(count: int, image: bytes, tmp_path: Path) -> None:
    with pytest.raises(ContentMalformed, match="padding"):
        _expanded(_packed("xz", image) + bytes(count), tmp_path)


@pytest.mark.parametrize("packer", ["xz", "xz blocks", "xz blocks crc32", "xz blocks sha256", "gz", "bz2", "zip"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
def test_a_flipped_bit_is_found(packer: str, share: float, image: bytes, tmp_path: Path) -> None:
    packed = bytearray(_packed(packer, image))
    packed[int(len(packed) * share)] ^= 4
    with pytest.raises(ContentMalformed):
        _expanded(bytes(packed), tmp_path)


def test_a_block_with_another_blocks_bytes_is_found(image: bytes, tmp_path: Path) -> None:
    packed = bytearray(_xz(image, "-1", "-T2", "--block-size=100KiB"))
    with (tmp_path / "x").open("w+b") as file:
        file.write(packed)
        file.flush()
        first, second = blocks_of(file.fileno(), len(packed))[:2]
    one = packed[first.offset : first.offset + first.unpadded]
    packed[first.offset + 40 : first.offset + 60] = packed[second.offset + 40 : second.offset + 60]
    assert one != packed[first.offset : first.offset + first.unpadded]
    with pytest.raises(ContentMalformed):
        _expanded(bytes(packed), tmp_path)


def test_zero_runs_become_holes_and_the_end_is_kept(tmp_path: Path) -> None:
    chance = random.Random(3)
    image = chance.randbytes(64 * KiB) + bytes(8 * MiB) + chance.randbytes(5) + bytes(3 * MiB + 17)
    done, raw = _expanded(_xz(image, "-0", "-T2", "--block-size=1MiB"), tmp_path)
    assert raw == image
    assert done.size == len(image)
    assert (tmp_path / "raw").stat().st_blocks * 512 <= 64 * KiB + 3 * 4 * KiB


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"<!DOCTYPE html>\n<html><body>not found</body></html>", "an HTML page"),
        (b"\n  <html lang='en'>" + b" " * 900, "an HTML page"),
        (b"Not Found\n", "a text file .'Not Found'"),
        (b"", "an empty file"),
        (os.urandom(0x8001) + b"CD001" + os.urandom(9000), "an ISO"),
        (b"7z\xbc\xaf\x27\x1c" + os.urandom(100), "a 7z archive"),
        (b"\x7fELF" + os.urandom(100), "a program"),
    ],
)
def test_what_is_no_image_is_named(content: bytes, name: str, tmp_path: Path) -> None:
    with pytest.raises(ContentMalformed, match=f"this is {name}") as raised:
        _expanded(content, tmp_path)
    assert raised.value.exit_code == 4
    with pytest.raises(ContentMalformed):
        _expanded(gzip.compress(content), tmp_path)


def test_a_packed_file_inside_a_packed_file_is_named(image: bytes, tmp_path: Path) -> None:
    with pytest.raises(ContentMalformed, match="inside is another gz file"):
        _expanded(lzma.compress(gzip.compress(image)), tmp_path)


@pytest.mark.parametrize("packer", PACKERS)
def test_the_limit_holds_for_every_format(packer: str, image: bytes, tmp_path: Path) -> None:
    assert _expanded(_packed(packer, image), tmp_path, limit=len(image))[1] == image
    with pytest.raises(ContentMalformed, match="expands to more than"):
        _expanded(_packed(packer, image), tmp_path, limit=len(image) - 1)


def test_a_bomb_whose_index_tells_it_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    block = _xz(bytes(64 * MiB), "-0")
    with (tmp_path / "bomb").open("wb") as file:
        for _ in range(160):
            file.write(block)
    with pytest.raises(ContentMalformed, match="made to fill disks"):
        expand(tmp_path / "bomb", tmp_path / "raw", limit=20 * GiB)
    assert (tmp_path / "raw").stat().st_blocks == 0


def test_zip_with_two_members_is_refused(image: bytes, tmp_path: Path) -> None:
    with pytest.raises(ContentMalformed, match="holds 2 files"):
        _expanded(_zip(image, "a.img", "b.img"), tmp_path)


def test_an_encrypted_zip_is_refused(image: bytes, tmp_path: Path) -> None:
    packed = bytearray(_zip(image, "a.img"))
    packed[6] |= 1
    central = packed.rindex(b"PK\x01\x02")
    packed[central + 8] |= 1
    with pytest.raises(ContentMalformed, match="is encrypted"):
        _expanded(bytes(packed), tmp_path)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (8, struct.pack(">QI", 512, 11), "needs a backing file"),
        (32, struct.pack(">I", 1), "is encrypted"),
        (72, struct.pack(">Q", 4), "keeps its data in another file"),
        (72, struct.pack(">Q", 2), "was not closed properly"),
        (4, struct.pack(">I", 9), "version 9"),
        (24, struct.pack(">Q", 400 * MiB), "expands to more than"),
        (20, struct.pack(">I", 40), "makes no sense"),
    ],
)
def test_a_qcow2_that_must_not_be_read_is_refused(
    offset: int, value: bytes, message: str, image: bytes, tmp_path: Path
) -> None:
    packed = bytearray(_qcow2(image[: 512 * KiB], tmp_path))
    packed[offset : offset + len(value)] = value
    with pytest.raises(ContentMalformed, match=message):
        _expanded(bytes(packed), tmp_path, limit=256 * MiB)


def test_a_dictionary_beyond_the_budget_is_refused(image: bytes, tmp_path: Path) -> None:
    packed = _xz(image, "--lzma2=preset=0,dict=256MiB")
    with pytest.raises(ContentMalformed, match="more memory"):
        _expanded(packed, tmp_path, memory=32 * MiB)


@pytest.mark.slow
def test_memory_stays_below_the_promise_with_the_largest_dictionary(tmp_path: Path) -> None:
    raw, packed = tmp_path / "in", tmp_path / "in.xz"
    chance = random.Random(5)
    with raw.open("wb") as file:
        for _ in range(160):
            file.write(chance.randbytes(100 * KiB) * 10)
    subprocess.run(["xz", "-k", "-9", "--lzma2=preset=0,dict=64MiB", "--block-size=70MiB", raw], check=True)
    program = (
        "import re, sys; from pathlib import Path; from imagesmith.sources.decompress import expand\n"
        "expand(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        # Not ru_maxrss: that also counts what the process was before it became this program.
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run([sys.executable, "-c", program, packed, tmp_path / "out"], stdout=subprocess.PIPE, check=True)
    assert int(done.stdout) * KiB < 256 * MiB
    assert (tmp_path / "out").read_bytes() == raw.read_bytes()
