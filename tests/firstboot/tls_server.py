"""A server that a node may join: it shows certificates at /cacerts and says pong, as k3s does to everybody."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from identity import drawing

from imagesmith.identity.authorities import Authority, Ca
from imagesmith.identity.certificates import Issuer
from imagesmith.secret import Secret

ADDRESS = "127.0.0.1"


@cache
def authority(which: int = 0) -> Authority:
    """A cluster's server-ca; another number is another cluster's."""
    return drawing.cluster().leaves[Ca.SERVER]


def alone() -> Authority:
    """An authority with nothing above it, as k3s makes them by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    made = _certificate(key, None, "k3s-server-ca")
    return Authority(made.public_bytes(serialization.Encoding.PEM), Secret(pem))


@contextmanager
def serving(folder: Path, own: Authority, shown: Authority | None = None, port: int = 0) -> Iterator[str]:
    """A server of the authority `own` that shows the certificates of `shown`; its address as nodes write it."""
    key = ec.generate_private_key(ec.SECP256R1())
    folder.mkdir(parents=True, exist_ok=True)
    chain = _certificate(key, own.issuer(), "k3s").public_bytes(serialization.Encoding.PEM) + own.bundle
    (folder / "chain").write_bytes(chain)
    (folder / "key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    answers = {"/cacerts": (shown or own).bundle, "/ping": b"pong"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path)
            self.send_response(200 if body else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *arguments: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain", folder / "key")
    with ThreadingHTTPServer((ADDRESS, port), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"https://{ADDRESS}:{server.server_address[1]}"
        finally:
            server.shutdown()


def _certificate(key: ec.EllipticCurvePrivateKey, issuer: Issuer | None, name: str) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(drawing.NOW)
        .not_valid_after(drawing.NOW + timedelta(days=30))
        .add_extension(x509.BasicConstraints(issuer is None, None), critical=True)
    )
    if issuer:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(ADDRESS))]), critical=False
        )
    return builder.sign(issuer.key if issuer else key, hashes.SHA256())
