"""Publishers' keys fetched from their own address: only pinned fingerprints count, whatever else the file holds."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from publishers.server import Request, Server
from publishers.signing import Signer

from imagesmith.errors import ContentMalformed, SignatureInvalid, SourceUnreachable
from imagesmith.formats.openpgp import public_keys
from imagesmith.model import Base, Digest, HttpSource, ObtainedBase, Signature
from imagesmith.sources.cache import Cache
from imagesmith.sources.fetch import Patience
from imagesmith.sources.keys import KIND, pinned_keys
from imagesmith.sources.obtain import obtain_http
from imagesmith.units import MiB

QUICK = Patience(attempts=2, pause_s=0.01, connect_s=2, stall_s=0.5)
pytestmark = pytest.mark.skipif(not shutil.which("gpg"), reason="gpg makes the tests' keys")


@pytest.fixture(scope="module")
def stranger(signer: Signer) -> str:
    return signer.make("stranger")


@dataclass(frozen=True)
class Shop:
    """A publisher's server with an image, its signature and a key file; and a cache, and no bundled key."""

    server: Server
    cache: Cache
    image: bytes
    keyrings: Path

    def get(self, pinned: str, *, image: str = "/a.img", refresh: bool = False) -> ObtainedBase:
        signature = Signature(
            self.server.url(f"{image}.sig"), "file", (pinned,), "ours.gpg", self.server.url("/ours.key")
        )
        base = Base("test", "debian", HttpSource(self.server.url(image), signature=signature))
        return obtain_http(base, cache=self.cache, patience=QUICK, keyrings=self.keyrings, refresh=refresh)

    def sell(self, signature: bytes, *, image: str = "/a.img") -> None:
        self.server.file(image, self.image)
        self.server.file(f"{image}.sig", signature)

    def asked(self) -> list[str]:
        return [path for path, _ in self.server.seen]


@pytest.fixture
def shop(server: Server, cache: Cache, image: bytes, tmp_path: Path) -> Shop:
    (tmp_path / "keyrings").mkdir()
    server.on("/ours.key", lambda request: request.send_error(404))
    return Shop(server, cache, image, tmp_path / "keyrings")


def fingerprints(ring: Path) -> list[str]:
    return [key.fingerprint for key in public_keys(ring.read_bytes())]


def ring_of(cache: Cache) -> Path:
    [ring] = [entry.path for entry in cache.entries() if entry.kind == KIND]
    return ring


@pytest.mark.parametrize("armour", [True, False], ids=["armoured", "binary"])
def test_a_pinned_key_from_its_publisher_is_as_good_as_a_bundled_one(
    armour: bool, shop: Shop, signer: Signer, publisher: str
) -> None:
    shop.sell(signer.sign(shop.image, publisher))
    shop.server.file("/ours.key", signer.export(publisher, armour=armour))
    got = shop.get(publisher)
    assert got.path.read_bytes() == shop.image
    assert got.trust == f"signed by {publisher}"


def test_of_a_file_with_several_keys_only_the_pinned_one_is_kept(
    shop: Shop, signer: Signer, publisher: str, stranger: str
) -> None:
    shop.sell(signer.sign(shop.image, publisher))
    blocks = [signer.export(key, armour=True) for key in (stranger, publisher)]
    shop.server.file("/ours.key", b"\n".join(blocks))
    shop.get(publisher)
    assert fingerprints(ring_of(shop.cache)) == [publisher]


def test_a_signature_by_a_key_of_the_file_that_is_not_pinned_is_refused(
    shop: Shop, signer: Signer, publisher: str, stranger: str
) -> None:
    shop.sell(signer.sign(shop.image, stranger))
    shop.server.file("/ours.key", signer.export(stranger, publisher))
    with pytest.raises(SignatureInvalid, match="not pinned"):
        shop.get(publisher)
    assert [entry.kind for entry in shop.cache.entries()] == [KIND]


def test_a_foreign_key_is_refused_by_its_fingerprint_before_the_image_is_fetched(
    shop: Shop, signer: Signer, publisher: str, stranger: str
) -> None:
    shop.sell(signer.sign(shop.image, stranger))
    shop.server.file("/ours.key", signer.export(stranger, armour=True))
    with pytest.raises(SignatureInvalid, match=f"it holds {stranger}, and the profile pins {publisher}") as raised:
        shop.get(publisher)
    assert raised.value.exit_code == 4
    assert "while getting the publisher's key" in str(raised.value)
    assert raised.value.hint
    assert shop.asked() == ["/ours.key"]
    assert shop.cache.entries() == ()


