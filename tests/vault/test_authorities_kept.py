"""Authorities in a vault: renewed one by one, replaced together, brought in, laid out; two keys stay inside."""

from __future__ import annotations

import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from identity.by_openssl import Openssl
from identity.drawing import cluster, laid_out, said
from vault.conftest import Rack

from imagesmith.errors import ContentMalformed, UsageError, VaultLocked
from imagesmith.identity.authorities import Authority, Ca
from imagesmith.model import Cluster, K3s, Node, SealedCluster
from imagesmith.secret import Secret
from imagesmith.vault import sealing, store
from imagesmith.vault.index import read_index
from imagesmith.vault.names import CA, LEAVES, UPPER, of_cluster
from imagesmith.workflow.foreign import lay_out, take, take_authorities
from imagesmith.workflow.rotate import rotate, what_follows
from imagesmith.workflow.sealed import sealed_cluster
from imagesmith.workflow.vault import Opening, draw_missing, names_for, record_founded, record_founder

CLUSTER = Cluster("home", "home.arpa", (Node("node-1", "x86-master"),), k3s=K3s())
OPENED = ("--vault-key", "rack.key")


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    """A vault with all of a cluster, opened by the file rack.key beside it."""
    folder, key = tmp_path / "cluster.vault", sealing.new_identity()
    (tmp_path / "rack.key").write_bytes(key.reveal())
    (tmp_path / "rack.key").chmod(0o600)
    store.create(folder, store.Key("key-file", key))
    draw_missing(folder, names_for(["node-1"], Cluster("home", "", (), k3s=K3s())))
    return folder


def opening(vault: Path) -> Opening:
    return Opening(lambda what, new: pytest.fail(f"asked: {what}"), vault.with_name("rack.key"))


def closed() -> Opening:
    """Of somebody who has neither the key nor a passphrase."""
    return Opening(lambda what, new: pytest.fail(f"asked: {what}"))


def sealed(vault: Path) -> SealedCluster:
    found = sealed_cluster(CLUSTER, vault)
    assert found
    return found


def opened(vault: Path, name: str) -> bytes:
    return opening(vault)(vault)(name).reveal()


def blocks(bundle: bytes) -> list[bytes]:
    end = b"-----END CERTIFICATE-----\n"
    return [one + end for one in bundle.split(end) if one]


def verified(bundle: bytes, folder: Path, root: bytes) -> bool:
    own, middle, _ = blocks(bundle)
    for name, content in (("own", own), ("middle", middle), ("root", root)):
        (folder / name).write_bytes(content)
    words = ("-CAfile", folder / "root", "-untrusted", folder / "middle", folder / "own")
    return "OK" in said("openssl", "verify", "-x509_strict", *words)


@pytest.mark.parametrize("ca", Ca)
def test_one_of_the_five_is_renewed_under_the_same_root(vault: Path, tmp_path: Path, ca: Ca) -> None:
    before, name = sealed(vault), LEAVES[ca]
    assert rotate(vault, name, opening(vault)) == (name,)
    after = sealed(vault)
    assert after.ca_hash == before.ca_hash
    assert {one for one in before.bundles if before.bundles[one] != after.bundles[one]} == {f"{ca}.crt"}
    root = blocks(before.bundles[f"{ca}.crt"])[2]
    assert verified(after.bundles[f"{ca}.crt"], tmp_path, root)
    shown = said("openssl", "x509", "-noout", "-pubkey", given=after.bundles[f"{ca}.crt"])
    assert said("openssl", "pkey", "-pubout", given=opened(vault, name)) == shown
    assert read_index(vault).secrets[f"{name}.old"].public.encode() == before.bundles[f"{ca}.crt"]


def test_who_renews_one_must_open_the_vault(vault: Path) -> None:
    before = (vault / "index.json").read_bytes()
    with pytest.raises(VaultLocked):
        rotate(vault, LEAVES["client-ca"], closed())
    assert (vault / "index.json").read_bytes() == before


@pytest.mark.parametrize("name", [*UPPER, CA])
def test_a_new_root_is_drawn_only_by_who_wants_a_new_cluster(vault: Path, name: str) -> None:
    before = (vault / "index.json").read_bytes()
    with pytest.raises(UsageError, match="a new root is a new cluster") as caught:
        rotate(vault, name, closed())
    assert "rotate cluster/ca --new-cluster" in caught.value.hint
    assert (vault / "index.json").read_bytes() == before


def test_a_new_cluster_was_not_founded_yet(vault: Path) -> None:
    record_founded(vault, "2026-11-01T00:00:00Z")
    record_founder(vault, "node-2", ["node-1", "node-2"])
    rotate(vault, LEAVES["client-ca"], opening(vault), begins=True)
    rotate(vault, CA, closed(), new_cluster=True)
    assert list(read_index(vault).facts) == ["begins", "ca_hash", "rotating cluster/ca"]
    assert "forgotten that a cluster was founded" in what_follows(CA)


