"""Downloads from a server that misbehaves: one way per test."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from publishers.server import Request, Server, breaking_off, honest, slowly

from imagesmith.errors import ContentMalformed, IOFailed, SourceUnreachable
from imagesmith.sources.fetch import Patience, fetch, fetch_small
from imagesmith.sources.part import Part

BODY = random.Random(11).randbytes(700_001)
OTHER = random.Random(12).randbytes(700_001)
QUICK = Patience(attempts=3, pause_s=0.01, connect_s=2, stall_s=0.3)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "part"


def _fetched(url: str, path: Path, **options: int) -> bytes:
    with Part(path) as part:
        fetch(url, part, patience=QUICK, **options)  # type: ignore[arg-type]
        return path.read_bytes()


def _broken(server: Server, path: str, part: Path, body: bytes = BODY) -> str:
    """A URL of which `part` holds the first 300,000 bytes, and whose later answers can be set."""

    def first(request: Request) -> None:
        request.give(body[:300_000], ETag='"one"', Content_Length=str(len(body)))
        request.hang_up()

    url = server.on(path, first)
    with pytest.raises(SourceUnreachable), Part(part) as growing:
        fetch(url, growing, patience=Patience(attempts=1, stall_s=2))
    assert part.stat().st_size == 300_000
    server.seen.clear()
    return url


def test_an_honest_file_arrives(server: Server, part: Path) -> None:
    assert _fetched(server.file("/honest", BODY), part) == BODY
    assert server.seen[0][1]["Accept-Encoding"] == "identity"


def test_a_body_without_length_arrives(server: Server, part: Path) -> None:
    url = server.on("/nolength", lambda request: request.give(BODY, Content_Length=""))
    assert _fetched(url, part) == BODY


def test_a_truncated_body_is_noticed_and_gone_on_with(server: Server, part: Path) -> None:
    url = server.on("/breaks", breaking_off(BODY, 300_000, lambda request: honest(request, BODY, '"one"')))
    assert _fetched(url, part) == BODY
    assert [headers.get("Range") for _, headers in server.seen] == [None, "bytes=300000-"]
    assert server.seen[1][1]["If-Range"] == '"one"'


def test_a_body_that_is_always_truncated_fails_and_keeps_what_came(server: Server, part: Path) -> None:
    url = _broken(server, "/always", part)
    server.on("/always", lambda request: request.hang_up())
    with pytest.raises(SourceUnreachable) as raised:
        _fetched(url, part)
    assert raised.value.exit_code == 3
    assert url in str(raised.value)
    assert "run the same command again" in raised.value.hint
    assert part.read_bytes() == BODY[:300_000]


def test_the_next_run_resumes(server: Server, part: Path) -> None:
    url = _broken(server, "/resumed", part)
    server.file("/resumed", BODY)
    assert _fetched(url, part) == BODY
    assert len(server.seen) == 1
    assert server.seen[0][1]["Range"] == "bytes=300000-"


def test_a_server_that_ignores_ranges_is_read_from_the_start(server: Server, part: Path) -> None:
    url = _broken(server, "/norange", part)
    server.on("/norange", lambda request: request.give(BODY, ETag='"one"'))
    assert _fetched(url, part) == BODY


def test_a_file_that_changed_is_never_spliced(server: Server, part: Path) -> None:
    url = _broken(server, "/changed", part)
    server.file("/changed", OTHER, etag='"two"')
    assert _fetched(url, part) == OTHER


def test_a_server_that_resumes_a_changed_file_all_the_same_is_found_out(server: Server, part: Path) -> None:
    url = _broken(server, "/spliced", part)

    def heedless(request: Request) -> None:
        start = request.asked_from()
        headers = {"ETag": '"two"'}
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(OTHER) - 1}/{len(OTHER)}"
        request.give(OTHER[start:], 206 if start else 200, **headers)

    server.on("/spliced", heedless)
    assert _fetched(url, part) == OTHER


@pytest.mark.parametrize("content_range", ["bytes 299999-700000/700001", "bytes 0-700000/700001", "nonsense", ""])
def test_a_wrong_206_is_not_used(content_range: str, server: Server, part: Path) -> None:
    url = _broken(server, "/wrong", part)

    def answer(request: Request) -> None:
        if request.asked_from():
            request.give(BODY[299_999:], 206, ETag='"one"', Content_Range=content_range)
        else:
            request.give(BODY, ETag='"one"')

    server.on("/wrong", answer)
    assert _fetched(url, part) == BODY


def test_a_206_that_is_shorter_than_its_file_is_gone_on_with(server: Server, part: Path) -> None:
    url = _broken(server, "/bits", part)

    def bits(request: Request) -> None:
        start = request.asked_from()
        end = min(start + 150_000, len(BODY))
        request.give(BODY[start:end], 206, ETag='"one"', Content_Range=f"bytes {start}-{end - 1}/{len(BODY)}")

    server.on("/bits", bits)
    assert _fetched(url, part) == BODY
    assert len(server.seen) == 3


def test_a_206_that_nobody_asked_for_is_refused(server: Server, part: Path) -> None:
    url = server.on("/unasked", lambda request: request.give(BODY[5:], 206, Content_Range="bytes 5-700000/700001"))
    with pytest.raises(SourceUnreachable, match="206"):
        _fetched(url, part)


def test_416_for_a_whole_file_means_done(server: Server, part: Path) -> None:
    url = _broken(server, "/whole", part, BODY + b"more")
    server.file("/whole", BODY[:300_000])
    assert _fetched(url, part) == BODY[:300_000]


def test_416_for_a_shorter_file_starts_anew(server: Server, part: Path) -> None:
    url = _broken(server, "/shorter", part)
    server.file("/shorter", BODY[:1000])
    assert _fetched(url, part) == BODY[:1000]


def test_503_twice_is_waited_for(server: Server, part: Path) -> None:
    answers = [503, 503]

    def answer(request: Request) -> None:
        request.give(b"busy", answers.pop()) if answers else request.give(BODY)

    assert _fetched(server.on("/busy", answer), part) == BODY


def test_404_is_not_tried_again(server: Server, part: Path) -> None:
    with pytest.raises(SourceUnreachable, match="404"):
        _fetched(server.url("/absent"), part)
    assert len(server.seen) == 1


def test_a_stall_ends_the_attempt(server: Server, part: Path) -> None:
    url = server.on("/stall", slowly(BODY, 350_000, 5))
    start = time.monotonic()
    with pytest.raises(SourceUnreachable, match=r"no byte came for 0\.3 s"):
        _fetched(url, part)
    assert time.monotonic() - start < 4


def test_a_drip_is_a_stall_too(server: Server, part: Path) -> None:
    url = server.on("/drip", slowly(BODY, 10, 0.05))
    with pytest.raises(SourceUnreachable, match="bytes came in"):
        _fetched(url, part)


def test_html_with_200_is_named(server: Server, part: Path) -> None:
    url = server.on("/html", lambda request: request.give(b"<html>log in</html>", Content_Type="text/html"))
    with pytest.raises(ContentMalformed, match="HTML page instead of the file"):
        _fetched(url, part)


def test_a_redirect_is_followed(server: Server, part: Path) -> None:
    server.file("/there", BODY)
    url = server.on("/here", lambda request: request.give(b"", 302, Location="/there"))
    assert _fetched(url, part) == BODY


@pytest.mark.parametrize("target", ["http://127.0.0.1:9/x", "file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_away_from_https_is_refused(target: str, server: Server, part: Path) -> None:
    url = server.on("/away", lambda request: request.give(b"", 302, Location=target))
    with pytest.raises(SourceUnreachable, match="not https"):
        _fetched(url, part)


@pytest.mark.parametrize("target", ["https://[oops/x", "//[::1/x", "https://127.0.0.1:port/x", "/\xff"])
def test_a_redirect_to_what_is_no_url_is_told(target: str, server: Server, part: Path) -> None:
    url = server.on("/nowhere", lambda request: request.give(b"", 302, Location=target))
    with pytest.raises(SourceUnreachable, match="redirects to what is no URL"):
        _fetched(url, part)


def test_what_is_no_url_is_told(part: Path) -> None:
    with pytest.raises(SourceUnreachable, match="is no usable URL"):
        _fetched("https://[oops/x", part)


def test_redirects_in_a_circle_end(server: Server, part: Path) -> None:
    url = server.on("/round", lambda request: request.give(b"", 302, Location="/round"))
    with pytest.raises(SourceUnreachable, match="more than 10 times"):
        _fetched(url, part)


def test_plain_http_is_refused(part: Path) -> None:
    with pytest.raises(SourceUnreachable, match="is not https"):
        _fetched("http://127.0.0.1:9/x", part)


def test_an_endless_body_is_cut_off(server: Server, part: Path) -> None:
    def endless(request: Request) -> None:
        request.give(b"", Content_Length="")
        while True:
            request.wfile.write(BODY)

    with pytest.raises(ContentMalformed, match="larger than"):
        _fetched(server.on("/endless", endless), part, limit=3_000_000)
    assert part.stat().st_size <= 3_000_000


def test_a_size_that_was_not_promised_is_refused_at_once(server: Server, part: Path) -> None:
    with pytest.raises(ContentMalformed, match="700001 bytes, 5 were promised"):
        _fetched(server.file("/size", BODY), part, size=5)
    assert not part.exists()


def test_a_packed_answer_is_refused(server: Server, part: Path) -> None:
    url = server.on("/gzip", lambda request: request.give(BODY, Content_Encoding="gzip"))
    with pytest.raises(SourceUnreachable, match="gzip"):
        _fetched(url, part)


def test_an_untrusted_certificate_is_refused_with_a_next_step(
    server: Server, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(SourceUnreachable, match="certificate is not trusted") as raised:
        _fetched(server.file("/ca", BODY), part)
    assert "REQUESTS_CA_BUNDLE" in raised.value.hint


def test_nobody_listening_is_told(part: Path) -> None:
    with pytest.raises(SourceUnreachable, match=r"no connection.*3 attempts"):
        _fetched("https://127.0.0.1:9/x", part)


@pytest.mark.parametrize("url", ["https://127.0.0.1:9/x", "https://nowhere.invalid/x"], ids=["closed port", "no name"])
def test_offline_is_told_after_three_seconds(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    begun = time.monotonic()
    with pytest.raises(SourceUnreachable, match=r"no connection: .*\((1|2|3) attempts?\)$"):
        fetch_small(url)
    assert time.monotonic() - begun < 6  # 3.0 on a machine that is not busy


class TestAway:
    """Who was met is waited for as long as ever; only being offline from the start is told soon."""

    PATIENCE = Patience(attempts=5, pause_s=0.05, away_s=0.25)

    def test_who_was_never_met_is_given_up_soon(self, part: Path) -> None:
        # Three on a machine that is not busy; all five would take three times as long as the patience lasts.
        with pytest.raises(SourceUnreachable, match=r"\([1-4] attempts?\)"), Part(part) as growing:
            fetch("https://127.0.0.1:9/x", growing, patience=self.PATIENCE)

    def test_who_goes_away_is_waited_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        leaving = Server(tmp_path)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(leaving.ca))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")

        def last(request: Request) -> None:
            request.hang_up()
            leaving.close()

        with pytest.raises(SourceUnreachable, match=r"Connection refused.*5 attempts"):
            fetch_small(leaving.on("/x", last), patience=self.PATIENCE)
        assert len(leaving.seen) == 1

    def test_a_mirror_that_is_away_is_waited_for(self, server: Server) -> None:
        """The next redirect may lead to another one."""
        url = server.on("/mirrors", lambda request: request.give(b"", 302, Location="https://127.0.0.1:9/x"))
        with pytest.raises(SourceUnreachable, match=r"no connection.*5 attempts"):
            fetch_small(url, patience=self.PATIENCE)
        assert len(server.seen) == 5


def test_the_proxy_of_the_environment_is_used(server: Server, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(SourceUnreachable, match="proxy"):
        _fetched(server.file("/proxied", BODY), part)
    assert server.seen == []


def test_a_part_that_is_a_link_is_not_followed(server: Server, part: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    part.symlink_to(tmp_path / "precious")
    with pytest.raises(IOFailed):
        _fetched(server.file("/link", BODY), part)
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_small_files_come_whole_or_not_at_all(server: Server) -> None:
    assert fetch_small(server.file("/small", b"list"), patience=QUICK) == b"list"
    with pytest.raises(ContentMalformed, match="larger than"):
        fetch_small(server.file("/large", BODY), limit=1000, patience=QUICK)
    url = server.on("/short", breaking_off(b"listing", 3, lambda request: request.give(b"listing")))
    assert fetch_small(url, patience=QUICK) == b"listing"
