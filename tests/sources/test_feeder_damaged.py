"""What the feeder refuses: each with the error of its class, before the end, and never Delivered."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from feeding import PACKERS, Feeding, feeding, from_file, piped, qcow2, xz, zipped

from imagesmith.errors import ContentMalformed, DigestMismatch, ImagesmithError, IOFailed
from imagesmith.messages import Batch, Deliver, Delivered, Free, Look
from imagesmith.units import GiB, KiB, MiB

IMAGE = b"\xeb\x63\x90" + random.Random(13).randbytes(3 * MiB + 64 * KiB - 3)
SHA = hashlib.sha256(IMAGE).hexdigest()
STREAMS = ("xz", "xz blocks", "gz", "zst", "zst frames", "bz2")
WRONG = "0" * 64


def everything(path: Path, **look: str) -> None:
    with from_file(path, 4, **look) as feeder:
        feeder.deliver(everything=True, step=MiB)


def through_a_pipe(path: Path) -> None:
    with piped("cat", path) as (feeder, number):
        feeder.look(Look("-", number))
        feeder.deliver(everything=True, step=MiB)


def refusal(path: Path, kind: type[ImagesmithError], words: str, **look: str) -> ImagesmithError:
    with pytest.raises(kind, match=words) as raised:
        everything(path, **look)
    assert type(raised.value) is kind
    assert raised.value.where.startswith(path.name)
    return raised.value


@pytest.fixture(scope="module")
def packed() -> dict[str, bytes]:
    return {name: pack(IMAGE) for name, pack in PACKERS.items()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "disk"


@pytest.mark.parametrize("share", [0.00001, 0.3, 0.99, 0.999999])
@pytest.mark.parametrize("packer", [name for name in PACKERS if name != "raw"])
def test_a_truncated_file(packed: dict[str, bytes], packer: str, share: float, file: Path) -> None:
    file.write_bytes(packed[packer][: max(int(len(packed[packer]) * share), 6)])
    refusal(file, ContentMalformed, "truncated|damaged|is no|not a disk image")
    if packer in STREAMS:
        with pytest.raises(ContentMalformed):
            through_a_pipe(file)


@pytest.mark.parametrize("packer", ["xz", "xz blocks", "xz streams"])
@pytest.mark.parametrize("end", [b"", bytes(8), bytes(MiB)])
def test_a_truncated_xz_file_is_refused_at_the_first_look(
    packed: dict[str, bytes], packer: str, end: bytes, file: Path
) -> None:
    for size in (40, len(packed[packer]) // 2, len(packed[packer]) - 4):
        file.write_bytes(packed[packer][:size] + end)
        with pytest.raises(ContentMalformed, match="truncated"), from_file(file):
            pass


def test_an_xz_file_may_end_in_padding(packed: dict[str, bytes], file: Path) -> None:
    for size in (4, 256 * KiB, 256 * KiB + 8, MiB):
        file.write_bytes(packed["xz blocks"] + bytes(size))
        with from_file(file) as feeder:
            assert feeder.looked.size == len(IMAGE)


@pytest.mark.parametrize("packer", STREAMS)
def test_something_behind_the_end(packed: dict[str, bytes], packer: str, file: Path) -> None:
    file.write_bytes(packed[packer] + b"garbage after the end")
    refusal(file, ContentMalformed, "follows the end of the")
    with pytest.raises(ContentMalformed, match="follows the end of the"):
        through_a_pipe(file)


@pytest.mark.parametrize("share", [0.2, 0.9])
@pytest.mark.parametrize("packer", ["xz", "xz blocks", "xz odd blocks", "gz", "bz2", "zip"])
def test_a_flipped_bit(packed: dict[str, bytes], packer: str, share: float, file: Path) -> None:
    bad = bytearray(packed[packer])
    bad[int(len(bad) * share)] ^= 4
    file.write_bytes(bad)
    refusal(file, ContentMalformed, "damaged|promises")


def test_a_damaged_block_is_found_when_it_is_wanted(packed: dict[str, bytes], file: Path) -> None:
    bad = bytearray(packed["xz blocks"])
    bad[len(bad) // 2] ^= 4  # in the second of four blocks
    file.write_bytes(bad)
    with from_file(file) as feeder:
        assert feeder.deliver(spans=((0, MiB, ""), (3 * MiB, 4096, ""))).end == Delivered(len(IMAGE))
    with from_file(file) as feeder, pytest.raises(ContentMalformed, match="xz data is damaged"):
        feeder.deliver(spans=((MiB, 4096, ""),))


@pytest.mark.parametrize("packer", ["raw", "xz blocks", "gz", "qcow2"])
@pytest.mark.parametrize(("size", "step", "cuts"), [(8192, MiB, ()), (3 * MiB, MiB, ()), (MiB, MiB, (4096,))])
def test_a_promise_of_a_span_that_is_not_kept(
    packed: dict[str, bytes], packer: str, size: int, step: int, cuts: tuple[int, ...], file: Path
) -> None:
    file.write_bytes(packed[packer])
    spans = ((0, size, WRONG), (size, 4096, hashlib.sha256(IMAGE[size : size + 4096]).hexdigest()))
    with from_file(file) as feeder, pytest.raises(DigestMismatch) as raised:
        feeder.deliver(spans=spans, step=step, cuts=cuts)
    assert raised.value.what.startswith(f"the image file is damaged: bytes 0-{size - 1} are not what its block map")
    assert (raised.value.where, bool(raised.value.hint)) == ("disk", True)


@pytest.mark.parametrize("packer", ["raw", "zst"])
@pytest.mark.parametrize("promised", [f"sha256:{WRONG}", f"sha512:{WRONG}{WRONG}"])
def test_a_promise_of_the_whole_image_that_is_not_kept(
    packed: dict[str, bytes], packer: str, promised: str, file: Path
) -> None:
    file.write_bytes(packed[packer])
    with from_file(file) as feeder, pytest.raises(DigestMismatch, match="not the one that was promised"):
        feeder.deliver(everything=True, step=MiB, digest=promised)
    with from_file(file) as feeder:
        feeder.deliver(everything=True, digest=f"sha512:{hashlib.sha512(IMAGE).hexdigest()}")


@pytest.mark.parametrize("packer", ["raw", "xz blocks", "zst", "qcow2", "zip"])
def test_a_promise_of_the_file_as_it_lies(packed: dict[str, bytes], packer: str, file: Path) -> None:
    file.write_bytes(packed[packer])
    everything(file, digest=f"sha256:{hashlib.sha256(packed[packer]).hexdigest()}")
    refusal(file, DigestMismatch, "as was promised", digest=f"sha256:{WRONG}")


@pytest.mark.parametrize("packer", ["raw", "xz blocks", "gz", "qcow2"])
def test_an_image_that_ends_before_what_is_wanted(packed: dict[str, bytes], packer: str, file: Path) -> None:
    file.write_bytes(packed[packer])
    with from_file(file) as feeder, pytest.raises(ContentMalformed, match=f"ends at byte {len(IMAGE)}, but its block"):
        feeder.deliver(spans=((0, 4096, ""), (len(IMAGE) - 4096, 4097, "")))


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("disk.img"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"<!DOCTYPE html>\n<html><body>not found</body></html>", "an HTML page"),
        (b"", "an empty file"),
        (os.urandom(0x8001) + b"CD001" + os.urandom(9000), "an ISO"),
        (tar(), "a tar archive"),
        (b"not found\n", "a text file"),
    ],
)
def test_what_is_no_image_is_named_at_the_first_look(content: bytes, name: str, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(ContentMalformed, match=f"this is {name}"), from_file(file):
        pass
    with pytest.raises(ContentMalformed, match=f"this is {name}"), piped("cat", file) as (feeder, number):
        feeder.look(Look("-", number))
    for packer in (gzip.compress, xz, zipped):
        file.write_bytes(packer(content))
        with pytest.raises(ContentMalformed, match=f"this is {name}"), from_file(file):
            pass


def test_an_image_packed_twice(file: Path) -> None:
    file.write_bytes(xz(gzip.compress(IMAGE)))
    refusal(file, ContentMalformed, "inside is another gz file")


@pytest.mark.parametrize("packer", ["zip", "qcow2"])
def test_what_must_be_read_by_position_is_refused_from_a_pipe(
    packed: dict[str, bytes], packer: str, file: Path
) -> None:
    file.write_bytes(packed[packer])
    with pytest.raises(ContentMalformed, match=f"a {packer} cannot be read from a pipe") as raised:
        through_a_pipe(file)
    assert "save it to a file" in raised.value.hint


def test_a_zip_that_is_not_one_image(file: Path) -> None:
    file.write_bytes(zipped(IMAGE, "other.img"))
    refusal(file, ContentMalformed, "holds 2 files")
    encrypted = bytearray(zipped(IMAGE))
    encrypted[6] |= 1
    encrypted[encrypted.rindex(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(encrypted)
    refusal(file, ContentMalformed, "is encrypted")


def test_a_qcow2_with_a_backing_file(file: Path) -> None:
    bad = bytearray(qcow2(IMAGE))
    bad[8:20] = struct.pack(">QI", 512, 11)
    file.write_bytes(bad)
    assert "qemu-img convert -O raw" in refusal(file, ContentMalformed, "needs a backing file").hint


def test_a_bomb_that_an_index_tells_of(file: Path) -> None:
    file.write_bytes(xz(bytes(64 * MiB)) * 160)
    with pytest.raises(ContentMalformed, match="made to fill disks"), from_file(file):
        pass


def test_a_bomb_that_a_header_tells_of(file: Path) -> None:
    blocks = 10 * GiB // (128 * KiB)
    rle = (128 * KiB << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    last = (128 * KiB << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    file.write_bytes(b"\x28\xb5\x2f\xfd\xc0\x58" + (10 * GiB).to_bytes(8, "little") + rle * (blocks - 1) + last)
    with pytest.raises(ContentMalformed, match="made to fill disks"), from_file(file):
        pass


@pytest.mark.parametrize("packer", ["xz", "xz blocks"])
def test_a_dictionary_that_does_not_fit_the_memory(packer: str, file: Path) -> None:
    more = () if packer == "xz" else ("--block-size=1MiB",)
    file.write_bytes(xz(IMAGE, "--lzma2=preset=0,dict=256MiB", *more))
    refusal(file, ContentMalformed, "more memory")


# -- files that change under it -------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    image = b"\xeb\x63\x90" + random.Random(17).randbytes(40 * MiB)
    return {name: PACKERS[name](image) for name in ("raw", "xz blocks", "xz", "zst", "zip")}


def waiting(path: Path) -> Iterator[Feeding]:
    """A feeder that has filled all of a small ring, and waits in the middle of the file."""
    with path.open("rb") as source, feeding(source.fileno(), 4) as feeder:
        feeder.look(Look("disk", source.fileno()))
        feeder.link.send(Deliver(everything=True))
        yield feeder


def goes_on(feeder: Feeding) -> None:
    while not isinstance(message := feeder.hear(), Delivered):
        if isinstance(message, Batch):
            feeder.link.send(Free(message.slot))


@pytest.mark.parametrize("packer", ["raw", "xz blocks", "xz", "zst", "zip"])
def test_a_file_that_becomes_shorter_while_it_is_read(large: dict[str, bytes], packer: str, file: Path) -> None:
    file.write_bytes(large[packer])
    for feeder in waiting(file):
        first = feeder.hear(Batch)
        os.truncate(file, len(large[packer]) - 9 * MiB)
        feeder.link.send(Free(first.slot))
        with pytest.raises(IOFailed, match="became shorter while it was read") as raised:
            goes_on(feeder)
        assert "do not build into it" in raised.value.hint


@pytest.mark.parametrize("packer", ["raw", "xz blocks", "zst"])
def test_a_file_that_is_written_to_while_it_is_read(large: dict[str, bytes], packer: str, file: Path) -> None:
    file.write_bytes(large[packer])
    for feeder in waiting(file):
        first = feeder.hear(Batch)
        with file.open("r+b") as other:
            other.write(large[packer][:512])  # even the same bytes: which of them were read, nobody knows
        feeder.link.send(Free(first.slot))
        with pytest.raises(IOFailed, match="was written to while it was read"):
            goes_on(feeder)


def test_after_a_failure_it_only_waits_for_the_end(file: Path) -> None:
    file.write_bytes(b"")
    with file.open("rb") as source, feeding(source.fileno()) as feeder:
        with pytest.raises(ContentMalformed):
            feeder.look(Look("disk", source.fileno()))
        feeder.link.send(Deliver(everything=True))
        feeder.end.settimeout(0.5)
        with pytest.raises(TimeoutError):
            feeder.hear()
        assert feeder.process.poll() is None
