"""From a publisher's URL or a local file to a verified raw image in the cache."""

from __future__ import annotations

import hashlib
import lzma
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from publishers.server import Request, Server, breaking_off, honest, slowly
from publishers.signing import Signer

from imagesmith.errors import (
    ContentMalformed,
    DigestMismatch,
    ImagesmithError,
    NoSpace,
    SignatureInvalid,
    SourceUnreachable,
    ToolMissing,
    UsageError,
)
from imagesmith.events import Event, Progress, unheard
from imagesmith.model import Base, Digest, FileSource, HttpSource, ObtainedBase, Signature
from imagesmith.sources import cache as cache_module
from imagesmith.sources.cache import Cache
from imagesmith.sources.fetch import Patience
from imagesmith.sources.obtain import in_cache, obtain_file, obtain_http

QUICK = Patience(attempts=2, pause_s=0.01, connect_s=2, stall_s=0.5)


@pytest.fixture
def packed(image: bytes) -> bytes:
    return lzma.compress(image, preset=0)


def _http(source: HttpSource, cache: Cache, insecure: bool = False, keyrings: Path | None = None) -> ObtainedBase:
    base = Base("test", "debian", source)
    return obtain_http(base, cache=cache, insecure=insecure, listener=unheard, patience=QUICK, keyrings=keyrings)


def _pinned(url: str, packed: bytes, **options: object) -> HttpSource:
    return replace(HttpSource(url, digest=Digest.of(packed), released=1_700_000_000), **options)  # type: ignore[arg-type]


def _gone(cache: Cache) -> bool:
    """Nothing half-made is left where final names are."""
    return not cache.entries() and not list((cache.root / "tmp").iterdir())


