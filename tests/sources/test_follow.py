"""From an index on a server to an entry for the lock: who vouches for it, what is asked, and what is refused."""

from __future__ import annotations

import lzma
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from publishers import houses, indexes
from publishers.houses import Key, Release
from publishers.server import Request, Server

from imagesmith.errors import ContentMalformed, ImagesmithError, SignatureInvalid, SourceUnreachable
from imagesmith.events import unheard
from imagesmith.model import Base, Digest, Follow, HttpSource
from imagesmith.model.origins import Publisher
from imagesmith.sources import follow
from imagesmith.sources.asking import MOST, Asking
from imagesmith.sources.cache import Cache
from imagesmith.sources.fetch import Patience
from imagesmith.sources.keys import Keys
from imagesmith.sources.lock import NO_ENTRY, LockEntry

QUICK = Patience(attempts=2, pause_s=0.01, connect_s=2, stall_s=0.5)
RAW = b"\xeb\x63\x90" + bytes(range(256)) * 40
PACKED = lzma.compress(RAW, preset=0)
UBUNTU = {"file": "ubuntu-24.04*-server-cloudimg-amd64.img", "dated": "../release-{serial}/"}
DEBIAN = {"file": "debian-13-generic-arm64.raw", "dated": "../{serial}/debian-13-generic-arm64-{serial}.raw"}
TODAY = "2026-11-23"


@pytest.fixture(autouse=True)
def nothing_published(server: Server) -> None:
    """What an earlier test put on the module's server is gone."""
    server.forget()


class House:
    """One publisher's release on a server, and a base that follows it."""

    def __init__(self, server: Server, key: Key, tmp_path: Path) -> None:
        self.server, self.key, self.cache = server, key, Cache(tmp_path / "cache")

    def base(
        self, publisher: Publisher, release: Release, index: str, choose: Mapping[str, str], *, signed: bool = True
    ) -> Base:
        source = release.source(self.server, self.key if signed else None)
        return Base("followed", "debian", replace(source, follow=Follow(publisher, self.server.url(index), choose)))

    def look(self, base: Base, *, known: LockEntry = NO_ENTRY, asking: Asking | None = None) -> LockEntry:
        keyrings = self.key.signer.keyring(self.key.fingerprint).parent
        keys = Keys(lambda: keyrings, self.cache, QUICK, unheard)
        asking = asking or Asking(*follow.asking_for([base]), patience=QUICK)
        return follow.newest(base, asking, keys, self.cache, today=TODAY, known=known)

    def raspberry_pi(self, **more: object) -> Base:
        release = houses.raspberry_pi(PACKED, self.key)
        release.put(self.server)
        self.server.file(indexes.OS_LIST, indexes.os_list(indexes.os_entry(self.server, release, RAW, **more)))
        choose = {"name": indexes.NAME, "init_format": "cloudinit-rpi"}
        return self.base("raspberrypi", release, indexes.OS_LIST, choose)

    def armbian(self) -> Base:
        release = houses.armbian(PACKED, self.key)
        release.put(self.server)
        self.server.file(indexes.BOARD, indexes.armbian_list(indexes.armbian_entry(self.server, release)))
        choose = {"release": "trixie", "branch": "current", "variant": "minimal"}
        return self.base("armbian", release, indexes.BOARD, choose)

    def ubuntu(self, *, key: Key | None = None, choose: Mapping[str, str] = UBUNTU) -> Base:
        release = houses.ubuntu(RAW, key or self.key)
        release.put(self.server)
        self.server.file("/releases/noble/release/unpacked/build-info.txt", indexes.build_info("20261005"))
        return self.base("ubuntu", release, release.checksums, choose)

    def debian(self) -> Base:
        release = houses.debian(RAW)
        release.put(self.server)
        description = indexes.debian_description("20261005-2262")
        self.server.file("/images/cloud/trixie/latest/debian-13-generic-arm64.json", description)
        return self.base("debian", release, release.checksums, DEBIAN, signed=False)

    def asked(self) -> list[str]:
        return [path.rpartition("/")[2] for path, _ in self.server.seen]


@pytest.fixture
def house(server: Server, key: Key, tmp_path: Path) -> House:
    return House(server, key, tmp_path)


# -- what each publisher's index becomes ----------------------------------------------------------


