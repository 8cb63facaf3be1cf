"""Certificates that nodes drain themselves by: made with the authorities, or by an opened vault; renewed when due."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from identity.drawing import said

from imagesmith.errors import UsageError, VaultLocked
from imagesmith.identity import certificates
from imagesmith.identity.kubeconfig import drain
from imagesmith.secret import Secret
from imagesmith.vault import authorities, sealing, store
from imagesmith.vault.draw import Drawn, fingerprint_of, taken
from imagesmith.vault.index import read_index
from imagesmith.vault.names import CA, CLIENT_CA, is_signed, of_cluster
from imagesmith.vault.signed import KIND, client_authority, due
from imagesmith.workflow.rotate import rotate, what_follows
from imagesmith.workflow.vault import Opening, draw_missing, sign_due

NAME = "nodes/arm-1/drain-certificate"


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    """With all of a cluster; opened by the file rack.key beside it."""
    folder, key = tmp_path / "cluster.vault", sealing.new_identity()
    (tmp_path / "rack.key").write_bytes(key.reveal())
    (tmp_path / "rack.key").chmod(0o600)
    store.create(folder, store.Key("key-file", key))
    draw_missing(folder, of_cluster())
    return folder


def opening(vault: Path, *, key: bool = True) -> Opening:
    def ask(what: str, new: bool) -> Secret:
        raise VaultLocked("nobody is here to be asked")

    return Opening(ask, vault.with_name("rack.key") if key else None)


def certificate(vault: Path) -> str:
    return read_index(vault).secrets[NAME].public


def test_it_is_made_together_with_the_authorities(tmp_path: Path) -> None:
    folder = tmp_path / "new.vault"
    store.create(folder, store.Key("plain"))
    assert NAME in draw_missing(folder, (*of_cluster(), NAME))
    assert due(read_index(folder).secrets, (NAME,)) == ()


def test_later_the_vault_is_opened_for_it(vault: Path) -> None:
    assert draw_missing(vault, (NAME,)) == ()
    with pytest.raises(VaultLocked):
        sign_due(vault, (NAME,), opening(vault, key=False))
    assert sign_due(vault, (NAME,), opening(vault)) == (NAME,)


def test_one_that_is_there_asks_for_nothing(vault: Path) -> None:
    sign_due(vault, (NAME,), opening(vault))
    assert sign_due(vault, (NAME,), opening(vault, key=False)) == ()


def test_openssl_takes_it_for_that_nodes_client(vault: Path, tmp_path: Path) -> None:
    sign_due(vault, (NAME,), opening(vault))
    (tmp_path / "client.crt").write_text(certificate(vault))
    (tmp_path / "ca.crt").write_text(read_index(vault).secrets[CLIENT_CA].public)
    said("openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", tmp_path / "ca.crt",
         tmp_path / "client.crt")  # fmt: skip
    assert said("openssl", "x509", "-noout", "-subject", given=certificate(vault).encode()) == (
        "subject=CN = imagesmith:drain:arm-1\n"
    )


def test_the_key_that_is_kept_is_the_certificates(vault: Path, tmp_path: Path) -> None:
    sign_due(vault, (NAME,), opening(vault))
    key = opening(vault)(vault)(NAME).reveal()
    done = subprocess.run(["openssl", "pkey", "-pubout"], input=key, capture_output=True, check=True)
    assert done.stdout.decode() == said("openssl", "x509", "-noout", "-pubkey", given=certificate(vault).encode())


def test_it_is_good_for_three_years(vault: Path) -> None:
    sign_due(vault, (NAME,), opening(vault))
    end = certificates.read(certificate(vault).encode())[0].not_valid_after_utc
    assert abs(end - datetime.now(UTC) - timedelta(days=1095)) < timedelta(minutes=5)


@pytest.mark.parametrize(("days", "renewed"), [(364, True), (366, False)])
def test_one_that_ends_within_a_year_is_renewed(vault: Path, days: int, renewed: bool) -> None:
    bundle = read_index(vault).secrets[CLIENT_CA].public
    client = client_authority(bundle, opening(vault)(vault)(CLIENT_CA))
    drawn = authorities.lone_key(authorities.begins())
    lifetime = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days) - drawn.not_before
    files = drain(client, drawn, "arm-1", lifetime)
    with store.changing(vault) as change:
        change.put(NAME, Drawn(KIND, files.key, files.certificate.decode(), fingerprint_of(drawn.key.public_key())))
    assert sign_due(vault, (NAME,), opening(vault)) == ((NAME,) if renewed else ())


def test_new_authorities_sign_it_anew(vault: Path) -> None:
    sign_due(vault, (NAME,), opening(vault))
    rotate(vault, CA, opening(vault), new_cluster=True)
    assert sign_due(vault, (NAME,), opening(vault)) == (NAME,)


def test_a_client_authority_that_was_renewed_leaves_it_good(vault: Path) -> None:
    """The root is the same, and k3s trusts both."""
    sign_due(vault, (NAME,), opening(vault))
    rotate(vault, CLIENT_CA, opening(vault))
    assert sign_due(vault, (NAME,), opening(vault)) == ()


def test_a_person_can_have_it_drawn_anew(vault: Path) -> None:
    sign_due(vault, (NAME,), opening(vault))
    before = certificate(vault)
    rotate(vault, NAME, opening(vault))
    assert certificate(vault) != before
    assert "arm-1 goes on with the old one" in what_follows(NAME)


def test_nobody_brings_one_in() -> None:
    with pytest.raises(UsageError, match="signed by the vault's own"):
        taken(NAME, Secret(b"x"), "file")


@pytest.mark.parametrize("name", ["cluster/ups-primary-password", "nodes/a/node-password", "nodes/a/host-key.ed25519"])
def test_no_other_secret_needs_an_authority(name: str) -> None:
    assert not is_signed(name)
