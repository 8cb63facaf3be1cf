"""Checksum lists as publishers write them; coreutils is the judge of the common dialects."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from imagesmith import tools
from imagesmith.errors import ContentMalformed
from imagesmith.formats.checksums import ChecksumLine, digest_for, parse
from imagesmith.model import Digest

DATA = random.Random(4).randbytes(5000)
A = Digest.of(DATA)
B = Digest.of(b"another file")
LONG = Digest("sha512", "0a" * 64)
NAME = "node 1+arm64.img.xz"

SIGNED = f"""\
{B.hex}  unsigned.img
-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA512

# - {NAME} is large
- {A.hex} *{NAME}
{B.hex} *other.img
-----BEGIN PGP SIGNATURE-----

iQIzBAEBCgAdFiEE
=abcd
-----END PGP SIGNATURE-----
{B.hex}  unsigned2.img
"""


@pytest.mark.parametrize(
    "line",
    [
        f"{A.hex}  {NAME}",
        f"{A.hex} *{NAME}",
        f"{A.hex} {NAME}",
        f"{A.hex}\t{NAME}",
        f"{A.hex.upper()}  {NAME}",
        f"{A.hex}  ./{NAME}",
        f"SHA256 ({NAME}) = {A.hex}",
        f"SHA256({NAME})= {A.hex}",
    ],
    ids=["text", "binary", "one space", "tab", "upper", "dot slash", "bsd", "openssl"],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n", ""], ids=["lf", "crlf", "none"])
def test_every_dialect_of_a_line_is_read(line: str, ending: str):
    assert parse(line + ending) == (ChecksumLine(NAME, A),)


@pytest.mark.parametrize("options", [["-b"], ["-t"], ["--tag"]], ids=["binary", "text", "tag"])
@pytest.mark.parametrize("program", ["sha256sum", "sha512sum"])
def test_what_coreutils_writes_is_read(tmp_path: Path, program: str, options: list[str]):
    (tmp_path / NAME).write_bytes(DATA)
    text = tools.run([program, *options, NAME], cwd=tmp_path).text
    assert digest_for(text, NAME).hex == tools.run([program, NAME], cwd=tmp_path).text.split()[0]


def test_a_digest_alone_has_no_name_and_is_about_any_file():
    assert parse(f"{A.hex}\n") == (ChecksumLine("", A),)
    assert digest_for(f"{A.hex}\n", NAME) == A


def test_a_digest_alone_among_others_is_about_no_file():
    with pytest.raises(ContentMalformed, match="does not name"):
        digest_for(f"{A.hex}\n{B.hex}  other.img\n", NAME)


def test_comments_and_empty_lines_are_skipped():
    assert parse(f"\ufeff# made today\n\n{A.hex}  {NAME}\n") == (ChecksumLine(NAME, A),)


def test_only_what_was_signed_counts_in_a_clear_signed_list():
    assert parse(SIGNED) == (ChecksumLine(NAME, A), ChecksumLine("other.img", B))


@pytest.mark.parametrize("cut", ["-----BEGIN PGP SIGNATURE-----", "-----END PGP SIGNATURE-----"])
def test_a_clear_signed_list_without_its_end_is_refused(cut: str):
    with pytest.raises(ContentMalformed, match="incomplete"):
        parse(SIGNED[: SIGNED.index(cut)])


def test_the_file_asked_for_is_found_among_others():
    text = f"{B.hex}  other-{NAME}\n{A.hex}  {NAME}\n{B.hex}  {NAME}.asc\n"
    assert digest_for(text, NAME) == A


def test_a_list_of_paths_is_searched_by_name():
    assert digest_for(f"{A.hex}  images/arm64/{NAME}\n{B.hex}  images/other.img\n", NAME) == A


def test_an_absent_file_is_named_with_a_next_step():
    with pytest.raises(ContentMalformed, match=r"does not name gone\.img among its 2 files") as caught:
        digest_for(f"{A.hex}  {NAME}\n{B.hex}  other.img\n", "gone.img")
    assert "imagesmith update" in caught.value.hint


def test_contradicting_digests_are_refused():
    with pytest.raises(ContentMalformed, match="contradicts itself") as caught:
        digest_for(f"{A.hex}  {NAME}\nSHA256 ({NAME}) = {B.hex}\n", NAME)
    assert A.hex in caught.value.what
    assert B.hex in caught.value.what


def test_the_same_digest_twice_is_fine():
    assert digest_for(f"{A.hex}  {NAME}\nSHA256 ({NAME}) = {A.hex.upper()}\n", NAME) == A


def test_of_two_kinds_the_longer_is_taken():
    assert digest_for(f"{A.hex}  {NAME}\n{LONG.hex}  {NAME}\n", NAME) == LONG


def test_kinds_that_prove_too_little_are_left_out():
    text = f"MD5 ({NAME}) = {'0' * 32}\n{'1' * 40}  {NAME}\n{A.hex}  {NAME}\nSIZE ({NAME}) = 5000\n"
    assert parse(text) == (ChecksumLine(NAME, A),)


def test_a_web_page_is_not_an_empty_list():
    with pytest.raises(ContentMalformed, match="list is no checksum: '<!doctype html>'") as caught:
        parse("<!doctype html>\n<title>Sign in</title>\n")
    assert "web page" in caught.value.hint


def test_a_digest_cut_short_is_refused_with_its_line():
    with pytest.raises(ContentMalformed, match="line 2 of the checksum list is no checksum"):
        parse(f"{B.hex}  other.img\n{A.hex[:-1]}  {NAME}\n")


def test_a_kind_that_does_not_fit_its_digest_is_refused():
    with pytest.raises(ContentMalformed, match="calls 64 hex digits a sha512"):
        parse(f"SHA512 ({NAME}) = {A.hex}")
