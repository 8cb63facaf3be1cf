"""An image at an address: delivered while it comes, as promised or not at all."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from feeding import PACKERS, Feeding, feeding
from publishers.server import Server, breaking_off, honest, slowly

from imagesmith.errors import ContentMalformed, DigestMismatch, SourceUnreachable
from imagesmith.messages import Batch, Deliver, Look
from imagesmith.units import MiB

IMAGE = b"\xeb\x63\x90" + random.Random(19).randbytes(5 * MiB - 3)


@contextmanager
def from_url(url: str, cache: Path, **look: str) -> Iterator[Feeding]:
    with feeding(env={"IMAGESMITH_CACHE": str(cache)}) as feeder:
        feeder.look(Look(url, url=url, **look))
        yield feeder


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "parts").iterdir())


@pytest.mark.parametrize("packer", ["raw", "xz blocks", "zst", "gz", "zip", "qcow2"])
def test_it_is_delivered_twice_and_nothing_is_left(packer: str, server: Server, tmp_path: Path) -> None:
    packed = PACKERS[packer](IMAGE)
    url = server.file("/image", packed)
    with from_url(url, tmp_path, digest=f"sha256:{hashlib.sha256(packed).hexdigest()}") as feeder:
        assert (feeder.looked.format, feeder.looked.again) == (packer.split()[0], True)
        assert feeder.head == IMAGE[:MiB]
        assert feeder.deliver(everything=True, step=MiB).spans() == [(0, IMAGE)]
        assert feeder.deliver(spans=((2 * MiB, MiB, ""),)).spans() == [(2 * MiB, IMAGE[2 * MiB : 3 * MiB])]
    assert len(server.seen) == 1
    assert left(tmp_path) == []


def test_it_is_delivered_while_it_comes(server: Server, tmp_path: Path) -> None:
    url = server.on("/slow", slowly(IMAGE, 256 * 1024, 0.15))
    with from_url(url, tmp_path) as feeder:
        feeder.link.send(Deliver(everything=True))
        feeder.hear(Batch)
        part = next(path for path in (tmp_path / "parts").iterdir() if path.suffix != ".json")
        assert part.stat().st_size < len(IMAGE)


def test_what_is_not_as_promised_is_told_and_not_kept(server: Server, tmp_path: Path) -> None:
    url = server.file("/wrong", PACKERS["zst"](IMAGE))
    with from_url(url, tmp_path, digest=f"sha256:{'0' * 64}") as feeder, pytest.raises(DigestMismatch) as raised:
        feeder.deliver(everything=True)
    assert raised.value.where == url
    assert left(tmp_path) == []


def test_a_damaged_image_is_not_kept(server: Server, tmp_path: Path) -> None:
    url = server.file("/damaged", PACKERS["zst"](IMAGE) + b"more")
    with from_url(url, tmp_path) as feeder, pytest.raises(ContentMalformed, match="follows the end"):
        feeder.deliver(everything=True)
    assert left(tmp_path) == []


def test_the_next_run_resumes_what_broke_off(server: Server, tmp_path: Path) -> None:
    url = server.on("/broken", breaking_off(IMAGE, 3 * MiB, lambda request: request.send_error(404)))
    with from_url(url, tmp_path) as feeder, pytest.raises(SourceUnreachable, match="404"):
        feeder.deliver(everything=True)
    server.seen.clear()
    server.on("/broken", lambda request: honest(request, IMAGE, '"one"'))
    with from_url(url, tmp_path) as feeder:
        assert feeder.deliver(everything=True).spans() == [(0, IMAGE)]
    assert [headers.get("Range") for _, headers in server.seen] == [f"bytes={3 * MiB}-"]


def test_what_an_earlier_run_left_of_another_version_is_not_used(server: Server, tmp_path: Path) -> None:
    old = bytes(reversed(IMAGE))
    url = server.on("/newer", breaking_off(old, 3 * MiB, lambda request: request.send_error(404)))
    with from_url(url, tmp_path) as feeder, pytest.raises(SourceUnreachable):
        feeder.deliver(everything=True)
    server.file("/newer", IMAGE, etag='"two"')
    with from_url(url, tmp_path) as feeder:
        assert feeder.deliver(everything=True).spans() == [(0, IMAGE)]


def test_a_version_that_is_replaced_in_the_middle_is_told(server: Server, tmp_path: Path) -> None:
    def newer(request: object) -> None:
        honest(request, bytes(reversed(IMAGE)), '"two"')  # type: ignore[arg-type]

    url = server.on("/replaced", breaking_off(IMAGE, 3 * MiB, newer))
    with from_url(url, tmp_path) as feeder, pytest.raises(SourceUnreachable, match="was replaced while"):
        feeder.deliver(everything=True)


def test_an_html_page_is_named(server: Server, tmp_path: Path) -> None:
    url = server.on("/page", lambda request: request.give(b"<html>please log in</html>", Content_Type="text/html"))
    with pytest.raises(ContentMalformed, match="HTML page"), from_url(url, tmp_path):
        pass


def test_a_redirect_away_from_https_is_refused(server: Server, tmp_path: Path) -> None:
    url = server.on("/away", lambda request: request.give(b"", 302, Location="http://127.0.0.1/image"))
    with pytest.raises(SourceUnreachable, match="not https"), from_url(url, tmp_path):
        pass