def test_raspberry_pis_image_is_known_but_nobody_vouches_for_it_yet(house: House) -> None:
    found = house.look(house.raspberry_pi())
    assert (found.digest, found.size) == (Digest.of(PACKED), len(PACKED))
    assert (found.raw_digest, found.raw_size) == (Digest.of(RAW), len(RAW))
    assert found.url.endswith("/2026-10-05-raspios-trixie-arm64-lite.img.xz")
    assert found.signature_url == f"{found.url}.sig"
    assert (found.version, found.resolved, found.unchecked) == ("2026-10-06", TODAY, True)
    assert found.origin["digest"] == "sha256 file beside it, unsigned"
    assert house.asked() == ["os_list_imagingutility_v4.json", "2026-10-05-raspios-trixie-arm64-lite.img.xz.sha256"]


def test_armbians_image_is_known_by_its_one_space_checksum(house: House) -> None:
    found = house.look(house.armbian())
    assert (found.digest, found.size, found.version) == (Digest.of(PACKED), len(PACKED), "26.8.1")
    assert "/archive/Armbian_26.8.1_" in found.url
    assert found.signature_url.endswith("/Trixie_current_minimal.asc")
    assert found.unchecked


def test_ubuntus_list_is_vouched_for_by_its_signature(house: House) -> None:
    found = house.look(house.ubuntu())
    assert (found.digest, found.fingerprint, found.unchecked) == (Digest.of(RAW), house.key.fingerprint, False)
    assert found.url == house.server.url("/releases/noble/release-20261005/ubuntu-24.04-server-cloudimg-amd64.img")
    assert found.mirror == house.server.url("/releases/noble/release/ubuntu-24.04-server-cloudimg-amd64.img")
    assert found.origin["digest"] == f"SHA256SUMS signed by {house.key.fingerprint}"
    assert house.asked() == ["SHA256SUMS", "SHA256SUMS.gpg", "build-info.txt"]


def test_debians_list_is_signed_by_nobody_and_that_is_told(house: House) -> None:
    found = house.look(house.debian())
    assert (found.unchecked, found.fingerprint, found.version) == (True, "", "20261005-2262")
    assert found.digest is not None
    assert found.digest.algorithm == "sha512"
    assert found.origin["digest"] == "SHA512SUMS over https, unsigned"
    assert found.url.endswith("/trixie/20261005-2262/debian-13-generic-arm64-20261005-2262.raw")


def test_no_image_is_fetched(house: House) -> None:
    for base in (house.raspberry_pi(), house.armbian(), house.ubuntu(), house.debian()):
        house.look(base)
    assert not [name for name in house.asked() if name.endswith((".img", ".img.xz", ".raw"))]


def test_a_list_that_was_found_signed_is_not_asked_again_while_it_says_the_same(house: House) -> None:
    base = house.ubuntu(choose={"file": UBUNTU["file"]})
    known = house.look(base)
    house.server.seen.clear()
    again = house.look(base, known=known)
    assert house.asked() == ["SHA256SUMS"]
    assert again.digest == known.digest


def test_an_unchecked_one_is_asked_again(house: House) -> None:
    base = house.ubuntu(choose={"file": UBUNTU["file"]})
    house.look(base, known=replace(house.look(base), unchecked=True))
    assert house.asked().count("SHA256SUMS.gpg") == 2


# -- what may fail softly -------------------------------------------------------------------------


@pytest.mark.parametrize("description", [None, b"serial=\n", b"<html>", b"serial=20261005/..\n"])
def test_without_a_serial_the_moving_address_stays(house: House, description: bytes | None) -> None:
    base = house.ubuntu()
    path = "/releases/noble/release/unpacked/build-info.txt"
    if description is None:
        house.server.on(path, lambda request: request.send_error(404))
    else:
        house.server.file(path, description)
    found = house.look(base)
    assert found.url == house.server.url("/releases/noble/release/ubuntu-24.04-server-cloudimg-amd64.img")
    assert (found.mirror, found.digest, found.unchecked) == ("", Digest.of(RAW), False)


def test_without_the_checksum_beside_it_the_digest_stays_open(house: House) -> None:
    base = house.raspberry_pi()
    sums = houses.raspberry_pi(PACKED, house.key).checksums
    house.server.on(sums, lambda request: request.send_error(404))
    found = house.look(base)
    assert (found.digest, found.unchecked, found.raw_digest) == (None, False, Digest.of(RAW))


def test_a_digest_in_the_index_saves_the_question(house: House) -> None:
    found = house.look(house.raspberry_pi(image_download_sha256=Digest.of(PACKED).hex))
    assert (found.digest, found.origin["digest"]) == (Digest.of(PACKED), "os_list v4")
    assert len(house.asked()) == 1


# -- what is refused ------------------------------------------------------------------------------


def test_a_list_that_another_key_signed_is_refused(house: House) -> None:
    other = Key(house.key.signer, house.key.signer.make("other"))
    with pytest.raises(SignatureInvalid, match="not pinned"):
        house.look(house.ubuntu(key=other))


