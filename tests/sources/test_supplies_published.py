"""A published file as it is: in the cache by its digest, whatever address it came from, and never with other bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from publishers.debs import serving
from publishers.server import Server, breaking_off, honest

from imagesmith.errors import DigestMismatch, SourceUnreachable
from imagesmith.model import Digest
from imagesmith.sources.cache import Cache
from imagesmith.sources.fetch import Patience
from imagesmith.sources.published import in_cache, obtain_published

BODY = bytes(range(256)) * 4096
DIGEST = Digest.of(BODY)
HASTY = Patience(attempts=2, pause_s=0, away_s=0)


def test_it_comes_once_and_stays(server: Server, cache: Cache) -> None:
    url = server.file("/k3s", BODY)
    assert not in_cache(DIGEST, cache)
    first = obtain_published([url], DIGEST, len(BODY), cache=cache)
    assert first.path.read_bytes() == BODY
    assert in_cache(DIGEST, cache)
    assert obtain_published(["https://127.0.0.1:1/gone"], DIGEST, cache=cache).path == first.path
    assert server.asked("/k3s") == 1


def test_other_bytes_are_refused_and_not_kept(server: Server, cache: Cache) -> None:
    url = server.file("/k3s", BODY[:-1] + b"!")
    with pytest.raises(DigestMismatch, match="its digest is"):
        obtain_published([url], DIGEST, cache=cache, patience=HASTY)
    assert not in_cache(DIGEST, cache)
    server.file("/k3s", BODY)
    assert obtain_published([url], DIGEST, cache=cache).digest == DIGEST


def test_the_next_address_is_asked_where_one_has_other_bytes(server: Server, cache: Cache) -> None:
    bad, good = server.file("/bad", BODY[::-1]), server.file("/good", BODY, etag='"two"')
    assert obtain_published([bad, good], DIGEST, cache=cache, patience=HASTY).facts["url"] == good


def test_a_size_that_is_not_the_promised_one_is_told_before_all_of_it_came(server: Server, cache: Cache) -> None:
    url = server.file("/k3s", BODY)
    with pytest.raises(DigestMismatch, match="were promised"):
        obtain_published([url], DIGEST, len(BODY) - 1, cache=cache, patience=HASTY)


def test_what_broke_off_goes_on_where_it_was(server: Server, cache: Cache) -> None:
    url = server.on("/k3s", breaking_off(BODY, 700_000, lambda request: honest(request, BODY, '"one"')))
    assert obtain_published([url], DIGEST, len(BODY), cache=cache, patience=HASTY).path.read_bytes() == BODY
    ranges = [headers.get("Range") for path, headers in server.seen if path == "/k3s"]
    assert ranges == [None, "bytes=700000-"]


def test_a_digest_of_another_kind_holds_too(server: Server, cache: Cache) -> None:
    long = Digest("sha512", hashlib.sha512(BODY).hexdigest())
    assert obtain_published([server.file("/k3s", BODY)], long, cache=cache).digest == DIGEST
    with pytest.raises(DigestMismatch):
        obtain_published([server.url("/k3s")], Digest("sha512", "0" * 128), cache=cache, patience=HASTY)


def test_over_http_only_what_may_come_so(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "served").mkdir()
    (tmp_path / "served/x.deb").write_bytes(BODY)
    with serving(tmp_path / "served") as url:
        with pytest.raises(SourceUnreachable, match="not https"):
            obtain_published([f"{url}x.deb"], DIGEST, cache=cache, patience=HASTY)
        assert obtain_published([f"{url}x.deb"], DIGEST, cache=cache, plain=True).path.read_bytes() == BODY


def test_no_address_at_all_is_told(cache: Cache) -> None:
    with pytest.raises(SourceUnreachable, match="no address is known"):
        obtain_published([], DIGEST, cache=cache)
