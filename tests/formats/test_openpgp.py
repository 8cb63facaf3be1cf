"""OpenPGP key files: keys are made by gpg, version 6 is the RFC's own example, gpg is the judge of what is cut out."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from publishers.signing import Signer

from imagesmith import resources
from imagesmith.errors import ContentMalformed
from imagesmith.formats.openpgp import public_keys

# RFC 9580, A.1 and A.3.
VERSION_4 = """-----BEGIN PGP PUBLIC KEY BLOCK-----

xjMEU/NfCxYJKwYBBAHaRw8BAQdAPwmJlL3ZFu1AUxl5NOSofIBzOhKA1i+AEJku
Q+47JAY=
-----END PGP PUBLIC KEY BLOCK-----
"""
VERSION_6 = """-----BEGIN PGP PUBLIC KEY BLOCK-----

xioGY4d/4xsAAAAg+U2nu0jWCmHlZ3BqZYfQMxmZu52JGggkLq2EVD34laPCsQYf
GwoAAABCBYJjh3/jAwsJBwUVCg4IDAIWAAKbAwIeCSIhBssYbE8GCaaX5NUt+mxy
KwwfHifBilZwj2Ul7Ce62azJBScJAgcCAAAAAK0oIBA+LX0ifsDm185Ecds2v8lw
gyU2kCcUmKfvBXbAf6rhRYWzuQOwEn7E/aLwIwRaLsdry0+VcallHhSu4RN6HWaE
QsiPlR4zxP/TP7mhfVEe7XWPxtnMUMtf15OyA51YBM4qBmOHf+MZAAAAIIaTJINn
+eUBXbki+PSAld2nhJh/LVmFsS+60WyvXkQ1wpsGGBsKAAAALAWCY4d/4wKbDCIh
BssYbE8GCaaX5NUt+mxyKwwfHifBilZwj2Ul7Ce62azJAAAAAAQBIKbpGG2dWTX8
j+VjFM21J0hqWlEg+bdiojWnKfA5AQpWUtWnNwDEM0g12vYxoWM8Y81W+bHBw805
I8kWVkXU6vFOi+HWvv/ira7ofJu16NnoUkhclkUrk0mXubZvyl4GBg==
-----END PGP PUBLIC KEY BLOCK-----
"""
made_by_gpg = pytest.mark.skipif(not shutil.which("gpg"), reason="gpg makes the tests' keys")


@pytest.fixture(scope="module")
def keys(signer: Signer) -> tuple[str, str]:
    """Fingerprints of a key with a subkey, and of one without."""
    one, other = signer.make("one"), signer.make("other")
    signer.add_subkey(one)
    return one, other


def fingerprints(data: bytes) -> list[str]:
    return [key.fingerprint for key in public_keys(data)]


def packet(kind: int, body: bytes, *, how: str = "five") -> bytes:
    """One packet, its length written in one of the RFC's ways."""
    size = len(body)
    new, old = bytes([0xC0 | kind]), 0x80 | kind << 2
    if how == "one":
        return new + bytes([size]) + body
    if how == "two":
        return new + bytes([192 + (size - 192 >> 8), size - 192 & 0xFF]) + body
    if how == "five":
        return new + b"\xff" + size.to_bytes(4, "big") + body
    octets = {"old one": 1, "old two": 2, "old four": 4}[how]
    return bytes([old | {1: 0, 2: 1, 4: 2}[octets]]) + size.to_bytes(octets, "big") + body


def key_body(size: int = 51) -> bytes:
    return b"\x04" + random.Random(size).randbytes(size - 1)


@made_by_gpg
class TestGpgsKeys:
    def test_each_key_is_named_by_the_fingerprint_that_gpg_tells(self, signer: Signer, keys: tuple[str, str]) -> None:
        assert fingerprints(signer.export(*keys)) == list(keys)

    def test_armoured_they_are_the_same_bytes(self, signer: Signer, keys: tuple[str, str]) -> None:
        assert public_keys(signer.export(*keys, armour=True)) == public_keys(signer.export(*keys))

    def test_a_key_keeps_all_that_gpg_exports_of_it(self, signer: Signer, keys: tuple[str, str]) -> None:
        found = public_keys(signer.export(*keys))
        assert [key.packets for key in found] == [signer.export(key) for key in keys]

    def test_several_blocks_with_words_between_them(self, signer: Signer, keys: tuple[str, str]) -> None:
        one, other = (signer.export(key, armour=True) for key in keys)
        text = b"Our keys:\n" + one + b"\nand since last year\n\n" + other + b"-- \nthe team\n"
        assert fingerprints(text) == list(keys)

    def test_lines_may_end_as_on_windows_and_with_blanks(self, signer: Signer, keys: tuple[str, str]) -> None:
        text = signer.export(*keys, armour=True).replace(b"\n", b" \t\r\n")
        assert fingerprints(text) == list(keys)

    def test_headers_of_the_armour_are_not_the_key(self, signer: Signer, keys: tuple[str, str]) -> None:
        text = signer.export(*keys, armour=True)
        shown = text.replace(b"BLOCK-----\n\n", b"BLOCK-----\nVersion: Old 1.0\nComment: \n  \n", 1)
        assert shown != text
        assert fingerprints(shown) == list(keys)

    def test_a_block_that_is_no_key_is_passed_over(self, signer: Signer, keys: tuple[str, str]) -> None:
        signature = signer.sign(b"text", keys[0], "--armor")
        assert fingerprints(signature + signer.export(keys[1], armour=True)) == [keys[1]]

    def test_a_secret_key_is_none_of_ours_nor_what_follows_it(self, signer: Signer, keys: tuple[str, str]) -> None:
        argv = signer.argv("--export-secret-keys", keys[1])
        secret = subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout
        assert [key.packets for key in public_keys(signer.export(keys[0]) + secret)] == [signer.export(keys[0])]
        with pytest.raises(ContentMalformed, match="holds no OpenPGP public key"):
            public_keys(secret)

    def test_cut_off_anywhere_it_is_refused_or_has_whole_packets(self, signer: Signer, keys: tuple[str, str]) -> None:
        data = signer.export(keys[0])
        for size in range(len(data)):
            try:
                kept = public_keys(data[:size])
            except ContentMalformed:
                continue
            assert b"".join(key.packets for key in kept) == data[:size]

    def test_armour_that_is_cut_off_is_refused(self, signer: Signer, keys: tuple[str, str]) -> None:
        lines = signer.export(*keys, armour=True).splitlines(keepends=True)
        for count in range(1, len(lines)):
            with pytest.raises(ContentMalformed, match=r"cut off: the END line is missing"):
                public_keys(b"".join(lines[:count]))

    def test_a_checksum_that_is_wrong_or_missing_is_not_asked(self, signer: Signer, keys: tuple[str, str]) -> None:
        lines = signer.export(*keys, armour=True).splitlines(keepends=True)
        assert lines[-2].startswith(b"=")
        for checksum in (b"", b"=AAAA\n"):
            assert fingerprints(b"".join([*lines[:-2], checksum, lines[-1]])) == list(keys)