def test_the_authorities_of_a_cluster_that_runs_are_kept_until_others_are_built_with(vault: Path) -> None:
    record_founded(vault, "2026-11-01T00:00:00Z")
    root = read_index(vault).secrets[UPPER[0]].public
    for _ in range(2):
        rotate(vault, CA, closed(), new_cluster=True)
        assert read_index(vault).secrets[f"{UPPER[0]}.old"].public == root
    new = read_index(vault).secrets[UPPER[0]].public
    record_founder(vault, "node-1", ["node-1"])
    rotate(vault, CA, closed(), new_cluster=True)
    assert read_index(vault).secrets[f"{UPPER[0]}.old"].public == new


def test_a_new_cluster_has_nothing_of_the_old_root(vault: Path, tmp_path: Path) -> None:
    before = sealed(vault)
    drawn = rotate(vault, CA, closed(), new_cluster=True)
    assert set(drawn) == {*UPPER, *LEAVES.values()}
    after = sealed(vault)
    assert after.ca_hash != before.ca_hash
    root = blocks(after.bundles["server-ca.crt"])[2]
    (tmp_path / "new.pem").write_bytes(root)
    assert Openssl(tmp_path).der_digest("new") == after.ca_hash
    for name, bundle in after.bundles.items():
        assert verified(bundle, tmp_path, root)
        assert not set(blocks(bundle)) & set(blocks(before.bundles[name]))
    assert all(f"{name}.old" in read_index(vault).secrets for name in drawn)


@pytest.mark.parametrize("name", [name for name in of_cluster() if name not in UPPER])
def test_what_follows_is_told_of_every_secret_of_a_cluster(name: str) -> None:
    told = what_follows(name)
    assert "a running cluster goes on with the old one" in told
    assert "k3s" in told


@pytest.mark.parametrize("name", [*UPPER, f"{UPPER[0]}.old"])
def test_two_keys_leave_the_vault_by_no_command(vault: Path, name: str) -> None:
    rotate(vault, CA, closed(), new_cluster=True)
    with pytest.raises(UsageError, match="never leaves the vault"):
        opening(vault)(vault)(name)


def test_what_is_laid_out_is_what_k3s_wants_and_no_key_above_it(vault: Path, tmp_path: Path) -> None:
    lay_out(opening(vault).vault(vault), tmp_path / "tls")
    files = {path.relative_to(tmp_path / "tls").as_posix(): path for path in (tmp_path / "tls").rglob("*.*")}
    assert set(files) == {f"{ca}.{end}" for ca in Ca for end in ("crt", "key")} | {"service.key"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files.values())
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    for ca in Ca:
        assert files[f"{ca}.crt"].read_bytes() == sealed(vault).bundles[f"{ca}.crt"]
        shown = said("openssl", "x509", "-noout", "-pubkey", "-in", files[f"{ca}.crt"])
        assert said("openssl", "pkey", "-pubout", "-in", files[f"{ca}.key"]) == shown
    upper = [opening(vault).vault(vault).open_upper(name).key.to_seal() for name in UPPER]
    numbers = {said("openssl", "ec", "-noout", "-text", given=key) for key in upper}
    held = {said("openssl", "ec", "-noout", "-text", "-in", files[f"{ca}.key"]) for ca in Ca}
    assert len(numbers | held) == 7
    with pytest.raises(UsageError, match="there already"):
        lay_out(opening(vault).vault(vault), tmp_path / "tls")


def test_a_cluster_comes_back_from_its_files(vault: Path, tmp_path: Path) -> None:
    lay_out(opening(vault).vault(vault), tmp_path / "tls")
    before = sealed(vault)
    rotate(vault, CA, closed(), new_cluster=True)
    take_authorities(vault, tmp_path / "tls", replace=True)
    after = sealed(vault)
    assert (after.ca_hash, after.bundles) == (before.ca_hash, before.bundles)
    assert not set(UPPER) & set(read_index(vault).secrets)
    with pytest.raises(UsageError, match="which would sign it"):
        rotate(vault, LEAVES["client-ca"], opening(vault))
    assert draw_missing(vault, of_cluster()) == ()


def by_k3s_itself(folder: Path) -> Path:
    """As a server of its own makes them: each signs itself, alone in its file."""
    openssl, tls = Openssl(folder), folder / "tls"
    (tls / "etcd").mkdir(parents=True)
    for ca in Ca:
        (tls / f"{ca}.crt").write_bytes(openssl.make(ca.name))
        (tls / f"{ca}.key").write_bytes((folder / f"{ca.name}.key").read_bytes())
    (tls / "service.key").write_text(said("openssl", "genrsa", "-traditional", "2048"))
    return tls


