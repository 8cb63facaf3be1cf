"""The feeder's contract, with the real child process: every byte that is wanted comes once, with its digest."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from feeding import PACKERS, expected_runs, from_file, piped, xz

from imagesmith.errors import DigestMismatch
from imagesmith.messages import Batch, Deliver, Look
from imagesmith.units import KiB, MiB

CHANCE = random.Random(11)
# A multiple of 512, as a qcow2's size is.
IMAGE = b"\xeb\x63\x90" + CHANCE.randbytes(MiB + 17) + bytes(MiB) + CHANCE.randbytes(4 * MiB + 1004)
SHA = hashlib.sha256(IMAGE).hexdigest()
SPANS = ((0, 64 * KiB), (64 * KiB, 4096), (512 * KiB, MiB), (2 * MiB, 3 * MiB), (len(IMAGE) - 4001, 4001))


SIZE_KNOWN = {"raw", "xz", "xz blocks", "xz odd blocks", "xz streams", "zst", "zip", "qcow2", "qcow2 packed"}
FROM_FILES = ("zip", "qcow2", "qcow2 packed")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("packed")
    for name, pack in PACKERS.items():
        (folder / name).write_bytes(pack(IMAGE))
    return {name: folder / name for name in PACKERS}


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
    cuts = (4096, MiB, 3 * MiB + 4096)
    with from_file(packed[packer]) as feeder:
        got = feeder.deliver(spans=spans, cuts=cuts, step=MiB)
        for offset, data in got.pieces:
            assert data == IMAGE[offset : offset + len(data)]
            assert not [cut for cut in cuts if offset < cut < offset + len(data)]
        wanted = sorted((at, size) for at, size in SPANS)
        assert sum(len(data) for _, data in got.pieces) == sum(size for _, size in wanted)
        assert got.digested == expected_runs(IMAGE, wanted, cuts, MiB)


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


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """More than small rings hold."""
    folder = tmp_path_factory.mktemp("large")
    image = b"\xeb\x63\x90" + CHANCE.randbytes(40 * MiB - 3)
    (folder / "blocks").write_bytes(xz(image, "-T2", "--block-size=18MiB"))
    for name in ("raw", "zst", "qcow2"):
        (folder / name).write_bytes(PACKERS[name](image))
    return {name: folder / name for name in ("raw", "zst", "qcow2", "blocks")}


@pytest.mark.parametrize("name", ["raw", "zst", "qcow2", "blocks"])
def test_a_full_ring_makes_it_wait(large: dict[str, Path], name: str) -> None:
    with from_file(large[name], 4) as feeder:
        feeder.link.send(Deliver(everything=True, step=MiB))
        feeder.end.settimeout(1)
        batches = []
        with pytest.raises(TimeoutError):
            while True:
                if isinstance(message := feeder.hear(), Batch):
                    batches.append(message.slot)
        assert len(set(batches)) == len(batches) in (3, 4)  # the last one may be kept for the lowest block


@pytest.mark.parametrize("slots", [4, 5, 16])
@pytest.mark.parametrize("name", ["raw", "zst", "qcow2", "blocks"])
def test_slots_may_be_freed_in_any_order(large: dict[str, Path], name: str, slots: int) -> None:
    with from_file(large[name], slots) as feeder:
        got = feeder.deliver(random.Random(slots), everything=True, step=300_000)
        assert got.spans() == [(0, large["raw"].read_bytes())]


def test_it_ends_when_the_conductor_does(packed: dict[str, Path], packer: str) -> None:
    with from_file(packed[packer], 4) as feeder:
        feeder.link.send(Deliver(everything=True, step=MiB))
        feeder.hear(Batch)
        # `feeding` hangs up now, and asserts that the child ends.


def test_it_ends_with_the_conductor_while_a_pipe_stands_still() -> None:
    with piped("sh", "-c", "head -c 3000000 /dev/urandom; exec sleep 60") as (feeder, number):
        feeder.look(Look("-", number))
        feeder.link.send(Deliver(everything=True))
        # As above; the pipe's other end is still there.


def test_it_ends_with_the_conductor_while_it_waits_for_the_first_byte() -> None:
    with piped("sleep", 60) as (feeder, number):
        feeder.link.send(Look("-", number))


def test_holes_of_a_file_come_as_zeros(tmp_path: Path) -> None:
    data = CHANCE.randbytes(8192)
    with (tmp_path / "disk").open("wb") as file:
        file.write(b"\xeb\x63\x90" + bytes(4093))
        file.seek(5 * MiB)
        file.write(data)
        file.truncate(9 * MiB)
    with from_file(tmp_path / "disk") as feeder:
        # The ring's memory is not all zeros by itself.
        for slot in range(feeder.ring.count):
            feeder.ring.slot(slot)[:] = b"\xa5" * len(feeder.ring.slot(slot))
        whole = (tmp_path / "disk").read_bytes()
        got = feeder.deliver(everything=True, step=MiB)
        assert got.spans() == [(0, whole)]
        assert got.digested == expected_runs(whole, [(0, len(whole))], (), MiB)


def test_it_may_be_said_that_nothing_is_wanted(packed: dict[str, Path], packer: str) -> None:
    with from_file(packed[packer]) as feeder:
        got = feeder.deliver()
        assert (got.pieces, got.digested, got.end.sha256) == ([], [], "")


def test_pieces_begin_at_pages_of_the_image_where_spans_do(packed: dict[str, Path], packer: str) -> None:
    with from_file(packed[packer]) as feeder:
        got = feeder.deliver(spans=((4096, 4 * MiB, ""), (5 * MiB, 8192, "")), cuts=(MiB,), step=MiB)
        assert [offset for offset, _ in got.pieces if offset % 4096] == []


def test_it_starts_without_what_only_an_address_needs() -> None:
    program = "import sys, imagesmith.sources.feeder; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert not {"requests", "urllib3", "filelock", "platformdirs"} & set(loaded.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [("--lzma2=preset=0,dict=64MiB", "--block-size=70MiB"), ("-0", "--block-size=4MiB")]
)
def test_memory_beside_the_ring_stays_near_100_mib(options: tuple[str, ...], tmp_path: Path) -> None:
    image = b"".join(CHANCE.randbytes(100 * KiB) * 10 for _ in range(160))
    (tmp_path / "disk.xz").write_bytes(xz(image, *options))
    with from_file(tmp_path / "disk.xz", 16) as feeder:
        assert feeder.deliver(everything=True, step=4 * MiB).end.sha256 == hashlib.sha256(image).hexdigest()
        status = Path(f"/proc/{feeder.process.pid}/status").read_text()
        peak, ring = (int(status.split(word)[1].split()[0]) * KiB for word in ("VmHWM:", "RssShmem:"))
        assert peak - ring < 112 * MiB


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