class TestTheRfcsExamples:
    def test_version_4(self) -> None:
        assert fingerprints(VERSION_4.encode()) == ["C959BDBAFA32A2F89A153B678CFDE12197965A9A"]

    def test_version_6(self) -> None:
        [key] = public_keys(VERSION_6.encode())
        assert key.fingerprint == "CB186C4F0609A697E4D52DFA6C722B0C1F1E27C18A56708F6525EC27BAD9ACC9"

    def test_other_versions_have_no_fingerprint_here(self) -> None:
        assert fingerprints(packet(6, b"\x03" + key_body()[1:]) + packet(6, b"")) == ["", ""]


class TestPackets:
    @pytest.mark.parametrize(
        ("how", "size"),
        [("one", 191), ("two", 192), ("two", 8383), ("five", 51), ("five", 9000), ("old one", 255),
         ("old two", 300), ("old four", 300)],
    )  # fmt: skip
    def test_a_length_is_read_however_it_is_written(self, how: str, size: int) -> None:
        body = key_body(size)
        data = packet(6, body, how=how) + packet(13, b"user id", how="one")
        [key] = public_keys(data)
        assert key.packets == data
        assert key.fingerprint == public_keys(packet(6, body))[0].fingerprint

    @pytest.mark.parametrize("start", [b"\x9b", b"\xc6\xe5"], ids=["indeterminate", "in parts"])
    def test_a_length_that_is_not_told_is_refused(self, start: bytes) -> None:
        with pytest.raises(ContentMalformed, match="byte 0 does not tell its length"):
            public_keys(start + key_body())

    def test_what_is_no_part_of_a_key_is_left_out(self) -> None:
        key, user, other = packet(6, key_body(), how="one"), packet(13, b"user", how="one"), packet(12, b"trust")
        assert [one.packets for one in public_keys(user + key + other + user)] == [key + user]

    def test_a_packet_that_claims_more_than_there_is_is_refused(self) -> None:
        with pytest.raises(ContentMalformed, match="ends in the middle of the OpenPGP packet at byte 53"):
            public_keys(packet(6, key_body(), how="one") + b"\xcd\xff\xff\xff\xff\xff" + b"user")

    def test_a_megabyte_of_tiny_packets_takes_no_time(self) -> None:
        data = packet(6, key_body()) + packet(13, b"", how="one") * 500_000
        assert public_keys(data)[0].packets == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no OpenPGP public key"),
        (b"<!doctype html><html>404</html>", "holds no OpenPGP public key"),
        (b"-----BEGIN CERTIFICATE-----\n\nAAAA\n-----END CERTIFICATE-----\n", "holds no OpenPGP public key"),
        (random.Random(3).randbytes(400).translate(bytes(range(128)) * 2), "holds no OpenPGP public key"),
        (b"\x99\x00", "ends in the middle"),
        (packet(6, key_body()) + b"garbage", "no packet starts at byte 57"),
        (VERSION_4.replace("\n\n", "\n").encode(), "no empty line ends the headers"),
        (VERSION_4.replace("xjME", "xj?E").encode(), "armour is damaged"),
        (VERSION_4.replace("JAY=", "JAY").encode(), "armour is damaged"),
        (VERSION_4.replace("END PGP PUBLIC KEY", "END PGP PRIVATE KEY").encode(), "the END line is missing"),
        (VERSION_4.replace("JAY=\n", "JAY=\n=njUN\nmore\n").encode(), "more after the checksum"),
        (VERSION_4.replace("-----END", "x -----END").encode(), "the END line is missing"),
    ],
)
def test_what_is_no_key_file_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ContentMalformed, match=message):
        public_keys(data)


def test_the_bundled_keyrings_are_what_their_readme_says() -> None:
    readme = (resources.folder("keyrings") / "README.md").read_text().replace(" ", "")
    rings = sorted(resources.folder("keyrings").glob("*.gpg"))
    assert rings
    for ring in rings:
        assert ring.name in readme
        for fingerprint in fingerprints(Path(ring).read_bytes()):
            assert fingerprint in readme
