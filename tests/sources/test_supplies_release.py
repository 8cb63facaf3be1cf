"""What k3s's publisher says of a release: the version behind a channel, the digest of a file. No file is fetched."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from publishers.server import Server

from imagesmith.errors import ContentMalformed, SourceUnreachable
from imagesmith.model import Digest, ReleaseSource
from imagesmith.sources.asking import Asking
from imagesmith.sources.fetch import Patience
from imagesmith.sources.lock import LockEntry
from imagesmith.sources.release import find, version_of

VERSION, FOLDER = "v1.36.3+k3s1", "/download/v1.36.3%2Bk3s1/"
PROGRAM, IMAGES = b"\x7fELF program" * 1000, b"images" * 5000
HASTY = Patience(attempts=1, pause_s=0, away_s=0)


def source(server: Server) -> ReleaseSource:
    arm64 = {"arm64": "sha256sum-arm64.txt"}, {"arm64": "k3s-arm64"}, {"arm64": "k3s-airgap-images-arm64.tar.zst"}
    return ReleaseSource(server.url("/channels/{channel}"), server.url("/download/{version}/"), *arm64)


def line(content: bytes, name: str) -> str:
    return f"{hashlib.sha256(content).hexdigest()}  {name}\n"


@pytest.fixture
def house(server: Server) -> ReleaseSource:
    """A release as it lies on its publisher's server, and two channels that lead to it."""
    server.forget()
    for channel in ("stable", "v1.36"):
        server.redirect(f"/channels/{channel}", f"/releases/tag/{VERSION}")
    listed = line(PROGRAM, "k3s-arm64") + line(IMAGES, "k3s-airgap-images-arm64.tar.zst")
    server.file(f"{FOLDER}sha256sum-arm64.txt", (listed + line(b"x", "k3s-airgap-images-arm64.tar")).encode())
    server.file(f"{FOLDER}k3s-arm64", PROGRAM)
    server.file(f"{FOLDER}k3s-airgap-images-arm64.tar.zst", IMAGES)
    return source(server)


def found(house: ReleaseSource, kind: str = "program", version: str = VERSION) -> LockEntry:
    asking = Asking(patience=HASTY)
    address = house.channel_url("stable")
    return find(house, kind, "arm64", version, asking, address=address, today="2026-11-23", patience=HASTY)  # type: ignore[arg-type]


@pytest.mark.parametrize("channel", ["stable", "v1.36"])
def test_a_channel_is_the_version_that_it_leads_to(house: ReleaseSource, channel: str) -> None:
    assert version_of(house, channel) == VERSION


def test_the_page_of_the_release_is_not_asked_for(house: ReleaseSource, server: Server) -> None:
    version_of(house, "stable")
    assert [path for path, _ in server.seen] == ["/channels/stable"]


def test_an_escaped_plus_is_a_plus(house: ReleaseSource, server: Server) -> None:
    server.redirect("/channels/latest", "/releases/tag/v1.37.1%2Bk3s1")
    assert version_of(house, "latest") == "v1.37.1+k3s1"


def test_a_channel_that_is_not_there_is_told_with_what_to_write(house: ReleaseSource) -> None:
    with pytest.raises(SourceUnreachable, match="404") as failure:
        version_of(house, "sable", patience=HASTY)
    assert "channel: stable" in failure.value.hint


@pytest.mark.parametrize(
    "target", ["/releases/tag/", "/login", "/releases/tag/v1.35.9+k3s1", "/releases/tag/v1.36.3;x"]
)
def test_what_is_no_version_of_the_channel_is_refused(house: ReleaseSource, server: Server, target: str) -> None:
    server.redirect("/channels/v1.36", target)
    with pytest.raises(ContentMalformed, match=r"which is no version of it") as failure:
        version_of(house, "v1.36")
    assert failure.value.where == server.url("/channels/v1.36")


def test_a_channel_that_leads_nowhere_is_told(house: ReleaseSource, server: Server) -> None:
    server.file("/channels/stable", b"hello")
    with pytest.raises(SourceUnreachable, match="leads nowhere"):
        version_of(house, "stable", patience=HASTY)


def test_the_digest_is_the_lists_and_the_size_the_servers(house: ReleaseSource, server: Server) -> None:
    entry = found(house)
    assert (entry.digest, entry.size, entry.version) == (Digest.of(PROGRAM), len(PROGRAM), VERSION)
    assert entry.url == server.url(f"{FOLDER}k3s-arm64")
    assert (entry.resolved, entry.address) == ("2026-11-23", house.channel_url("stable"))


def test_nobody_signs_the_list_and_the_entry_says_so(house: ReleaseSource) -> None:
    entry = found(house)
    assert entry.unchecked
    assert entry.origin["digest"] == "sha256sum-arm64.txt over https, unsigned"


def test_the_images_are_found_by_their_own_name(house: ReleaseSource) -> None:
    assert found(house, "images").digest == Digest.of(IMAGES)


def test_a_release_that_is_not_there_is_told(house: ReleaseSource) -> None:
    with pytest.raises(SourceUnreachable, match=r"404.*while looking for k3s-arm64 of v1\.99\.0\+k3s1"):
        found(house, version="v1.99.0+k3s1")


def test_a_list_that_does_not_name_the_file_is_told(house: ReleaseSource, server: Server) -> None:
    server.file(f"{FOLDER}sha256sum-arm64.txt", line(b"x", "k3s").encode() + line(b"y", "k3s-armhf").encode())
    with pytest.raises(ContentMalformed, match="does not name k3s-arm64") as failure:
        found(house)
    assert failure.value.where == server.url(f"{FOLDER}sha256sum-arm64.txt")


def test_a_page_in_place_of_the_list_is_told(house: ReleaseSource, server: Server) -> None:
    page = b"<!DOCTYPE html><html><body>rate limited</body></html>"
    server.on(f"{FOLDER}sha256sum-arm64.txt", lambda request: request.give(page, Content_Type="text/html"))
    with pytest.raises(ContentMalformed, match="HTML page"):
        found(house)


def test_a_file_that_is_listed_and_not_there_is_told(house: ReleaseSource, server: Server) -> None:
    server.on(f"{FOLDER}k3s-arm64", lambda request: request.send_error(404))
    with pytest.raises(SourceUnreachable, match="404"):
        found(house)


def test_a_channel_over_http_is_not_asked(house: ReleaseSource) -> None:
    with pytest.raises(SourceUnreachable, match="not https"):
        version_of(replace(house, channels="http://127.0.0.1:1/{channel}"), "stable", patience=HASTY)