def test_those_that_k3s_made_itself_are_taken_and_their_hash_is_the_files(vault: Path, tmp_path: Path) -> None:
    tls = by_k3s_itself(tmp_path)
    take_authorities(vault, tls, replace=True)
    found = sealed(vault)
    assert found.bundles == {f"{ca}.crt": (tls / f"{ca}.crt").read_bytes() for ca in Ca}
    assert found.ca_hash == said("sha256sum", tls / "server-ca.crt").split()[0]
    assert opened(vault, LEAVES["client-ca"]) == (tls / "client-ca.key").read_bytes()
    assert opened(vault, "cluster/service-account-key") == (tls / "service.key").read_bytes()


def test_keys_above_the_five_come_along_where_they_can_be_used(vault: Path, tmp_path: Path) -> None:
    openssl, tls = Openssl(tmp_path), tmp_path / "tls"
    root, middle = openssl.make("root"), openssl.make("middle", "root")
    (tls / "etcd").mkdir(parents=True)
    for ca in Ca:
        (tls / f"{ca}.crt").write_bytes(openssl.make(ca.name, "middle") + middle + root)
        shutil.copy(tmp_path / f"{ca.name}.key", tls / f"{ca}.key")
    (tls / "service.key").write_text(said("openssl", "genrsa", "-traditional", "2048"))
    shutil.copy(tmp_path / "root.key", tls / "root-ca.key")
    shutil.copy(tmp_path / "middle.key", tls / "intermediate-ca.key")
    assert set(UPPER) <= set(take_authorities(vault, tls, replace=True))
    assert sealed(vault).ca_hash == openssl.der_digest("root")
    rotate(vault, LEAVES["server-ca"], opening(vault))
    assert verified(sealed(vault).bundles["server-ca.crt"], tmp_path, root)
    shutil.copy(tmp_path / "root.key", tls / "intermediate-ca.key")
    with pytest.raises(ContentMalformed, match="not the key of the certificate"):
        take_authorities(vault, tls, replace=True)


def test_rsa_keys_above_the_five_stay_where_they_are(vault: Path, tmp_path: Path) -> None:
    tls = laid_out(cluster(), tmp_path / "tls")
    for file in ("root-ca.key", "intermediate-ca.key"):
        (tls / file).write_text(said("openssl", "genrsa", "-traditional", "2048"))
    assert not set(UPPER) & set(take_authorities(vault, tls, replace=True))


def test_what_is_there_is_not_replaced_unasked(vault: Path, tmp_path: Path) -> None:
    before = (vault / "index.json").read_bytes()
    with pytest.raises(UsageError, match="authorities already") as caught:
        take_authorities(vault, laid_out(cluster(), tmp_path / "tls"), replace=False)
    assert "--replace" in caught.value.hint
    assert (vault / "index.json").read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "where", "said"),
    [
        (lambda tls: (tls / "etcd/peer-ca.key").unlink(), "tls", "etcd/peer-ca.key"),
        (lambda tls: shutil.copy(tls / "client-ca.key", tls / "server-ca.key"), "server-ca.crt", "not that of the key"),
        (lambda tls: (tls / "service.key").write_text("no key"), "service.key", "no private key"),
        (lambda tls: (tls / "client-ca.key").write_text("no key"), "client-ca.key", "no private key"),
        (lambda tls: (tls / "client-ca.crt").write_text(""), "client-ca.crt", "certificate"),
        (lambda tls: (tls / "client-ca.crt").write_bytes(b"\xff" + (tls / "client-ca.crt").read_bytes()),
         "client-ca.crt", "more in it"),
    ],
)  # fmt: skip
def test_files_that_do_not_belong_together_are_named_and_change_nothing(
    vault: Path, tmp_path: Path, spoil: Callable[[Path], object], where: str, said: str
) -> None:
    tls = laid_out(cluster(), tmp_path / "tls")
    spoil(tls)
    before = (vault / "index.json").read_bytes()
    with pytest.raises(ContentMalformed, match=said) as caught:
        take_authorities(vault, tls, replace=True)
    assert str(caught.value.where).endswith(where)
    assert (vault / "index.json").read_bytes() == before


