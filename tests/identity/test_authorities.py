"""The authorities of a cluster, looked at by openssl: chains, extensions, lifetimes, forms of keys, who holds what."""

from __future__ import annotations

import ast
import base64
import pickle
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from identity.by_openssl import Openssl
from identity.drawing import cluster, elliptic, kept, laid_out, said, uppers

import imagesmith
from imagesmith.errors import ContentMalformed, UsageError
from imagesmith.identity import authorities
from imagesmith.identity.authorities import Authorities, Authority, Ca, VaultKey
from imagesmith.secret import Secret

BEGIN = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)


@pytest.fixture(scope="module")
def found() -> Authorities:
    return cluster()


@pytest.fixture(scope="module")
def folder(found: Authorities, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return laid_out(found, tmp_path_factory.mktemp("tls"))


def parts(bundle: Path, into: Path) -> list[Path]:
    """The certificates of a bundle, each in a file."""
    paths = []
    for number, block in enumerate(PEM.findall(bundle.read_text())):
        paths.append(into / f"part{number}")
        paths[-1].write_text(block)
    return paths


def test_the_files_are_those_of_k3s(folder: Path) -> None:
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    leaves = ("server-ca", "client-ca", "request-header-ca", "etcd/peer-ca", "etcd/server-ca")
    assert names == {f"{leaf}.{end}" for leaf in leaves for end in ("crt", "key")} | {"service.key"}


@pytest.mark.parametrize("ca", Ca)
def test_each_bundle_is_a_chain_that_openssl_verifies(ca: Ca, folder: Path, tmp_path: Path) -> None:
    own, middle, root = parts(folder / f"{ca}.crt", tmp_path)
    shown = said("openssl", "verify", "-x509_strict", "-show_chain", "-CAfile", root, "-untrusted", middle, own)
    assert [line.split("=")[-1].split("@")[0].strip() for line in shown.splitlines() if "CN" in line] == [
        f"k3s-{ca.removesuffix('-ca').replace('/', '-')}-ca",
        "k3s-intermediate-ca",
        "k3s-root-ca",
    ]


@pytest.mark.parametrize("ca", Ca)
def test_nothing_stands_in_a_bundle_but_its_three_certificates(ca: Ca, folder: Path) -> None:
    text = (folder / f"{ca}.crt").read_text()
    assert PEM.sub("", text) == ""
    assert len(PEM.findall(text)) == 3


@pytest.mark.parametrize("ca", Ca)
def test_each_key_belongs_to_the_first_certificate_of_its_bundle(ca: Ca, folder: Path) -> None:
    inside = said("openssl", "x509", "-in", folder / f"{ca}.crt", "-noout", "-pubkey")
    assert said("openssl", "pkey", "-in", folder / f"{ca}.key", "-pubout") == inside


def test_each_authority_has_the_extensions_of_k3s_s_script(folder: Path, tmp_path: Path) -> None:
    identifiers = []
    for path in parts(folder / "server-ca.crt", tmp_path):
        text = said("openssl", "x509", "-in", path, "-noout", "-text")
        flat = re.sub(r"\s+", " ", text)
        assert "X509v3 Basic Constraints: critical CA:TRUE X509v3" in flat
        assert "X509v3 Key Usage: critical Digital Signature, Key Encipherment, Certificate Sign Signature" in flat
        assert "Signature Algorithm: ecdsa-with-SHA256" in flat
        assert "ASN1 OID: prime256v1" in flat
        assert re.findall("X509v3 ([A-Z][a-z]+ [A-Z][a-z]+)", flat.split("X509v3 extensions")[1]) == [
            "Subject Key", "Authority Key", "Basic Constraints", "Key Usage"
        ]  # fmt: skip
        own, above = re.findall(r"Key Identifier: (?:keyid:)?([0-9A-F:]{59})", flat)
        identifiers.append((own, above))
    assert [above for _, above in identifiers] == [identifiers[1][0], identifiers[2][0], identifiers[2][0]]


def test_lifetimes_and_names_are_those_of_k3s_s_script(tmp_path: Path) -> None:
    paths = parts(laid_out(cluster(BEGIN), tmp_path) / "etcd/peer-ca.crt", tmp_path)
    shown = [
        said("openssl", "x509", "-in", path, "-noout", "-subject", "-startdate", "-enddate", "-dateopt", "iso_8601")
        for path in paths
    ]
    begin = "notBefore=2026-11-01 12:30:00Z\nnotAfter={} 12:30:00Z\n"
    stamp = int(BEGIN.timestamp())
    assert shown == [
        f"subject=CN = k3s-etcd-peer-ca@{stamp}\n" + begin.format("2036-12-18"),
        f"subject=CN = k3s-intermediate-ca@{stamp}\n" + begin.format("2036-12-18"),
        f"subject=CN = k3s-root-ca@{stamp}\n" + begin.format("2046-10-27"),
    ]


def test_the_keys_are_in_the_forms_that_k3s_writes(folder: Path) -> None:
    assert (folder / "server-ca.key").read_text().startswith("-----BEGIN EC PRIVATE KEY-----\n")
    assert (folder / "service.key").read_text().startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    assert "RSA key ok" in said("openssl", "rsa", "-in", folder / "service.key", "-noout", "-check")


def test_the_same_draw_gives_the_same_bytes() -> None:
    root, middle, leaf = kept(), kept(), elliptic()

    def made() -> bytes:
        return authorities.leaf(Ca.SERVER, leaf, authorities.intermediate(middle, authorities.root(root))).bundle

    assert made() == made()


def test_a_root_is_the_same_to_the_byte_with_every_release(tmp_path: Path) -> None:
    """Every token carries its digest: were this one another, nodes built after it could not join those built before."""
    key = VaultKey(ec.derive_private_key(0xC0FFEE, ec.SECP256R1()))
    upper = authorities.root(key.drawn(BEGIN))
    (tmp_path / "root.pem").write_bytes(upper.chain)
    assert Openssl(tmp_path).der_digest("root") == "9ceb0eae72f075fd334c3b05aa0b3f2158f062a86068d94a294759c692748e1b"


def test_a_new_intermediate_keeps_the_root(tmp_path: Path) -> None:
    root, _ = uppers()
    bundles = [authorities.leaf(Ca.SERVER, elliptic(), authorities.intermediate(kept(), root)).bundle for _ in "ab"]
    assert bundles[0] != bundles[1]
    assert all(bundle.endswith(root.chain) for bundle in bundles)


def test_a_founding_server_gets_neither_the_root_s_key_nor_the_intermediate_s() -> None:
    root, middle = kept(), kept()
    above = authorities.intermediate(middle, authorities.root(root))
    found = authorities.found({ca: elliptic() for ca in Ca}, rsa.generate_private_key(65537, 2048), above)
    held = b"".join([*found.public().values(), *(key.reveal() for key in found.private().values())])
    for upper in (root, middle):
        number = said("openssl", "ec", "-noout", "-text", given=upper.key.to_seal()).split("priv:")[1].split("pub:")[0]
        secret = bytes.fromhex("".join(number.replace(":", "").split()))
        assert len(secret) == 32
        assert secret not in b"".join(ders(held))


def ders(held: bytes) -> list[bytes]:
    blocks = re.findall(rb"-----BEGIN [A-Z ]+-----\n(.*?)-----END [A-Z ]+-----\n", held, re.DOTALL)
    assert len(blocks) == 5 * 3 + 5 + 1
    return [base64.b64decode(block) for block in blocks]


def test_a_vault_key_is_no_secret_and_shows_nothing() -> None:
    key = kept().key
    assert not isinstance(key, Secret)
    assert f"{key} {key!r}" == "VaultKey(***) VaultKey(***)"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(key)


def test_a_vault_key_comes_back_from_what_was_sealed() -> None:
    key = kept().key
    assert VaultKey.read(Secret(key.to_seal())).to_seal() == key.to_seal()


def test_only_the_vault_turns_a_vault_key_into_bytes() -> None:
    package = Path(imagesmith.__file__).parent
    callers = [
        path.relative_to(package).parts[0]
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "to_seal"
    ]
    assert set(callers) <= {"vault"}


def test_a_set_without_one_of_the_five_is_refused() -> None:
    with pytest.raises(ValueError, match="etcd/server-ca"):
        authorities.found({Ca.SERVER: elliptic()}, rsa.generate_private_key(65537, 2048), uppers()[1])


def test_an_authority_that_is_renewed_ends_with_the_one_above(tmp_path: Path) -> None:
    _, above = uppers(BEGIN)
    (tmp_path / "crt").write_bytes(authorities.leaf(Ca.SERVER, elliptic(BEGIN.replace(year=2036)), above).bundle)
    ends = [said("openssl", "x509", "-in", path, "-noout", "-enddate") for path in parts(tmp_path / "crt", tmp_path)]
    assert ends[0] == ends[1] == "notAfter=Dec 18 12:30:00 2036 GMT\n"


def test_an_authority_under_one_that_has_ended_is_refused() -> None:
    _, above = uppers(BEGIN)
    with pytest.raises(UsageError):
        authorities.leaf(Ca.SERVER, elliptic(BEGIN.replace(year=2037)), above)


def test_what_was_made_passes_the_check(found: Authorities) -> None:
    authorities.check(found)


def test_what_k3s_s_own_script_lays_out_passes_the_check(tmp_path: Path) -> None:
    openssl = Openssl(tmp_path)
    root, middle = openssl.make("root", rsa=True), openssl.make("middle", "root", rsa=True)
    leaves = {}
    for ca in Ca:
        bundle = openssl.make(ca.name, "middle") + middle + root
        leaves[ca] = Authority(bundle, Secret((tmp_path / f"{ca.name}.key").read_bytes()))
    service = said("openssl", "genrsa", "-traditional", "2048").encode()
    authorities.check(Authorities(leaves, Secret(service)))


def broken(found: Authorities, **changes: object) -> ContentMalformed:
    with pytest.raises(ContentMalformed) as caught:
        authorities.check(replace(found, **changes))  # type: ignore[arg-type]
    assert "PRIVATE" not in str(caught.value)
    return caught.value


def with_leaf(found: Authorities, ca: Ca, leaf: Authority) -> dict[Ca, Authority]:
    return {**found.leaves, ca: leaf}


def test_a_missing_file_is_named(found: Authorities) -> None:
    leaves = {ca: leaf for ca, leaf in found.leaves.items() if ca is not Ca.ETCD_PEER}
    assert broken(found, leaves=leaves).where == "etcd/peer-ca.crt"


def test_a_key_of_another_authority_is_named(found: Authorities) -> None:
    leaf = Authority(found.leaves[Ca.SERVER].bundle, found.leaves[Ca.CLIENT].key)
    error = broken(found, leaves=with_leaf(found, Ca.SERVER, leaf))
    assert (error.where, error.what) == ("server-ca.crt", "the certificate is not that of the key")


def test_a_bundle_in_the_wrong_order_is_named(found: Authorities) -> None:
    own, middle, root = PEM.findall(found.leaves[Ca.SERVER].bundle.decode())
    leaf = Authority((own + root + middle).encode(), found.leaves[Ca.SERVER].key)
    assert "in their order" in broken(found, leaves=with_leaf(found, Ca.SERVER, leaf)).what


def test_a_bundle_without_its_root_is_named(found: Authorities) -> None:
    own, middle, _ = PEM.findall(found.leaves[Ca.SERVER].bundle.decode())
    leaf = Authority((own + middle).encode(), found.leaves[Ca.SERVER].key)
    assert "in their order" in broken(found, leaves=with_leaf(found, Ca.SERVER, leaf)).what


def test_an_authority_of_another_cluster_is_noticed(found: Authorities) -> None:
    other = authorities.leaf(Ca.CLIENT, elliptic(), uppers()[1])
    assert "different roots" in broken(found, leaves=with_leaf(found, Ca.CLIENT, other)).what


def test_a_service_key_in_the_newer_form_is_refused(found: Authorities) -> None:
    newer = said("openssl", "pkey", given=found.service_key.reveal()).encode()
    assert b"BEGIN PRIVATE KEY" in newer
    assert "-traditional" in broken(found, service_key=Secret(newer)).hint


def test_every_serial_number_is_the_one_that_was_drawn() -> None:
    drawn, (_, above) = elliptic(), uppers()
    bundle = authorities.leaf(Ca.CLIENT, drawn, above).bundle
    assert x509.load_pem_x509_certificate(bundle).serial_number == drawn.serial