def test_a_list_that_was_changed_after_it_was_signed_is_refused(house: House) -> None:
    base = house.ubuntu()
    sums = "/releases/noble/release/SHA256SUMS"
    house.server.file(sums, houses.line(b"evil", "ubuntu-24.04-server-cloudimg-amd64.img", gap=" *"))
    with pytest.raises(SignatureInvalid, match="altered"):
        house.look(base)


def test_a_key_that_has_expired_is_refused(house: House) -> None:
    signer, base = house.key.signer, house.ubuntu()
    lived = signer.make("expired", at="20200101T000000", expires="1d")
    assert isinstance(base.source, HttpSource)
    assert base.source.signature
    pinned = replace(base.source.signature, fingerprints=(lived,), keyring=signer.keyring(lived).name)
    base = replace(base, source=replace(base.source, signature=pinned))
    sums = houses.ubuntu(RAW, house.key).files["/releases/noble/release/SHA256SUMS"]
    signature = signer.sign(sums, lived, at="20200101T010000")
    house.server.file("/releases/noble/release/SHA256SUMS.gpg", signature)
    with pytest.raises(SignatureInvalid, match="expired"):
        house.look(base)


def test_a_signed_list_in_which_the_image_is_not_listed_is_refused(house: House) -> None:
    base = house.ubuntu()
    sums = houses.line(RAW, "ubuntu-26.04-server-cloudimg-amd64.img", gap=" *")
    house.server.file("/releases/noble/release/SHA256SUMS", sums)
    house.server.file("/releases/noble/release/SHA256SUMS.gpg", house.key.sign(sums))
    with pytest.raises(ContentMalformed, match=r"there is 'ubuntu-26\.04-server"):
        house.look(base)


def signed_sums(house: House, text: bytes) -> Base:
    base = house.ubuntu(choose={"file": UBUNTU["file"]})
    house.server.file("/releases/noble/release/SHA256SUMS", text)
    house.server.file("/releases/noble/release/SHA256SUMS.gpg", house.key.sign(text))
    return base


IMAGE = "ubuntu-24.04-server-cloudimg-amd64.img"
HEX = Digest.of(RAW).hex


@pytest.mark.parametrize(
    "text",
    [f"{HEX}  {IMAGE}\r\n", f"{HEX} {IMAGE}\n", f"{HEX} *{IMAGE}\n", f"SHA256 ({IMAGE}) = {HEX}\n",
     f"{HEX}  {IMAGE}\n{HEX}  {IMAGE}\n"],
    ids=["CRLF", "one space", "star", "BSD", "twice the same"],
)  # fmt: skip
def test_every_dialect_of_a_signed_list_is_followed(house: House, text: str) -> None:
    assert house.look(signed_sums(house, text.encode())).digest == Digest.of(RAW)


def test_a_signed_list_that_contradicts_itself_is_refused(house: House) -> None:
    with pytest.raises(ContentMalformed, match="contradicts itself"):
        house.look(signed_sums(house, f"{HEX}  {IMAGE}\n{'0' * 64}  {IMAGE}\n".encode()))


def huge(request: Request) -> None:
    """More than any index has, without telling so before."""
    request.send_response(200)
    request.send_header("Connection", "close")
    request.end_headers()
    for _ in range(20):
        request.wfile.write(b" " * (1 << 20))


def html(request: Request) -> None:
    request.give(b"<html>log in</html>", Content_Type="text/html; charset=utf-8")


def page(request: Request) -> None:
    """A web page that does not say so."""
    request.give(b"<!DOCTYPE html><title>Moved</title>", Content_Type="application/octet-stream")


def loop(request: Request) -> None:
    request.give(b"", 302, Location=request.path)


def cut_off(request: Request) -> None:
    request.give(b'{"os_list": [{"name": "Ras', Content_Type="application/json")


WRONG: list[tuple[Callable[[Request], None], type[ImagesmithError], str]] = [
    (huge, ContentMalformed, "larger than the 16"),
    (html, ContentMalformed, "HTML page"),
    (page, ContentMalformed, "no checksum|is not JSON"),
    (loop, SourceUnreachable, "redirects more than"),
    (lambda request: request.send_error(404), SourceUnreachable, "404"),
]