def test_all_missing_files_are_told_at_once(vault: Path, tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    with pytest.raises(ContentMalformed) as caught:
        take_authorities(vault, tmp_path / "tls", replace=True)
    assert all(f"{ca}.crt" in str(caught.value) for ca in Ca)


@pytest.mark.parametrize("name", [*UPPER, *LEAVES.values(), "cluster/ca/other"])
def test_an_authority_is_not_taken_without_its_certificate(vault: Path, name: str) -> None:
    key = Authority(b"", Secret(said("openssl", "ecparam", "-genkey", "-noout", "-name", "prime256v1").encode())).key
    with pytest.raises(UsageError, match="without its certificate"):
        take(vault, name, key, "file", replace=True)


def test_a_service_accounts_key_is_rsa(vault: Path) -> None:
    key = said("openssl", "ecparam", "-genkey", "-noout", "-name", "prime256v1").encode()
    with pytest.raises(ContentMalformed, match="RSA"):
        take(vault, "cluster/service-account-key", Secret(key), "file", replace=True)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("K10" + "a" * 64 + "::server:" + "b" * 32, "whole token"),
        ("abcdef.0123456789abcdef", "bootstrap token"),
        ("short", "16 to 256"),
        ("with spaces in the middle", "without spaces"),
    ],
)
def test_a_token_is_taken_as_its_password_alone(vault: Path, token: str, said: str) -> None:
    with pytest.raises(ContentMalformed, match=said) as caught:
        take(vault, "cluster/agent-token", Secret(token.encode() + b"\n"), "file", replace=True)
    assert token not in str(caught.value)
    take(vault, "cluster/agent-token", Secret(b"0123456789abcdef0123456789abcdef\n"), "file", replace=True)
    assert opened(vault, "cluster/agent-token") == b"0123456789abcdef0123456789abcdef"


def test_a_person_brings_a_cluster_in_and_takes_it_out_by_name(rack: Rack, tmp_path: Path) -> None:
    rack.create()
    tls = laid_out(cluster(), tmp_path / "copy")
    told = rack.done("vault", "import", CA, tls).out
    assert "can't be renewed from here" in told
    assert "vault founded" in told
    rack.done("vault", "export", CA, "staged", *OPENED)
    assert (rack.folder / "staged/server-ca.crt").read_bytes() == (tls / "server-ca.crt").read_bytes()
    assert "name a new FOLDER" in rack.run("vault", "export", CA, *OPENED).err


@pytest.mark.parametrize("name", UPPER)
def test_a_person_gets_no_key_that_stays(rack: Rack, name: str) -> None:
    rack.create()
    rack.draw_cluster()
    done = rack.run("vault", "export", name, "key", *OPENED)
    assert done.code == 2
    assert "never leaves the vault" in done.err
    assert not (rack.folder / "key").exists()


def test_the_cluster_is_founded_once_and_a_person_may_take_it_back(rack: Rack) -> None:
    rack.create()
    assert "founded" not in rack.done("vault", "list").out
    rack.done("vault", "founded")
    first = rack.done("vault", "list", "--json").result["facts"]["founded"]
    assert f"founded by {first}" in rack.done("vault", "list").out
    assert rack.done("vault", "founded", "--json").result["founded"] == first
    assert rack.done("vault", "founded", "--forget", "--json").result["founded"] == ""
    assert "founded" not in rack.done("vault", "list").out


@pytest.mark.parametrize("ca", Ca)
def test_any_of_the_five_makes_an_admin_until_the_root_is_another(vault: Path, tmp_path: Path, ca: Ca) -> None:
    """As docs/security.md tells of a lost server card."""
    before = sealed(vault).bundles
    (tmp_path / "ca.pem").write_bytes(before[f"{ca}.crt"])
    (tmp_path / "ca.key").write_bytes(opened(vault, LEAVES[ca]))
    (tmp_path / "ext").write_text("extendedKeyUsage = clientAuth\n")
    said("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/O=system:masters/CN=thief", "-keyout", tmp_path / "key", "-out", tmp_path / "csr")  # fmt: skip
    said("openssl", "x509", "-req", "-in", tmp_path / "csr", "-CA", tmp_path / "ca.pem", "-CAkey", tmp_path / "ca.key",
         "-days", "1", "-set_serial", "1", "-extfile", tmp_path / "ext", "-out", tmp_path / "thief.pem")  # fmt: skip

    def lets_in() -> bool:
        trusted = tmp_path / "client-ca.crt"
        trusted.write_bytes(sealed(vault).bundles["client-ca.crt"])
        shown = ("-purpose", "sslclient", "-CAfile", trusted, "-untrusted", tmp_path / "ca.pem", tmp_path / "thief.pem")
        done = subprocess.run(["openssl", "verify", *shown], check=False, capture_output=True)
        return done.returncode == 0

    assert lets_in()
    rotate(vault, LEAVES["client-ca"], opening(vault))
    assert lets_in()
    rotate(vault, CA, closed(), new_cluster=True)
    assert not lets_in()


def test_nothing_is_signed_by_an_intermediate_that_is_no_longer_the_vaults(vault: Path) -> None:
    early = opening(vault)
    early.vault(vault)
    rotate(vault, CA, closed(), new_cluster=True)
    before = (vault / "index.json").read_bytes()
    with pytest.raises((UsageError, ContentMalformed)):
        rotate(vault, LEAVES["client-ca"], early)
    assert (vault / "index.json").read_bytes() == before
