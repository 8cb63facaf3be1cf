"""The feeder's contract, with the real child process: every byte that is wanted comes once, with its digest."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import random
import signal
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from backports import zstd
from feeding import Feeding, expected_runs, feeding, in_any_order

from imagesmith.errors import DigestMismatch
from imagesmith.messages import Batch, Deliver, Look
from imagesmith.units import KiB, MiB

CHANCE = random.Random(11)
IMAGE = b"\xeb\x63\x90" + CHANCE.randbytes(3 * MiB + 17) + bytes(2 * MiB) + CHANCE.randbytes(9 * MiB + 1004)
SHA = hashlib.sha256(IMAGE).hexdigest()
SPANS = ((0, 64 * KiB), (64 * KiB, 4096), (1 * MiB, 3 * MiB), (5 * MiB, 5 * MiB), (len(IMAGE) - 4001, 4001))


def xz(data: bytes, *options: str) -> bytes:
    return subprocess.run(["xz", "-c", "-0", *options], input=data, stdout=subprocess.PIPE, check=True).stdout


def zipped(data: bytes, *more: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("disk.img", *more):
            archive.writestr(name, data)
    return out.getvalue()


def qcow2(data: bytes, *options: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder, "raw"), Path(folder, "qcow2")
        raw.write_bytes(data)
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, raw, out], check=True)
        return out.read_bytes()


PACKERS = {
    "raw": lambda data: data,
    "xz": xz,
    "xz blocks": lambda data: xz(data, "-T2", "--block-size=1MiB"),
    "xz odd blocks": lambda data: xz(data, "-T2", "--block-size=1000001"),
    "xz streams": lambda data: xz(data[: 5 * MiB]) + bytes(8) + xz(data[5 * MiB :]),
    "gz": lambda data: gzip.compress(data, 1),
    "zst": zstd.compress,
    "zst frames": lambda data: zstd.compress(data[:9]) + b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstd.compress(data[9:]),
    "bz2": lambda data: bz2.compress(data, 1),
    "zip": zipped,
    "qcow2": qcow2,
    "qcow2 packed": lambda data: qcow2(data, "-c"),
}
SIZE_KNOWN = {"raw", "xz", "xz blocks", "xz odd blocks", "xz streams", "zst", "zip", "qcow2", "qcow2 packed"}
FROM_FILES = ("zip", "qcow2", "qcow2 packed")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("packed")
    for name, pack in PACKERS.items():
        (folder / name).write_bytes(pack(IMAGE))
    return {name: folder / name for name in PACKERS}


@contextmanager
def from_file(path: Path, slots: int = 6, **look: str) -> Iterator[Feeding]:
    """A feeder that has looked at a file."""
    with path.open("rb") as file, feeding(file.fileno(), slots) as feeder:
        feeder.look(Look(path.name, file.fileno(), **look))
        yield feeder


@pytest.fixture(params=[name for name in PACKERS if name not in FROM_FILES])
def streamed(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=PACKERS)
def packer(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_look_tells_what_it_is(packed: dict[str, Path], packer: str) -> None:
    with from_file(packed[packer]) as feeder:
        found = feeder.looked
        assert feeder.head == IMAGE[:MiB]
        assert found.format == packer.split()[0]
        assert found.size == (len(IMAGE) if packer in SIZE_KNOWN else 0)
        assert found.again


def test_everything_comes_from_a_file(packed: dict[str, Path], packer: str) -> None:
    with from_file(packed[packer]) as feeder:
        for _ in range(2):
            got = feeder.deliver(everything=True, cuts=(4096, 3 * MiB), step=MiB, digest=f"sha256:{SHA}")
            assert got.spans() == [(0, IMAGE)]
            assert got.digested == expected_runs(IMAGE, [(0, len(IMAGE))], (4096, 3 * MiB), MiB)
            assert (got.end.size, got.end.sha256) == (len(IMAGE), SHA)


def test_spans_come_from_a_file(packed: dict[str, Path], packer: str) -> None:
    spans = tuple((at, size, hashlib.sha256(IMAGE[at : at + size]).hexdigest()) for at, size in SPANS)
    cuts = (4096, 2 * MiB, 6 * MiB + 4096)
    with from_file(packed[packer]) as feeder:
        got = feeder.deliver(spans=spans, cuts=cuts, step=2 * MiB)
        for offset, data in got.pieces:
            assert data == IMAGE[offset : offset + len(data)]
            assert not [cut for cut in cuts if offset < cut < offset + len(data)]
        wanted = sorted((at, size) for at, size in SPANS)
        assert sum(len(data) for _, data in got.pieces) == sum(size for _, size in wanted)
        assert got.digested == expected_runs(IMAGE, wanted, cuts, 2 * MiB)


@contextmanager
def piped(*argv: object) -> Iterator[tuple[Feeding, int]]:
    """A feeder at the end of a command's pipe."""
    with subprocess.Popen([str(word) for word in argv], stdout=subprocess.PIPE) as source:
        assert source.stdout
        number = source.stdout.fileno()
        with feeding(number) as feeder:
            source.stdout.close()
            yield feeder, number


