"""Hashes of authorities, computed beside by openssl and sha256sum; join tokens, in k3s's own cases and others."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity.by_openssl import BARE, Openssl
from identity.drawing import cluster, said

from imagesmith.errors import ContentMalformed
from imagesmith.identity import tokens
from imagesmith.identity.authorities import Ca
from imagesmith.identity.tokens import BootstrapToken, Token
from imagesmith.secret import Secret

PASSWORD = "c0ffee" * 8
HASH = "0f" * 32


@pytest.fixture
def openssl(tmp_path: Path) -> Openssl:
    return Openssl(tmp_path)


def file_digest(content: bytes) -> str:
    return said("sha256sum", "-", given=content).split()[0]


def test_the_hash_of_one_certificate_is_that_of_the_file(openssl: Openssl) -> None:
    content = openssl.make("alone")
    assert tokens.ca_hash(content) == file_digest(content)


@pytest.mark.parametrize("changed", [b"%s\n", b"\n%s", b"# mine\n%s"])
def test_whitespace_around_one_certificate_makes_another_hash(openssl: Openssl, changed: bytes) -> None:
    content = openssl.make("alone")
    assert tokens.ca_hash(changed % content) == file_digest(changed % content) != tokens.ca_hash(content)


def test_the_hash_of_a_bundle_is_that_of_its_root_s_der(openssl: Openssl) -> None:
    root, middle, leaf = openssl.make("root"), openssl.make("middle", "root"), openssl.make("leaf", "middle")
    assert tokens.ca_hash(leaf + middle + root) == openssl.der_digest("root")


def test_a_root_with_an_rsa_key_as_k3s_s_script_makes_it_has_the_hash_of_its_der(openssl: Openssl) -> None:
    root, middle = openssl.make("root", rsa=True), openssl.make("middle", "root", rsa=True)
    assert tokens.ca_hash(openssl.make("leaf", "middle") + middle + root) == openssl.der_digest("root")


def test_whitespace_and_order_above_the_first_change_nothing_in_a_bundle(openssl: Openssl) -> None:
    root, middle, leaf = openssl.make("root"), openssl.make("middle", "root"), openssl.make("leaf", "middle")
    assert tokens.ca_hash(leaf + b"\n# upper\n" + root + middle + b"\n") == openssl.der_digest("root")


def test_the_bundle_that_we_make_has_the_hash_that_openssl_computes(tmp_path: Path) -> None:
    bundle = cluster().leaves[Ca.SERVER].bundle
    (tmp_path / "root.pem").write_bytes(re.findall(rb"-----BEGIN.*?END CERTIFICATE-----\n", bundle, re.DOTALL)[2])
    assert tokens.ca_hash(bundle) == Openssl(tmp_path).der_digest("root")


def test_every_authority_of_a_cluster_has_the_same_hash() -> None:
    assert len({tokens.ca_hash(leaf.bundle) for leaf in cluster().leaves.values()}) == 1


def test_a_root_that_names_no_authority_key_is_a_root(openssl: Openssl) -> None:
    root, leaf = openssl.make("root", aki="none"), openssl.make("leaf", "root")
    assert tokens.ca_hash(leaf + root) == openssl.der_digest("root")


def test_a_bundle_that_lacks_its_root_has_the_hash_of_the_file(openssl: Openssl) -> None:
    openssl.make("root")
    middle, leaf = openssl.make("middle", "root"), openssl.make("leaf", "middle")
    assert tokens.ca_hash(leaf + middle) == file_digest(leaf + middle)


def test_a_root_first_and_another_behind_it_have_the_hash_of_the_file(openssl: Openssl) -> None:
    bundle = openssl.make("root") + openssl.make("other")
    assert tokens.ca_hash(bundle) == file_digest(bundle)


def test_a_root_twice_has_the_hash_of_its_der(openssl: Openssl) -> None:
    root = openssl.make("root")
    assert tokens.ca_hash(root + root) == openssl.der_digest("root")


def test_a_root_and_its_renewal_have_the_hash_of_the_file(openssl: Openssl) -> None:
    bundle = openssl.make("root") + openssl.make("again", key="root")
    assert tokens.ca_hash(bundle) == file_digest(bundle)


def test_an_old_root_of_the_first_version_is_a_root(openssl: Openssl) -> None:
    root = openssl.make("root", **BARE)
    assert "Version: 1 " in said("openssl", "x509", "-noout", "-text", given=root)
    assert tokens.ca_hash(openssl.make("leaf", "root", aki="none") + root) == openssl.der_digest("root")


def test_a_signature_over_sha1_makes_no_chain(openssl: Openssl) -> None:
    root = openssl.make("root")
    bundle = openssl.make("leaf", "root", digest="sha1") + root
    assert tokens.ca_hash(bundle) == file_digest(bundle)


def test_another_cluster_s_root_in_the_bundle_is_not_taken(openssl: Openssl) -> None:
    other, root, leaf = openssl.make("other"), openssl.make("root"), openssl.make("leaf", "root")
    assert tokens.ca_hash(leaf + other + root) == openssl.der_digest("root")


def test_of_a_root_s_two_certificates_the_first_in_the_file_counts(openssl: Openssl) -> None:
    root, leaf = openssl.make("root"), openssl.make("leaf", "root")
    again = openssl.make("again", key="root", more="nsComment = again")
    assert tokens.ca_hash(leaf + again + root) == openssl.der_digest("again")
    assert tokens.ca_hash(leaf + root + again) == openssl.der_digest("root")


def test_the_one_with_the_key_identifier_that_is_asked_for_counts_before_it(openssl: Openssl) -> None:
    root, leaf = openssl.make("root"), openssl.make("leaf", "root")
    again = openssl.make("again", key="root", ski="C0FFEE", aki="none")
    assert tokens.ca_hash(leaf + again + root) == openssl.der_digest("root")
    assert tokens.ca_hash(leaf + again) == openssl.der_digest("again")


@pytest.mark.parametrize("wrong", [{"usage": "digitalSignature"}, {"basic": "CA:false"}], ids=str)
def test_a_root_that_may_not_sign_is_not_taken(openssl: Openssl, wrong: dict[str, str]) -> None:
    root = openssl.make("root", **wrong)
    bundle = openssl.make("leaf", "root") + root
    assert tokens.ca_hash(bundle) == file_digest(bundle)


def test_authorities_that_sign_each_other_have_the_hash_of_the_file(openssl: Openssl) -> None:
    openssl.make("a")
    b = openssl.make("b", "a")
    bundle = openssl.make("leaf", "b") + b + openssl.make("again", "b", key="a")
    assert tokens.ca_hash(bundle) == file_digest(bundle)


def test_a_root_that_may_not_have_so_many_below_it_is_not_taken(openssl: Openssl) -> None:
    root = openssl.make("root", basic="CA:true, pathlen:0")
    middle, leaf = openssl.make("middle", "root"), openssl.make("leaf", "middle")
    bundle = leaf + middle + root
    assert tokens.ca_hash(bundle) == file_digest(bundle)


def test_authorities_for_clients_alone_make_no_chain(openssl: Openssl) -> None:
    root, leaf = openssl.make("root", more="extendedKeyUsage = clientAuth"), openssl.make("leaf", "root")
    assert tokens.ca_hash(leaf + root) == file_digest(leaf + root)
    root, leaf = openssl.make("root", more="extendedKeyUsage = serverAuth"), openssl.make("leaf", "root")
    assert tokens.ca_hash(leaf + root) == openssl.der_digest("root")


def test_a_file_without_a_certificate_has_no_hash() -> None:
    with pytest.raises(ContentMalformed, match=r"server-ca\.crt"):
        tokens.ca_hash(b"not here\n")


def test_the_tokens_are_those_that_k3s_takes(openssl: Openssl) -> None:
    content, word = openssl.make("alone"), Secret(PASSWORD.encode())
    start = f"K10{file_digest(content)}::"
    assert tokens.server_token(content, word).reveal().decode() == f"{start}server:{PASSWORD}"
    assert tokens.agent_token(content, word).reveal().decode() == f"{start}node:{PASSWORD}"


def test_a_password_is_hex_of_what_was_drawn() -> None:
    assert tokens.password(bytes(range(16))).reveal() == b"000102030405060708090a0b0c0d0e0f"


def test_a_password_of_few_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="16 random bytes"):
        tokens.password(b"short")


def test_a_node_s_password_is_a_line() -> None:
    assert tokens.node_password_file(Secret(b"abc")).reveal() == b"abc\n"


def parsed(text: str) -> tuple[str, ...]:
    found = tokens.parse(Secret(text.encode()))
    if isinstance(found, BootstrapToken):
        return ("bootstrap", found.ca_hash, found.identifier, found.secret.reveal().decode())
    return ("token", found.ca_hash, found.user, found.password.reveal().decode())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("token", ("token", "", "", "token")),
        ("abcdef.0123456789abcdef", ("bootstrap", "", "abcdef", "0123456789abcdef")),
        (f"K10{HASH}:::token", ("token", HASH, "", "token")),
        (f"K10{HASH}::server:token", ("token", HASH, "server", "token")),
        (f"K10{HASH}::abcdef.0123456789abcdef", ("bootstrap", HASH, "abcdef", "0123456789abcdef")),
        ("K10::node:token", ("token", "", "node", "token")),
        ("K10node:token", ("token", "", "node", "token")),
        (f"K10{HASH}::node:a:b::c", ("token", HASH, "node", "a:b::c")),
        (f"K10{HASH}::server:token\n", ("token", HASH, "server", "token")),
        ("password:with:colons", ("token", "", "", "password:with:colons")),
    ],
)
def test_tokens_are_taken_apart_as_k3s_does(text: str, expected: tuple[str, ...]) -> None:
    assert parsed(text) == expected


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "empty"),
        ("\n", "empty"),
        ("K10", "no password"),
        ("K10::", "no password"),
        ("K10::x", "no password"),
        ("K10::x:", "no password"),
        ("K10X::x", "hash"),
        ("K10XX::x:sesame", "hash"),
        (f"K10{'X' * 64}::x:sesame", "hash"),
        (f"K10{HASH[:-1]}::server:sesame", "hash"),
        (f"K10{HASH.upper()}::server:sesame", "hash"),
        (f"K10{HASH}::server:sesame open", "no token"),
        (f"K10{HASH}::server:sesame\n\n", "no token"),
        (f"K10{HASH}::\nserver:sesame", "no token"),
        ("sésame", "no token"),
    ],
)
def test_what_is_no_token_is_told_without_showing_it(text: str, what: str) -> None:
    with pytest.raises(ContentMalformed, match=what) as caught:
        tokens.parse(Secret(text.encode()), "the token of node-1")
    assert caught.value.where == "the token of node-1"
    assert caught.value.hint or what == "empty"
    assert not any(part in f"{caught.value} {caught.value.hint}" for part in ("sesame", "same", HASH[:8]))


PASSWORDS = st.from_regex(r"[!-~]{1,80}", fullmatch=True)


@given(PASSWORDS, st.sampled_from(["", "server", "node"]), st.binary(min_size=32, max_size=32).map(bytes.hex))
def test_a_token_comes_back(word: str, user: str, digest: str) -> None:
    whole = Token(Secret(word.encode()), user, digest)
    found = tokens.parse(whole.text())
    assert isinstance(found, Token)
    assert (found.password.reveal().decode(), found.user, found.ca_hash) == (word, user, digest)


@given(PASSWORDS)
def test_a_checked_password_is_a_short_token_of_itself(word: str) -> None:
    try:
        tokens.check_password(Secret(word.encode()))
    except ContentMalformed:
        return
    assert parsed(word) == ("token", "", "", word)


@pytest.mark.parametrize("word", ["", "two words", "line\n", f"K10{HASH}::server:x", "abcdef.0123456789abcdef", "é"])
def test_a_password_that_k3s_would_misread_is_refused(word: str) -> None:
    with pytest.raises(ContentMalformed) as caught:
        tokens.check_password(Secret(word.encode()), "import")
    assert caught.value.where == "import"
    assert not word or word not in f"{caught.value} {caught.value.hint}"


def test_a_token_shows_no_password() -> None:
    assert PASSWORD not in repr(Token(Secret(PASSWORD.encode()), "server", hashlib.sha256().hexdigest()))
