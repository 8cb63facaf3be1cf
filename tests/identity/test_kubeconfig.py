"""The kubeconfig, read by kubectl; its certificate, shown to a TLS server under the cluster's own authorities."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from identity.drawing import cluster, elliptic, laid_out, said

from imagesmith.errors import UsageError
from imagesmith.identity import kubeconfig
from imagesmith.identity.authorities import Authorities, Ca
from imagesmith.identity.kubeconfig import ADMIN_LIFETIME, ClientFiles

SERVER = "https://192.0.2.10:6443"
SERVING = """\
subjectAltName = IP:127.0.0.1
extendedKeyUsage = serverAuth
"""


@pytest.fixture(scope="module")
def found() -> Authorities:
    return cluster()


@pytest.fixture(scope="module")
def folder(found: Authorities, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return laid_out(found, tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def admin(found: Authorities) -> ClientFiles:
    return kubeconfig.admin(found.leaves[Ca.CLIENT], elliptic())


def kubectl(*words: object) -> str:
    beside = Path(sys.executable).with_name("kubectl")
    return said(beside if beside.exists() else shutil.which("kubectl") or pytest.skip("kubectl is missing"), *words)


def written(folder: Path, client: ClientFiles) -> tuple[Path, Path]:
    certificate, key = folder / "client.crt", folder / "client.key"
    certificate.write_bytes(client.certificate)
    key.write_bytes(client.key.reveal())
    return certificate, key


def test_kubectl_reads_it(found: Authorities, admin: ClientFiles, tmp_path: Path) -> None:
    made = kubeconfig.kubeconfig(admin, found.leaves[Ca.SERVER].bundle, SERVER, "rack")
    (tmp_path / "config").write_bytes(made.reveal())
    shown = json.loads(kubectl("config", "view", "--kubeconfig", tmp_path / "config", "--raw", "-o", "json"))
    assert shown["current-context"] == "rack"
    (entry,), (user,) = shown["clusters"], shown["users"]
    assert entry["cluster"]["server"] == SERVER
    assert base64.b64decode(entry["cluster"]["certificate-authority-data"]) == found.leaves[Ca.SERVER].bundle
    assert base64.b64decode(user["user"]["client-certificate-data"]) == admin.certificate
    assert base64.b64decode(user["user"]["client-key-data"]) == admin.key.reveal()


def test_kubectl_takes_its_current_context(found: Authorities, admin: ClientFiles, tmp_path: Path) -> None:
    made = kubeconfig.kubeconfig(admin, found.leaves[Ca.SERVER].bundle, SERVER, "rack")
    (tmp_path / "config").write_bytes(made.reveal())
    minified = kubectl("config", "view", "--kubeconfig", tmp_path / "config", "--minify", "-o", "json")
    assert json.loads(minified)["contexts"] == [{"name": "rack", "context": {"cluster": "rack", "user": "rack"}}]


@pytest.mark.parametrize("name", ["yes", "01", "a: b", "null", "- x", 'a "b" \\c', "{x}", "Gestell Köln"])
def test_a_name_that_yaml_would_misread_stays_text(found: Authorities, admin: ClientFiles, name: str) -> None:
    made = kubeconfig.kubeconfig(admin, found.leaves[Ca.SERVER].bundle, SERVER, name)
    assert yaml.safe_load(made.reveal())["current-context"] == name


@pytest.mark.parametrize("server", ["http://192.0.2.10:6443", "192.0.2.10:6443", ""])
def test_an_address_that_is_not_https_is_refused(found: Authorities, admin: ClientFiles, server: str) -> None:
    with pytest.raises(ValueError, match="https"):
        kubeconfig.kubeconfig(admin, found.leaves[Ca.SERVER].bundle, server, "rack")


def test_the_admin_s_certificate_says_who_kubernetes_takes_it_for(admin: ClientFiles) -> None:
    text = said("openssl", "x509", "-noout", "-subject", "-ext", "extendedKeyUsage,keyUsage,basicConstraints",
                given=admin.certificate)  # fmt: skip
    assert "subject=O = system:masters, CN = system:admin\n" in text
    assert "TLS Web Client Authentication\n" in text
    assert "CA:FALSE" in text
    assert "Certificate Sign" not in text
    assert "Server Authentication" not in text


@pytest.mark.parametrize("ca", Ca)
def test_client_ca_alone_vouches_for_it(admin: ClientFiles, ca: Ca, folder: Path, tmp_path: Path) -> None:
    certificate, _ = written(tmp_path, admin)
    own = tmp_path / "ca.pem"
    own.write_text(said("openssl", "x509", "-in", folder / f"{ca}.crt"))
    done = subprocess.run(
        ["openssl", "verify", "-partial_chain", "-purpose", "sslclient", "-trusted", own, certificate],
        capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode == 0) == (ca is Ca.CLIENT)


def test_openssl_verifies_it_as_a_client_to_the_root_and_not_as_a_server(
    admin: ClientFiles, folder: Path, tmp_path: Path
) -> None:
    certificate, _ = written(tmp_path, admin)
    words = ("openssl", "verify", "-x509_strict", "-CAfile", folder / "client-ca.crt")
    said(*words, "-purpose", "sslclient", certificate)
    assert subprocess.run([*words, "-purpose", "sslserver", certificate], capture_output=True, check=False).returncode


def test_it_lasts_a_week_unless_told_otherwise(found: Authorities) -> None:
    assert timedelta(days=7) == ADMIN_LIFETIME
    for lifetime, name in ((None, "default"), (timedelta(hours=1), "hour")):
        drawn = elliptic()
        words = () if lifetime is None else (lifetime,)
        made = kubeconfig.admin(found.leaves[Ca.CLIENT], drawn, *words)
        end = drawn.not_before + (lifetime or timedelta(days=7))
        text = said("openssl", "x509", "-noout", "-enddate", "-dateopt", "iso_8601", given=made.certificate)
        assert text == f"notAfter={end:%Y-%m-%d %H:%M:%S}Z\n", name


def test_it_does_not_outlive_client_ca(found: Authorities) -> None:
    with pytest.raises(UsageError, match="its authority is"):
        kubeconfig.admin(found.leaves[Ca.CLIENT], elliptic(), timedelta(days=3701))


def test_a_node_that_drains_itself_is_in_no_group(found: Authorities, folder: Path, tmp_path: Path) -> None:
    made = kubeconfig.drain(found.leaves[Ca.CLIENT], elliptic(), "node-1", timedelta(days=365))
    assert said("openssl", "x509", "-noout", "-subject", given=made.certificate) == (
        "subject=CN = imagesmith:drain:node-1\n"
    )
    certificate, _ = written(tmp_path, made)
    said("openssl", "verify", "-purpose", "sslclient", "-CAfile", folder / "client-ca.crt", certificate)


def test_a_key_shows_nothing(admin: ClientFiles) -> None:
    assert "PRIVATE" not in repr(admin)


@pytest.fixture(scope="module")
def serving(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A server's certificate that openssl signs with server-ca's two files, as k3s does at its start."""
    here = tmp_path_factory.mktemp("serving")
    certificate, key = here / "server.crt", here / "server.key"
    (here / "ext").write_text(SERVING)
    said("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    said("openssl", "req", "-new", "-subj", "/CN=k3s", "-key", key, "-out", here / "csr")
    said(
        *("openssl", "x509", "-req", "-in", here / "csr", "-days", "30", "-extfile", here / "ext"),
        *("-CA", folder / "server-ca.crt", "-CAkey", folder / "server-ca.key", "-set_serial", "9", "-out", certificate),
    )
    certificate.write_bytes(certificate.read_bytes() + (folder / "server-ca.crt").read_bytes())
    return certificate, key


def handshake(serving: tuple[Path, Path], client_ca: Path, server_ca: Path, client: tuple[Path, Path] | None) -> str:
    """The CN by which a real TLS server knows its client."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*serving)
    server.load_verify_locations(client_ca)
    server.verify_mode = ssl.CERT_REQUIRED
    side = ssl.create_default_context(cafile=str(server_ca))
    if client:
        side.load_cert_chain(*client)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve() -> None:
        try:
            accepted, _ = listener.accept()
            accepted.settimeout(10)
            with server.wrap_socket(accepted, server_side=True) as secured:
                names = dict(pair for (pair,) in secured.getpeercert()["subject"])  # type: ignore[index, misc, union-attr]
                secured.sendall(names["commonName"].encode())
        except OSError:
            return  # the client's side tells

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        plain = socket.create_connection(listener.getsockname(), 10)
        with plain, side.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
            return secured.recv(100).decode()
    finally:
        thread.join()
        listener.close()


def test_a_server_under_server_ca_knows_the_admin(
    serving: tuple[Path, Path], folder: Path, admin: ClientFiles, tmp_path: Path
) -> None:
    name = handshake(serving, folder / "client-ca.crt", folder / "server-ca.crt", written(tmp_path, admin))
    assert name == "system:admin"


def test_a_server_that_has_only_the_root_knows_the_admin(
    serving: tuple[Path, Path], folder: Path, admin: ClientFiles, tmp_path: Path
) -> None:
    root = tmp_path / "root.pem"
    root.write_text("-----BEGIN" + (folder / "client-ca.crt").read_text().split("-----BEGIN")[-1])
    assert handshake(serving, root, folder / "server-ca.crt", written(tmp_path, admin)) == "system:admin"


def test_a_client_without_a_certificate_is_turned_away(serving: tuple[Path, Path], folder: Path) -> None:
    with pytest.raises(ssl.SSLError):
        handshake(serving, folder / "client-ca.crt", folder / "server-ca.crt", None)


def test_the_admin_of_another_cluster_is_turned_away(serving: tuple[Path, Path], folder: Path, tmp_path: Path) -> None:
    other = kubeconfig.admin(cluster().leaves[Ca.CLIENT], elliptic())
    with pytest.raises(ssl.SSLError):
        handshake(serving, folder / "client-ca.crt", folder / "server-ca.crt", written(tmp_path, other))


def test_a_server_of_another_cluster_is_not_believed(
    serving: tuple[Path, Path], folder: Path, admin: ClientFiles, tmp_path: Path
) -> None:
    other = laid_out(cluster(), tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(serving, folder / "client-ca.crt", other / "server-ca.crt", written(tmp_path, admin))