def test_everything_comes_through_a_pipe(packed: dict[str, Path], streamed: str) -> None:
    digest = f"sha256:{hashlib.sha256(packed[streamed].read_bytes()).hexdigest()}"
    with piped("cat", packed[streamed]) as (feeder, number):
        found = feeder.look(Look("-", number, digest=digest))
        assert (found.size, found.again, feeder.head) == (0, False, IMAGE[:MiB])
        got = feeder.deliver(everything=True, step=MiB)
        assert got.spans() == [(0, IMAGE)]
        assert (got.end.size, got.end.sha256) == (len(IMAGE), SHA)


def test_a_pipe_that_is_not_what_was_promised_is_told(packed: dict[str, Path], streamed: str) -> None:
    with piped("cat", packed[streamed]) as (feeder, number):
        feeder.look(Look("-", number, digest=f"sha512:{'0' * 128}"))
        with pytest.raises(DigestMismatch, match="as was promised"):
            feeder.deliver(spans=((0, 4096, ""),), step=MiB)


@pytest.mark.parametrize("slots", [4, 5, 16])
def test_slots_may_be_freed_in_any_order(packed: dict[str, Path], packer: str, slots: int) -> None:
    with from_file(packed[packer], slots) as feeder:
        got = feeder.deliver(in_any_order(random.Random(slots), slots - 1), everything=True, step=300_000)
        assert got.spans() == [(0, IMAGE)]


@pytest.mark.parametrize("packer", ["raw", "xz blocks", "gz", "qcow2"])
def test_a_full_ring_makes_it_wait(packed: dict[str, Path], packer: str) -> None:
    with from_file(packed[packer], 4) as feeder:
        feeder.link.send(Deliver(everything=True, step=MiB))
        feeder.end.settimeout(1)
        batches = []
        with pytest.raises(TimeoutError):
            while True:
                if isinstance(message := feeder.hear(), Batch):
                    batches.append(message.slot)
        assert len(set(batches)) == len(batches) <= 4


def test_it_ends_when_the_conductor_does(packed: dict[str, Path], packer: str) -> None:
    with from_file(packed[packer], 4) as feeder:
        feeder.link.send(Deliver(everything=True, step=MiB))
        feeder.hear(Batch)
        # `feeding` hangs up now, and asserts that the child ends.


def test_it_ends_with_the_conductor_while_a_pipe_stands_still() -> None:
    with piped("sh", "-c", "head -c 3000000 /dev/urandom; sleep 2") as (feeder, number):
        feeder.look(Look("-", number))
        feeder.link.send(Deliver(everything=True))


def test_ctrl_c_is_left_to_the_conductor(packed: dict[str, Path]) -> None:
    with from_file(packed["raw"]) as feeder:
        feeder.process.send_signal(signal.SIGINT)
        assert feeder.deliver(everything=True).spans() == [(0, IMAGE)]


def test_small_spans_share_a_slot(packed: dict[str, Path]) -> None:
    spans = tuple((at, 5000, "") for at in range(4096, 3 * MiB, 8192))
    with from_file(packed["raw"]) as feeder:
        got = feeder.deliver(spans=spans, step=MiB)
        assert len(got.batches) == 1
        assert got.pieces == [(at, IMAGE[at : at + 5000]) for at, _, _ in spans]
