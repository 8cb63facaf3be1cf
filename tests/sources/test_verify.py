"""OpenPGP signatures: keys and signatures are made by gpg, judged by gpgv."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from publishers.signing import Signer

from imagesmith.errors import SignatureInvalid
from imagesmith.sources.verify import signed

TEXT = b"0123  image.img.xz\n"

pytestmark = pytest.mark.skipif(not shutil.which("gpg"), reason="gpg makes the tests' keys")


def _check(data: bytes, signature: bytes, keyring: Path, pinned: str, folder: Path) -> str:
    (folder / "list").write_bytes(data)
    return signed(folder / "list", signature, keyring, [pinned]).fingerprint


def test_a_good_signature_of_the_pinned_key_tells_the_key(signer: Signer, publisher: str, tmp_path: Path) -> None:
    signature = signer.sign(TEXT, publisher)
    assert _check(TEXT, signature, signer.keyring(publisher), publisher, tmp_path) == publisher


def test_an_armoured_signature_does_too(signer: Signer, publisher: str, tmp_path: Path) -> None:
    signature = signer.sign(TEXT, publisher, "--armor")
    assert _check(TEXT, signature, signer.keyring(publisher), publisher.lower(), tmp_path) == publisher


def test_an_altered_file_is_refused(signer: Signer, publisher: str, tmp_path: Path) -> None:
    signature = signer.sign(TEXT, publisher)
    with pytest.raises(SignatureInvalid, match="does not fit the file") as raised:
        _check(TEXT + b"x", signature, signer.keyring(publisher), publisher, tmp_path)
    assert raised.value.exit_code == 4


def test_a_key_of_the_keyring_that_is_not_pinned_is_refused(signer: Signer, publisher: str, tmp_path: Path) -> None:
    other = signer.make("other")
    with pytest.raises(SignatureInvalid, match="not pinned"):
        _check(TEXT, signer.sign(TEXT, other), signer.keyring(publisher, other), publisher, tmp_path)


def test_an_unknown_key_is_refused(signer: Signer, publisher: str, tmp_path: Path) -> None:
    other = signer.make("stranger")
    with pytest.raises(SignatureInvalid, match="not pinned"):
        _check(TEXT, signer.sign(TEXT, other), signer.keyring(publisher), publisher, tmp_path)


def test_an_expired_key_is_refused(signer: Signer, tmp_path: Path) -> None:
    expired = signer.make("expired", at="20200101T000000", expires="1y")
    signature = signer.sign(TEXT, expired, at="20200601T000000")
    with pytest.raises(SignatureInvalid, match="has expired"):
        _check(TEXT, signature, signer.keyring(expired), expired, tmp_path)


def test_an_expired_signature_is_refused(signer: Signer, tmp_path: Path) -> None:
    key = signer.make("lasting", at="20200101T000000")
    signature = signer.sign(TEXT, key, "--default-sig-expire", "1d", at="20200601T000000")
    with pytest.raises(SignatureInvalid, match="signature has expired"):
        _check(TEXT, signature, signer.keyring(key), key, tmp_path)


def test_a_revoked_key_is_refused(signer: Signer, tmp_path: Path) -> None:
    key = signer.make("revoked")
    signature = signer.sign(TEXT, key)
    signer.revoke(key)
    with pytest.raises(SignatureInvalid, match="revoked"):
        _check(TEXT, signature, signer.keyring(key), key, tmp_path)


def test_a_signature_that_brings_its_own_text_is_refused(signer: Signer, publisher: str, tmp_path: Path) -> None:
    inline = subprocess.run(
        signer.argv("--local-user", publisher, "--sign"), input=b"another text", stdout=subprocess.PIPE, check=True
    ).stdout
    with pytest.raises(SignatureInvalid):
        _check(TEXT, inline, signer.keyring(publisher), publisher, tmp_path)


@pytest.mark.parametrize("junk", [b"", b"<html>not found</html>", bytes(100)])
def test_what_is_no_signature_is_refused(junk: bytes, signer: Signer, publisher: str, tmp_path: Path) -> None:
    with pytest.raises(SignatureInvalid, match="no valid signature"):
        _check(TEXT, junk, signer.keyring(publisher), publisher, tmp_path)


def test_a_missing_keyring_is_told(signer: Signer, publisher: str, tmp_path: Path) -> None:
    with pytest.raises(SignatureInvalid, match=r"not bundled: there is no none\.gpg") as raised:
        _check(TEXT, signer.sign(TEXT, publisher), tmp_path / "none.gpg", publisher, tmp_path)
    assert "keyrings/README.md" in raised.value.hint