def test_a_key_that_bears_the_publishers_name_is_not_the_publishers(
    shop: Shop, signer: Signer, publisher: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    liar = Signer(tmp_path_factory.mktemp("liar"))
    try:
        key = liar.make("publisher")
        shop.sell(liar.sign(shop.image, key))
        shop.server.file("/ours.key", liar.export(key, armour=True))
    finally:
        liar.close()
    with pytest.raises(SignatureInvalid, match=f"no key of this file is pinned; it holds {key}"):
        shop.get(publisher)


class TestSubkeys:
    """A fingerprint does not cover subkeys, so that whoever brings the key file can add some: gpgv must see it."""

    @pytest.fixture
    def forger(self, signer: Signer) -> Iterator[tuple[str, bytes, bytes]]:
        """A key of the forger; its subkey with the forger's binding signature, and the subkey alone."""
        key = signer.make(f"forger{os.urandom(4).hex()}")
        signer.add_subkey(key)
        bound = signer.export(key)
        bound = bound[bound.rindex(b"\xb8\x33\x04") :]  # an old-format header, 51 bytes, version 4: ed25519
        yield key, bound, bound[:53]

    def test_the_publishers_own_subkey_signs(self, shop: Shop, signer: Signer) -> None:
        key = signer.make("with-subkey")
        signer.add_subkey(key)
        shop.sell(signer.sign(shop.image, key))
        shop.server.file("/ours.key", signer.export(key, armour=True))
        assert shop.get(key).trust == f"signed by {key}"

    @pytest.mark.parametrize("with_binding", [True, False], ids=["bound by the forger", "not bound"])
    def test_a_forged_one_does_not(
        self, with_binding: bool, shop: Shop, signer: Signer, publisher: str, forger: tuple[str, bytes, bytes]
    ) -> None:
        key, bound, alone = forger
        forged = signer.export(publisher) + (bound if with_binding else alone)
        [listed] = public_keys(forged)
        assert (listed.fingerprint, listed.packets) == (publisher, forged)
        shop.sell(signer.sign(shop.image, key))
        shop.server.file("/ours.key", forged)
        with pytest.raises(SignatureInvalid, match="not pinned"):
            shop.get(publisher)
        # It is the forgery that decides: the publisher's own signature passes with the same key file.
        shop.sell(signer.sign(shop.image, publisher))
        assert shop.get(publisher).trust == f"signed by {publisher}"


class TestWhatIsNoKeyFile:
    @pytest.mark.parametrize(
        "body",
        [b"", b"<!doctype html><html>moved</html>", b"garbage\n" * 9, b"\x99\x01\x0d\x04cut off"],
        ids=["empty", "page", "garbage", "truncated"],
    )
    def test_it_is_refused_and_nothing_is_kept(self, body: bytes, shop: Shop, publisher: str) -> None:
        url = shop.server.file("/ours.key", body)
        with pytest.raises(ContentMalformed) as raised:
            shop.get(publisher)
        assert raised.value.exit_code == 4
        assert raised.value.where == url
        assert raised.value.hint
        assert shop.cache.entries() == ()

    def test_armour_that_is_cut_off(self, shop: Shop, signer: Signer, publisher: str) -> None:
        shop.server.file("/ours.key", signer.export(publisher, armour=True)[:-60])
        with pytest.raises(ContentMalformed, match="armour"):
            shop.get(publisher)

    def test_a_page_that_says_so(self, shop: Shop, publisher: str) -> None:
        shop.server.on("/ours.key", lambda request: request.give(b"<html>", Content_Type="text/html"))
        with pytest.raises(ContentMalformed, match="HTML page"):
            shop.get(publisher)

    def test_more_than_a_mebibyte(self, shop: Shop, signer: Signer, publisher: str) -> None:
        shop.server.file("/ours.key", signer.export(publisher) + bytes(MiB))
        with pytest.raises(ContentMalformed, match=r"larger than the 1\.0 MiB"):
            shop.get(publisher)

    def test_a_redirect_to_http_is_not_followed(self, shop: Shop, publisher: str) -> None:
        shop.server.on("/ours.key", lambda request: request.give(b"", 302, Location="http://127.0.0.1:1/ours.key"))
        with pytest.raises(SourceUnreachable, match="not https"):
            shop.get(publisher)

    def test_one_that_is_not_there(self, shop: Shop, publisher: str) -> None:
        with pytest.raises(SourceUnreachable, match=r"404.*while getting the publisher's key") as raised:
            shop.get(publisher)
        assert raised.value.exit_code == 3


def failing(request: Request) -> None:
    request.send_error(500)


class TestTheCache:
    def test_a_key_is_fetched_once_and_then_needs_no_network(self, shop: Shop, signer: Signer, publisher: str) -> None:
        shop.server.file("/ours.key", signer.export(publisher))
        for image in ("/a.img", "/b.img"):
            shop.sell(signer.sign(shop.image, publisher), image=image)
            shop.get(publisher, image=image)
            shop.server.on("/ours.key", failing)
        assert shop.asked().count("/ours.key") == 1

    def test_an_image_in_the_cache_needs_no_key(self, shop: Shop, signer: Signer, publisher: str) -> None:
        shop.server.file("/ours.key", signer.export(publisher))
        shop.sell(signer.sign(shop.image, publisher))
        got = shop.get(publisher)
        shutil.rmtree(ring_of(shop.cache).parent)
        shop.server.on("/ours.key", failing)
        assert shop.get(publisher) == got

    def test_other_pins_of_the_same_address_are_another_key(
        self, shop: Shop, signer: Signer, publisher: str, stranger: str
    ) -> None:
        shop.server.file("/ours.key", signer.export(publisher, stranger))
        for key in (publisher, stranger):
            shop.sell(signer.sign(shop.image, key), image=f"/{key}.img")
            assert shop.get(key, image=f"/{key}.img").trust == f"signed by {key}"

    def test_a_refresh_asks_again_but_offline_the_key_at_hand_is_good(
        self, shop: Shop, signer: Signer, publisher: str
    ) -> None:
        shop.server.file("/ours.key", signer.export(publisher))
        shop.sell(signer.sign(shop.image, publisher))
        shop.get(publisher, refresh=True)
        shop.get(publisher, refresh=True)
        assert shop.asked().count("/ours.key") == 2
        shop.server.on("/ours.key", failing)
        assert shop.get(publisher, refresh=True).trust == f"signed by {publisher}"

    def test_a_key_that_was_prolonged_is_fetched_again_by_itself(self, shop: Shop, signer: Signer) -> None:
        key = signer.make("yearly", at="20200101T000000", expires="1y")
        shop.sell(signer.sign(shop.image, key, at="20200601T000000"))
        shop.server.file("/ours.key", signer.export(key))
        with pytest.raises(SignatureInvalid, match="has expired"):
            shop.get(key)
        signer.prolong(key, at="20200601T000000")
        shop.server.file("/ours.key", signer.export(key))
        assert shop.get(key).trust == f"signed by {key}"

    def test_a_wrong_signature_stays_wrong_though_the_key_is_fetched_again(
        self, shop: Shop, signer: Signer, publisher: str
    ) -> None:
        shop.sell(signer.sign(shop.image + b"x", publisher))
        shop.server.file("/ours.key", signer.export(publisher))
        with pytest.raises(SignatureInvalid, match="does not fit the file"):
            shop.get(publisher)


def test_a_bundled_keyring_goes_first(shop: Shop, signer: Signer, publisher: str) -> None:
    shutil.copy(signer.keyring(publisher), shop.keyrings / "ours.gpg")
    shop.sell(signer.sign(shop.image, publisher))
    shop.server.on("/ours.key", failing)
    assert shop.get(publisher).trust == f"signed by {publisher}"
    assert "/ours.key" not in shop.asked()


def test_a_signed_list_takes_a_fetched_key_too_and_works_offline_then(
    shop: Shop, signer: Signer, publisher: str
) -> None:
    listed = f"{Digest.of(shop.image).hex}  a.img\n".encode()
    key_url = shop.server.file("/ours.key", signer.export(publisher, armour=True))
    sums, detached = shop.server.file("/SUMS", listed), shop.server.file("/SUMS.gpg", signer.sign(listed, publisher))
    signature = Signature(detached, "checksums", (publisher,), "ours.gpg", key_url)
    source = HttpSource(shop.server.file("/a.img", shop.image), checksums_url=sums, signature=signature)

    def get() -> ObtainedBase:
        return obtain_http(Base("test", "debian", source), cache=shop.cache, patience=QUICK, keyrings=shop.keyrings)

    got = get()
    assert got.trust == f"in the publisher's checksum list, signed by {publisher}"
    for path in ("/ours.key", "/SUMS", "/SUMS.gpg", "/a.img"):
        shop.server.on(path, failing)
    assert get() == got
    shutil.rmtree(ring_of(shop.cache).parent)
    assert get() == got


def test_gpg_takes_what_is_kept_for_a_keyring_of_that_key_alone(
    signer: Signer, publisher: str, stranger: str, tmp_path: Path
) -> None:
    ring = tmp_path / "ring.gpg"
    ring.write_bytes(pinned_keys(signer.export(stranger, publisher), (publisher,), "there"))
    done = subprocess.run(
        signer.argv("--no-default-keyring", "--keyring", str(ring), "--with-colons", "--list-keys"),
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    listed = [line.split(":")[9] for line in done.stdout.decode().splitlines() if line.startswith("fpr")]
    assert listed == [publisher]