@pytest.mark.parametrize("which", ["raspberry_pi", "armbian", "ubuntu", "debian"])
@pytest.mark.parametrize(("answer", "kind", "told"), WRONG, ids=["huge", "HTML", "page", "loop", "404"])
def test_an_index_that_is_none_is_told(
    house: House, which: str, answer: Callable[[Request], None], kind: type[ImagesmithError], told: str
) -> None:
    base: Base = getattr(house, which)()
    assert isinstance(base.source, HttpSource)
    assert base.source.follow
    house.server.on("/" + base.source.follow.index.split("/", 3)[3], answer)
    with pytest.raises(kind, match=told) as raised:
        house.look(base)
    assert "while looking for the newest followed" in str(raised.value)
    assert base.source.follow.index in raised.value.where
    assert raised.value.hint


@pytest.mark.parametrize("which", ["raspberry_pi", "armbian"])
def test_an_index_that_was_cut_off_is_told(house: House, which: str) -> None:
    base: Base = getattr(house, which)()
    for path in (indexes.OS_LIST, indexes.BOARD):
        house.server.on(path, cut_off)
    with pytest.raises(ContentMalformed, match="damaged or cut off"):
        house.look(base)


@pytest.mark.parametrize("way", ["rpi-preseed", "systemd"])
def test_an_image_that_is_set_up_in_another_way_is_refused(house: House, way: str) -> None:
    with pytest.raises(ContentMalformed, match=f"set up by '{way}'"):
        house.look(house.raspberry_pi(init_format=way))


@pytest.mark.parametrize("way", [None, ""])
def test_an_index_that_does_not_tell_how_an_image_is_set_up_is_followed(house: House, way: str | None) -> None:
    assert house.look(house.raspberry_pi(init_format=way)).digest == Digest.of(PACKED)


# -- how much is asked ----------------------------------------------------------------------------


def test_a_file_is_fetched_once_for_all_who_need_it(server: Server) -> None:
    url = server.file("/index", b"{}")
    asking = Asking([url], patience=QUICK)
    assert [asking.need(url) for _ in range(3)] == [b"{}"] * 3
    assert server.asked("/index") == 1


def test_a_failure_is_not_asked_for_again(server: Server) -> None:
    url = server.url("/gone")
    asking = Asking([url], patience=QUICK)
    for _ in range(2):
        with pytest.raises(SourceUnreachable):
            asking.need(url)
    assert server.asked("/gone") == 1


def test_courtesies_leave_room_for_what_is_needed(server: Server) -> None:
    urls = [server.file(f"/{name}", name.encode()) for name in ("one", "two", "three", "four")]
    asking = Asking(urls[:2], urls[2:3], patience=QUICK)
    assert asking.courtesy(urls[3]) is None
    assert [asking.need(urls[0]), asking.wish(urls[2]), asking.need(urls[1])] == [b"one", b"three", b"two"]
    assert asking.courtesy(urls[3]) is None
    assert asking.asked.total() == MOST == len(server.seen)


def test_a_signature_beyond_the_number_is_left_to_the_first_use(house: House) -> None:
    base = house.ubuntu(choose={"file": UBUNTU["file"]})
    others = [house.server.file(f"/other{number}", b"") for number in range(2)]
    needed, wished = follow.asking_for([base])
    asking = Asking([*needed, *others], wished, patience=QUICK)
    found = house.look(base, asking=asking)
    assert (found.digest, found.unchecked, found.fingerprint) == (Digest.of(RAW), True, "")
    assert found.signature_url.endswith("/SHA256SUMS.gpg")


def test_what_was_vouched_for_is_not_given_up_for_what_nobody_has(house: House) -> None:
    base = house.ubuntu(choose={"file": UBUNTU["file"]})
    known = replace(house.look(base), digest=Digest.of(b"last month's"))
    others = [house.server.file(f"/other{number}", b"") for number in range(2)]
    needed, wished = follow.asking_for([base])
    assert house.look(base, known=known, asking=Asking([*needed, *others], wished, patience=QUICK)) == known
    assert house.look(base, known=known).digest == Digest.of(RAW)


def test_a_serial_that_nobody_signed_makes_no_list_newer_than_its_signature(house: House) -> None:
    base = house.ubuntu()
    house.server.file("/releases/noble/release/unpacked/build-info.txt", indexes.build_info("20991231"))
    found = house.look(base)
    assert found.released < 4_000_000_000
    assert (found.url, found.version) == (
        house.server.url("/releases/noble/release/ubuntu-24.04-server-cloudimg-amd64.img"),
        "24.04",
    )


def test_a_signature_that_is_not_there_is_a_failure(house: House) -> None:
    base = house.ubuntu()
    house.server.on("/releases/noble/release/SHA256SUMS.gpg", lambda request: request.send_error(404))
    with pytest.raises(SourceUnreachable, match="404"):
        house.look(base)
