"""An image from an address or through a pipe: written in one pass, and not bootable unless it is what was promised."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from faults.disks import call, dirty_disk, loop_device, make_image, map_of, needs_root
from publishers.server import Server

from imagesmith.errors import DigestMismatch, ImagesmithError, SourceUnreachable, UsageError
from imagesmith.events import Noted, Warned, unheard
from imagesmith.formats import bmap
from imagesmith.model import Digest
from imagesmith.units import MiB
from imagesmith.workflow.flash import Outcome, Request, flash
from imagesmith.workflow.jobs import Job
from imagesmith.workflow.source import Trust

pytestmark = needs_root


@pytest.fixture
def card(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    disk = dirty_disk(tmp_path / "card", 40 * MiB)
    with loop_device(disk) as device:
        yield disk, device


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_image(tmp_path / "pi.img", "dos")


def packed(image: Path) -> bytes:
    call("xz", "-k", "-0", "-T2", "--block-size=4MiB", image)
    return image.with_suffix(".img.xz").read_bytes()


def run(
    source: str, device: str, folder: Path, trust: Trust | None = None, heard: list[object] | None = None
) -> Outcome:
    request = Request((Job(source, (device,)),), folder, yes=True, trust=trust or Trust())
    listener = unheard if heard is None else heard.append
    (outcome,) = flash(request, ask=lambda _: "", current_plan_id=lambda _: "", listener=listener)
    return outcome


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGESMITH_CACHE", str(tmp_path / "cache"))


def test_an_image_that_the_list_beside_it_vouches_for(
    server: Server, tmp_path: Path, image: Path, card: tuple[Path, str]
) -> None:
    data = packed(image)
    url = server.file("/pi/pi.img.xz", data)
    server.file("/pi/SHA256SUMS", f"{hashlib.sha256(data).hexdigest()}  pi.img.xz\n".encode())
    heard: list[object] = []
    outcome = run(url, card[1], tmp_path, heard=heard)
    assert outcome.receipt
    assert card[0].read_bytes()[: 32 * MiB] == image.read_bytes()
    assert any("nobody signed" in event.message for event in heard if isinstance(event, Noted))
    assert [path for path, _ in server.seen].count("/pi/pi.img.xz") == 1


def test_a_map_that_the_list_vouches_for_spares_what_is_free(
    server: Server, tmp_path: Path, image: Path, card: tuple[Path, str]
) -> None:
    data, table = packed(image), bmap.encode(map_of(image)).encode()
    url = server.file("/pi.img.xz", data)
    server.file("/pi.img.bmap", table)
    sums = [f"{hashlib.sha256(one).hexdigest()}  {name}" for one, name in ((data, "pi.img.xz"), (table, "pi.img.bmap"))]
    server.file("/SHA256SUMS", "\n".join(sums).encode())
    outcome = run(url, card[1], tmp_path)
    assert outcome.receipt
    assert outcome.receipt.written == map_of(image).mapped_bytes
    assert card[0].read_bytes()[28 * MiB : 29 * MiB] == b"\xff" * MiB


def test_a_map_that_is_not_the_listed_one_is_refused_before_the_first_write(
    server: Server, tmp_path: Path, image: Path, card: tuple[Path, str]
) -> None:
    data = packed(image)
    url = server.file("/pi.img.xz", data)
    server.file("/pi.img.bmap", bmap.encode(map_of(image)).encode())
    server.file("/SHA256SUMS", f"{hashlib.sha256(data).hexdigest()}  pi.img.xz\n{'0' * 64}  pi.img.bmap\n".encode())
    with pytest.raises(DigestMismatch):
        run(url, card[1], tmp_path)
    assert card[0].read_bytes() == b"\xff" * 40 * MiB


def test_an_address_that_nothing_vouches_for_is_refused_before_the_first_write(
    server: Server, tmp_path: Path, image: Path, card: tuple[Path, str]
) -> None:
    url = server.file("/alone/pi.img.xz", packed(image))
    with pytest.raises(UsageError, match="nothing vouches") as caught:
        run(url, card[1], tmp_path)
    assert "--insecure-unverified" in caught.value.hint
    assert card[0].read_bytes() == b"\xff" * 40 * MiB


def test_unless_the_user_says_that_it_may_come_as_it_comes(
    server: Server, tmp_path: Path, image: Path, card: tuple[Path, str]
) -> None:
    heard: list[object] = []
    outcome = run(server.file("/unlisted/pi.img", image.read_bytes()), card[1], tmp_path, Trust(insecure=True), heard)
    assert outcome.receipt
    assert any("nothing vouches" in event.message for event in heard if isinstance(event, Warned))


@pytest.mark.parametrize("kind", ["address", "pipe", "file"])
def test_bytes_that_are_not_the_promised_ones_are_never_bootable(
    server: Server, tmp_path: Path, image: Path, card: tuple[Path, str], kind: str
) -> None:
    data = packed(image)
    wrong = Trust(Digest.of(b"something else"))
    if kind == "pipe":
        done = piped(data, card[1], "--digest", str(wrong.digest))
        assert done.returncode == 4, done.stderr
        assert "not bootable" in done.stderr
    else:
        url = server.file("/pi.img.xz", data)
        outcome = run(url if kind == "address" else f"{image}.xz", card[1], tmp_path, wrong)
        assert isinstance(outcome.error, DigestMismatch)
        assert "not bootable" in outcome.error.hint
    assert card[0].read_bytes()[:MiB] == bytes(MiB)


def test_a_server_that_breaks_off_for_good_leaves_a_card_that_does_not_boot(
    server: Server, tmp_path: Path, image: Path, card: tuple[Path, str]
) -> None:
    data = image.read_bytes()
    url = server.on("/pi.img", lambda request: request.give(data[: 8 * MiB], Content_Length=str(8 * MiB)))
    outcome = run(url, card[1], tmp_path, Trust(Digest.of(data)))
    assert isinstance(outcome.error, ImagesmithError)
    assert outcome.error.exit_code in (3, 4)
    assert card[0].read_bytes()[:MiB] == bytes(MiB)


def test_an_address_that_is_not_there(server: Server, tmp_path: Path, card: tuple[Path, str]) -> None:
    with pytest.raises(SourceUnreachable, match="404"):
        run(server.url("/none.img"), card[1], tmp_path, Trust(Digest.of(b"x")))


@pytest.mark.parametrize("word", ["http://example.org/pi.img", "ftp://example.org/pi.img", "file:///pi.img"])
def test_what_is_not_https_is_refused(tmp_path: Path, card: tuple[Path, str], word: str) -> None:
    with pytest.raises(UsageError, match="is not safe"):
        run(word, card[1], tmp_path)


@pytest.mark.parametrize(
    "word",
    ["https://bob:hunter2@h.example/i.img", "http://bob:hunter2@h.example/i.img", "https://bob:hunter2/x@h.example/i"],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(
    tmp_path: Path, card: tuple[Path, str], word: str
) -> None:
    with pytest.raises(UsageError) as caught:
        run(word, card[1], tmp_path)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    assert "~/.netrc" in caught.value.hint


def test_the_password_in_netrc_is_used(
    server: Server, tmp_path: Path, image: Path, card: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.file("/locked/pi.img", image.read_bytes())
    (tmp_path / ".netrc").write_text(f"machine {urlsplit(url).hostname} login bob password hunter2\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    assert run(url, card[1], tmp_path, Trust(insecure=True)).receipt
    asked = [headers["Authorization"] for path, headers in server.seen if path.startswith("/locked/")]
    assert set(asked) == {f"Basic {base64.b64encode(b'bob:hunter2').decode()}"}


@pytest.mark.parametrize("end", ["good", "cut off", "missing"])
def test_the_query_of_an_address_is_told_nowhere(
    server: Server, tmp_path: Path, image: Path, card: tuple[Path, str], end: str
) -> None:
    data = image.read_bytes()
    # The server keeps what earlier tests put there.
    place = f"/signed-{end.replace(' ', '-')}/pi.img?token=hunter2"
    url = server.url(place)
    if end == "good":
        server.file(place, data)
    elif end == "cut off":
        server.on(place, lambda request: request.give(data[:-4096], Content_Encoding="gzip"))
    argv = [sys.executable, "-m", "imagesmith", "flash", "--yes", "--insecure-unverified", url, card[1]]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode == 0) == (end == "good"), done.stderr
    kept = [path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    told = "\n".join((done.stdout, done.stderr, *kept))
    assert place.partition("?")[0] in told
    assert "hunter2" not in told


def piped(data: bytes, device: str, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "imagesmith", "flash", "--yes", *options, "-", device]
    done = subprocess.run(argv, input=data, capture_output=True, check=False, timeout=60, env=os.environ)
    return subprocess.CompletedProcess(argv, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize("form", ["raw", "xz"])
def test_an_image_through_a_pipe_is_written_whole(image: Path, card: tuple[Path, str], form: str) -> None:
    data = image.read_bytes() if form == "raw" else packed(image)
    done = piped(data, card[1], "--digest", f"sha256:{hashlib.sha256(data).hexdigest()}")
    assert done.returncode == 0, done.stderr
    assert card[0].read_bytes()[: 32 * MiB] == image.read_bytes()


def test_a_pipe_that_ends_in_the_middle_leaves_a_card_that_does_not_boot(image: Path, card: tuple[Path, str]) -> None:
    done = piped(packed(image)[:-100_000], card[1])
    assert done.returncode == 4
    assert "not bootable" in done.stderr
    assert card[0].read_bytes()[:MiB] == bytes(MiB)


def test_an_image_through_a_pipe_that_is_larger_than_the_card(tmp_path: Path, image: Path) -> None:
    disk = dirty_disk(tmp_path / "small", 16 * MiB)
    with loop_device(disk) as device:
        done = piped(image.read_bytes(), device)
    assert done.returncode == 5, done.stderr
    assert "too small" in done.stderr
    assert disk.read_bytes()[:MiB] == bytes(MiB)