class TestPinned:
    def test_a_pinned_file_becomes_a_raw_image(self, server: Server, cache: Cache, packed: bytes, image: bytes) -> None:
        got = _http(_pinned(server.file("/a.img.xz", packed), packed), cache)
        assert got.path.read_bytes() == image
        assert (got.size, got.digest, got.published) == (len(image), Digest.of(image), Digest.of(packed))
        assert got.epoch == 1_700_000_000
        assert "pinned" in got.trust

    def test_the_second_time_needs_no_network(self, server: Server, cache: Cache, packed: bytes) -> None:
        source = _pinned(server.file("/once.img.xz", packed), packed)
        first = _http(source, cache)
        server.on("/once.img.xz", lambda request: request.send_error(500))
        cache_module._checked.clear()
        assert _http(source, cache) == first
        assert len(server.seen) == 1

    def test_how_large_the_published_file_is_is_told_also_later(
        self, server: Server, cache: Cache, packed: bytes
    ) -> None:
        source = _pinned(server.file("/sized.img.xz", packed), packed)
        for _ in ("fetched", "from the cache"):
            assert _http(source, cache).published_size == len(packed)

    def test_sha512_pins_too(self, server: Server, cache: Cache, packed: bytes, image: bytes) -> None:
        digest = Digest("sha512", hashlib.sha512(packed).hexdigest())
        got = _http(HttpSource(server.file("/512.img.xz", packed), digest=digest), cache)
        assert got.path.read_bytes() == image
        assert got.published == digest

    def test_another_file_is_refused(self, server: Server, cache: Cache, packed: bytes) -> None:
        url = server.file("/other.img.xz", lzma.compress(b"\x01\x02" + os.urandom(5000)))
        with pytest.raises(DigestMismatch, match="as promised") as raised:
            _http(_pinned(url, packed), cache)
        assert raised.value.exit_code == 4
        assert _gone(cache)

    def test_a_flipped_bit_is_refused_and_the_next_run_starts_anew(
        self, server: Server, cache: Cache, packed: bytes, image: bytes
    ) -> None:
        bad = bytearray(packed)
        bad[len(bad) // 2] ^= 1
        source = _pinned(server.file("/bit.img.xz", bytes(bad)), packed)
        with pytest.raises(DigestMismatch):
            _http(source, cache)
        assert _gone(cache)
        server.file("/bit.img.xz", packed)
        assert _http(source, cache).path.read_bytes() == image

    def test_a_flipped_bit_of_a_raw_image_is_refused(self, server: Server, cache: Cache, image: bytes) -> None:
        url = server.file("/bit.img", bytes([image[0] ^ 1]) + image[1:])
        with pytest.raises(DigestMismatch, match="as promised"):
            _http(_pinned(url, image), cache)
        assert _gone(cache)

    def test_html_instead_of_the_image_is_named(self, server: Server, cache: Cache, packed: bytes) -> None:
        url = server.file("/page.img.xz", b"<!doctype html><html><body>gone</body></html>")
        with pytest.raises(ContentMalformed, match="an HTML page"):
            _http(_pinned(url, packed), cache)

    def test_a_truncated_body_without_length_is_refused(self, server: Server, cache: Cache, packed: bytes) -> None:
        url = server.on("/cut.img.xz", lambda request: request.give(packed[:-100], Content_Length=""))
        with pytest.raises(DigestMismatch, match="truncated"):
            _http(_pinned(url, packed), cache)
        assert _gone(cache)

    def test_a_broken_download_is_gone_on_with_by_the_next_run(
        self, server: Server, cache: Cache, packed: bytes, image: bytes
    ) -> None:
        half = len(packed) // 2
        url = server.on("/half.img.xz", breaking_off(packed, half, lambda request: request.hang_up()))
        source = _pinned(url, packed)
        with pytest.raises(SourceUnreachable):
            _http(source, cache)
        server.seen.clear()
        server.file("/half.img.xz", packed)
        assert _http(source, cache).path.read_bytes() == image
        assert server.seen[0][1]["Range"] == f"bytes={half}-"

    def test_a_file_that_changes_in_the_middle_is_expanded_from_the_start(
        self, server: Server, cache: Cache, packed: bytes, image: bytes
    ) -> None:
        other = lzma.compress(os.urandom(len(image)))
        url = server.on(
            "/moved.img.xz", breaking_off(other, len(other) // 2, lambda request: honest(request, packed, '"two"'))
        )
        assert _http(_pinned(url, packed), cache).path.read_bytes() == image

    def test_mirrors_are_tried_in_order(self, server: Server, cache: Cache, packed: bytes, image: bytes) -> None:
        source = _pinned(
            server.url("/absent"),
            packed,
            mirrors=(server.file("/m1", packed[:-1] + b"?"), server.file("/m2", packed), server.file("/m3", packed)),
        )
        assert _http(source, cache).path.read_bytes() == image
        assert [path for path, _ in server.seen] == ["/absent", "/m1", "/m2"]

    def test_when_all_mirrors_fail_the_first_reason_is_told(self, server: Server, cache: Cache, packed: bytes) -> None:
        source = _pinned(server.url("/absent"), packed, mirrors=(server.url("/absent-too"),))
        with pytest.raises(SourceUnreachable, match=r"/absent: .*404.*while getting base test"):
            _http(source, cache)

    def test_the_promised_raw_size_and_digest_hold(
        self, server: Server, cache: Cache, packed: bytes, image: bytes
    ) -> None:
        url = server.file("/raw.img.xz", packed)
        with pytest.raises(DigestMismatch, match="expands to more"):
            _http(_pinned(url, packed, raw_size=len(image) - 1), cache)
        with pytest.raises(DigestMismatch, match="were promised"):
            _http(_pinned(url, packed, raw_size=len(image) + 1), cache)
        with pytest.raises(DigestMismatch, match="as promised"):
            _http(_pinned(url, packed, raw_digest=Digest.of(b"x")), cache)
        assert _gone(cache)
        _http(_pinned(url, packed, raw_size=len(image), raw_digest=Digest.of(image)), cache)
        with pytest.raises(DigestMismatch, match="as promised"):
            _http(_pinned(url, packed, raw_digest=Digest.of(b"x")), cache)

    def test_a_zip_and_a_qcow2_come_through_too(
        self, server: Server, cache: Cache, image: bytes, tmp_path: Path
    ) -> None:
        raw, disk = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
        raw.write_bytes(image[:512_000])
        subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", "-f", "raw", raw, disk], check=True)
        packed = disk.read_bytes()
        assert _http(_pinned(server.file("/disk.img", packed), packed), cache).path.read_bytes() == image[:512_000]

    def test_an_altered_cache_entry_is_fetched_again(
        self, server: Server, cache: Cache, packed: bytes, image: bytes
    ) -> None:
        source = _pinned(server.file("/again.img.xz", packed), packed)
        path = _http(source, cache).path
        path.chmod(0o644)
        path.write_bytes(image[:-1] + b"!")
        assert _http(source, cache).path.read_bytes() == image
        assert len(server.seen) == 2

    def test_an_endless_body_is_cut_off(self, server: Server, cache: Cache, image: bytes) -> None:
        def endless(request: Request) -> None:
            request.give(b"", Content_Length="")
            while True:
                request.wfile.write(image)

        source = HttpSource(server.on("/endless", endless), digest=Digest.of(b""), size=5_000_000)
        with pytest.raises(ContentMalformed, match="larger than"):
            _http(source, cache)
        assert _gone(cache)


class TestTrust:
    def test_nothing_known_is_refused_and_names_the_flag(self, server: Server, cache: Cache, packed: bytes) -> None:
        with pytest.raises(DigestMismatch, match="no digest is known") as raised:
            _http(HttpSource(server.file("/none.img.xz", packed)), cache)
        assert raised.value.exit_code == 4
        assert "--insecure-unverified" in raised.value.hint
        assert server.seen == []

    def test_insecure_takes_it_and_says_so(self, server: Server, cache: Cache, packed: bytes, image: bytes) -> None:
        source = HttpSource(server.file("/insecure.img.xz", packed))
        got = _http(source, cache, insecure=True)
        assert got.path.read_bytes() == image
        assert got.trust == "not verified (--insecure-unverified)"
        with pytest.raises(DigestMismatch):
            _http(source, cache)

    def test_an_unsigned_list_is_not_enough(self, server: Server, cache: Cache, packed: bytes) -> None:
        listed = server.file("/unsigned/SHA256SUMS", f"{Digest.of(packed).hex}  a.img.xz\n".encode())
        source = HttpSource(server.file("/unsigned/a.img.xz", packed), checksums_url=listed)
        with pytest.raises(DigestMismatch, match="is not signed"):
            _http(source, cache)
        assert "not signed" in _http(source, cache, insecure=True).trust

    def _signed(self, server: Server, signer: Signer, key: str, folder: str, packed: bytes, text: str) -> HttpSource:
        body = text.encode()
        server.file(f"/{folder}/SHA256SUMS", body)
        server.file(f"/{folder}/SHA256SUMS.gpg", signer.sign(body, key))
        signature = Signature(server.url(f"/{folder}/SHA256SUMS.gpg"), "checksums", (key,), signer.keyring(key).name)
        url = server.file(f"/{folder}/a.img.xz", packed)
        return HttpSource(url, checksums_url=server.url(f"/{folder}/SHA256SUMS"), signature=signature)

    def test_a_signed_list_is(
        self, server: Server, cache: Cache, packed: bytes, image: bytes, signer: Signer, publisher: str
    ) -> None:
        text = f"{'0' * 64}  b.img.xz\n{Digest.of(packed).hex} *a.img.xz\n"
        source = self._signed(server, signer, publisher, "signed", packed, text)
        got = _http(source, cache, keyrings=signer.keyring(publisher).parent)
        assert got.path.read_bytes() == image
        assert publisher in got.trust

    def test_a_signed_list_works_offline_once_fetched(
        self, server: Server, cache: Cache, packed: bytes, signer: Signer, publisher: str
    ) -> None:
        source = self._signed(server, signer, publisher, "later", packed, f"{Digest.of(packed).hex}  a.img.xz\n")
        keyrings = signer.keyring(publisher).parent
        first = _http(source, cache, keyrings=keyrings)
        for name in ("SHA256SUMS", "SHA256SUMS.gpg", "a.img.xz"):
            server.on(f"/later/{name}", lambda request: request.hang_up())
        assert _http(source, cache, keyrings=keyrings) == first

    def test_a_list_signed_by_another_key_is_refused(
        self, server: Server, cache: Cache, packed: bytes, signer: Signer, publisher: str
    ) -> None:
        other = signer.make("intruder")
        source = self._signed(server, signer, other, "intruder", packed, f"{Digest.of(packed).hex}  a.img.xz\n")
        assert source.signature is not None
        pinned = replace(source.signature, fingerprints=(publisher,), keyring=signer.keyring(publisher).name)
        with pytest.raises(SignatureInvalid):
            _http(replace(source, signature=pinned), cache, keyrings=signer.keyring(publisher).parent)
        assert "/intruder/a.img.xz" not in [path for path, _ in server.seen]

    def test_a_list_that_does_not_name_the_file_is_refused(
        self, server: Server, cache: Cache, packed: bytes, signer: Signer, publisher: str
    ) -> None:
        source = self._signed(server, signer, publisher, "unnamed", packed, f"{Digest.of(packed).hex}  b.img.xz\n")
        with pytest.raises(ContentMalformed, match=r"does not name a\.img\.xz"):
            _http(source, cache, keyrings=signer.keyring(publisher).parent)

    def test_a_signature_over_the_file_itself_is_enough(
        self, server: Server, cache: Cache, packed: bytes, image: bytes, signer: Signer, publisher: str
    ) -> None:
        ring = signer.keyring(publisher)
        sig = server.file("/own/a.img.xz.sig", signer.sign(packed, publisher))
        signature = Signature(sig, "file", (publisher,), ring.name)
        source = HttpSource(server.file("/own/a.img.xz", packed), signature=signature)
        got = _http(source, cache, keyrings=ring.parent)
        assert got.path.read_bytes() == image
        assert got.trust == f"signed by {publisher}"
        server.on("/own/a.img.xz", lambda request: request.send_error(500))
        assert _http(source, cache, keyrings=ring.parent) == got

    @pytest.mark.parametrize("covers", ["file", "checksums"])
    def test_a_key_that_is_not_bundled_is_told_before_anything_is_fetched(
        self, covers: Literal["file", "checksums"], server: Server, cache: Cache, packed: bytes, tmp_path: Path
    ) -> None:
        signature = Signature(server.url("/keyless.sig"), covers, ("A" * 40,), "none.gpg")
        url = server.file("/keyless.img.xz", packed)
        source = HttpSource(url, checksums_url=server.url("/keyless/SHA256SUMS"), signature=signature)
        with pytest.raises(SignatureInvalid, match=r"not bundled: there is no none\.gpg"):
            _http(source, cache, keyrings=tmp_path)
        assert server.seen == []

    def test_gpgv_that_is_missing_is_told_before_anything_is_fetched(
        self, server: Server, cache: Cache, packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "some.gpg").write_bytes(b"key")
        monkeypatch.setenv("PATH", str(tmp_path))
        signature = Signature(server.url("/toolless.sig"), "file", ("A" * 40,), "some.gpg")
        with pytest.raises(ToolMissing, match="gpgv"):
            _http(HttpSource(server.file("/toolless.img.xz", packed), signature=signature), cache, keyrings=tmp_path)
        assert server.seen == []

    def test_a_refresh_asks_the_publisher_again(
        self, server: Server, cache: Cache, packed: bytes, image: bytes
    ) -> None:
        source = HttpSource(server.file("/moving.img.xz", packed))
        _http(source, cache, insecure=True)
        newer = image + b"\x01newer"
        server.file("/moving.img.xz", lzma.compress(newer, preset=0))
        assert _http(source, cache, insecure=True).path.read_bytes() == image
        base = Base("test", "debian", source)
        fresh = obtain_http(base, cache=cache, insecure=True, refresh=True, patience=QUICK)
        assert fresh.path.read_bytes() == newer
        assert _http(source, cache, insecure=True) == fresh

    @pytest.mark.parametrize(("said", "epoch"), [("Wed, 15 Nov 2023 00:00:00 GMT", 1_700_006_400), ("soon", 0)])
    def test_the_epoch_is_when_the_server_says_it_was_made(
        self, said: str, epoch: int, server: Server, cache: Cache, packed: bytes
    ) -> None:
        url = server.on("/dated.img.xz", lambda request: request.give(packed, Last_Modified=said))
        for _ in ("fetched", "from the cache"):
            assert _http(HttpSource(url, digest=Digest.of(packed)), cache).epoch == epoch

    def test_a_wrong_signature_over_the_file_is_refused(
        self, server: Server, cache: Cache, packed: bytes, signer: Signer, publisher: str
    ) -> None:
        ring = signer.keyring(publisher)
        sig = server.file("/bad/a.img.xz.sig", signer.sign(packed + b"x", publisher))
        source = HttpSource(
            server.file("/bad/a.img.xz", packed), signature=Signature(sig, "file", (publisher,), ring.name)
        )
        with pytest.raises(SignatureInvalid):
            _http(source, cache, keyrings=ring.parent)
        assert _gone(cache)


class TestALook:
    """Whether a build would find the image; nothing is asked of the network, nothing read or made."""

    def test_a_pinned_one(self, server: Server, cache: Cache, packed: bytes) -> None:
        source = _pinned(server.file("/look.img.xz", packed), packed)
        assert not in_cache(source, cache)
        assert server.seen == []
        assert not cache.root.exists()
        _http(source, cache)
        assert in_cache(source, cache)
        assert not in_cache(_pinned(source.url, packed[1:]), cache)

    def test_one_that_is_known_by_its_address(
        self, server: Server, cache: Cache, packed: bytes, signer: Signer, publisher: str
    ) -> None:
        ring = signer.keyring(publisher)
        sig = server.file("/look/a.img.xz.sig", signer.sign(packed, publisher))
        source = HttpSource(
            server.file("/look/a.img.xz", packed), signature=Signature(sig, "file", (publisher,), ring.name)
        )
        assert not in_cache(source, cache)
        _http(source, cache, keyrings=ring.parent)
        assert in_cache(source, cache)
        assert not in_cache(replace(source, url=server.url("/look/b.img.xz")), cache)
        # Another key's word is another image, as far as anybody knows.
        other = Signature(sig, "file", ("A" * 40,), ring.name)
        assert not in_cache(replace(source, signature=other), cache)

    def test_one_that_was_taken_unverified(self, server: Server, cache: Cache, packed: bytes) -> None:
        source = HttpSource(server.file("/look.img.xz", packed))
        assert not in_cache(source, cache)
        _http(source, cache, insecure=True)
        assert in_cache(source, cache)


class TestFile:
    def _base(self, path: Path, digest: Digest | None = None) -> Base:
        return Base("local", "debian", FileSource(str(path), digest))

    def test_a_local_image_packed_or_not(self, cache: Cache, packed: bytes, image: bytes, tmp_path: Path) -> None:
        for name, content in (("a.img", image), ("misnamed.img", packed)):
            (tmp_path / name).write_bytes(content)
            got = obtain_file(self._base(tmp_path / name), cache=cache)
            assert got.path.read_bytes() == image
            assert got.published == Digest.of(content)
            assert (tmp_path / name).read_bytes() == content

    def test_the_second_time_it_is_not_expanded_again(self, cache: Cache, packed: bytes, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(packed)
        first = obtain_file(self._base(tmp_path / "a"), cache=cache)
        inode = first.path.stat().st_ino
        assert obtain_file(self._base(tmp_path / "a"), cache=cache).path.stat().st_ino == inode

    def test_its_digest_holds(self, cache: Cache, packed: bytes, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(packed)
        assert obtain_file(self._base(tmp_path / "a", Digest.of(packed)), cache=cache).published == Digest.of(packed)
        with pytest.raises(DigestMismatch):
            obtain_file(self._base(tmp_path / "a", Digest.of(b"x")), cache=cache)

    def test_no_file_is_a_usage_error(self, cache: Cache, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no such file"):
            obtain_file(self._base(tmp_path / "absent"), cache=cache)

    def test_an_unknown_user_is_a_usage_error(self, cache: Cache) -> None:
        with pytest.raises(UsageError, match="there is no user for ~nosuch"):
            obtain_file(self._base(Path("~nosuch/a.img")), cache=cache)

    def test_a_file_that_changes_after_it_was_digested_is_told(
        self, cache: Cache, image: bytes, tmp_path: Path
    ) -> None:
        path = tmp_path / "a"
        path.write_bytes(image)

        def change(event: Event) -> None:
            if isinstance(event, Progress) and event.step == "digest" and event.done == len(image):
                path.write_bytes(image[::-1])

        with pytest.raises(DigestMismatch, match="was changed while it was read"):
            obtain_file(self._base(path), cache=cache, listener=change)
        assert _gone(cache)

    def test_an_iso_is_named(self, cache: Cache, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(os.urandom(0x8001) + b"CD001" + os.urandom(5000))
        with pytest.raises(ContentMalformed, match=r"ISO.*while getting base local"):
            obtain_file(self._base(tmp_path / "a"), cache=cache)
        assert _gone(cache)


PROGRAM = """
import sys
from pathlib import Path
from imagesmith.model import Base, Digest, HttpSource
from imagesmith.sources.cache import Cache
from imagesmith.sources.obtain import obtain_http
root, url, digest = sys.argv[1:]
base = Base("test", "debian", HttpSource(url, digest=Digest.parse(digest)))
print(obtain_http(base, cache=Cache(Path(root))).path)
"""


def _process(cache: Cache, url: str, packed: bytes) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", PROGRAM, str(cache.root), url, str(Digest.of(packed))]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_killed_in_the_middle_the_same_command_works_and_goes_on(
    server: Server, cache: Cache, packed: bytes, image: bytes
) -> None:
    half = len(packed) // 2

    def stopping(request: Request) -> None:
        request.give(packed[:half], ETag='"one"', Content_Length=str(len(packed)))
        request.wfile.flush()
        time.sleep(20)

    url = server.on("/killed.img.xz", stopping)
    with _process(cache, url, packed) as child:
        part = cache.part(Digest.of(packed).hex)
        deadline = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size == half) and time.monotonic() < deadline:
            time.sleep(0.02)
        child.kill()
    assert cache.entries() == ()
    server.seen.clear()
    server.file("/killed.img.xz", packed)
    with _process(cache, url, packed) as child:
        out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert Path(out.decode().strip()).read_bytes() == image
    assert server.seen[0][1]["Range"] == f"bytes={half}-"
    assert not list((cache.root / "tmp").iterdir())


def test_two_processes_at_once_fetch_once(server: Server, cache: Cache, packed: bytes, image: bytes) -> None:
    url = server.on("/both.img.xz", slowly(packed, len(packed) // 4, 0.1))
    both = [_process(cache, url, packed) for _ in range(2)]
    for child in both:
        with child:
            out, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
        assert Path(out.decode().strip()).read_bytes() == image
    assert len(server.seen) == 1


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_full_disk_is_told_and_nothing_half_made_stays(server: Server, tmp_path: Path, packed: bytes) -> None:
    small = tmp_path / "small"
    small.mkdir()
    source = _pinned(server.file("/full.img.xz", packed), packed)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={len(packed) + 200_000}", "tmpfs", small], check=True)
    try:
        cache = Cache(small / "cache")
        with pytest.raises(NoSpace) as raised:
            _http(source, cache)
        assert raised.value.exit_code == 8
        assert _gone(cache)
        subprocess.run(["mount", "-o", "remount,size=64M", small], check=True)
        assert _http(source, cache).published == Digest.of(packed)
    finally:
        subprocess.run(["umount", small], check=True)


def test_every_refusal_says_what_to_do_next(server: Server, cache: Cache, packed: bytes) -> None:
    cases = [
        HttpSource(server.url("/absent"), digest=Digest.of(packed)),
        HttpSource(server.file("/hint.img.xz", packed), digest=Digest.of(b"x")),
        HttpSource(server.file("/hint2.img.xz", packed[:50]), digest=Digest.of(packed)),
        HttpSource(server.url("/absent")),
    ]
    for source in cases:
        with pytest.raises(ImagesmithError) as raised:
            _http(source, cache)
        assert raised.value.hint
        assert source.url in str(raised.value)
