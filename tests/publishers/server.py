"""A server on loopback, https with a CA of its own, that misbehaves in one way per URL."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import itertools
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = Callable[["Request"], None]


class Request(http.server.BaseHTTPRequestHandler):
    """One request; answers are functions of it."""

    protocol_version = "HTTP/1.1"
    server: _Listening

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))
        answer = self.server.answers.get(self.path, lambda request: request.send_error(404))
        answer(self)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def give(self, body: bytes, code: int = 200, **headers: str) -> None:
        """A plain answer; header names with `_` for `-`, and the length unless it is given."""
        self.send_response(code)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("Content-Length", str(len(body)))
        for name, value in named.items():
            if value:
                self.send_header(name, value)
        if not named["Content-Length"]:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self) -> None:
        self.close_connection = True

    def asked_from(self) -> int:
        """Where the wanted range starts; 0 without one."""
        asked = self.headers.get("Range", "")
        return int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0


class _Listening(http.server.ThreadingHTTPServer):
    daemon_threads = True
    answers: dict[str, Answer]
    seen: list[tuple[str, dict[str, str]]]

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that hang up are what is tested


class Server:
    """`url("/name")` after `on("/name", answer)`; `seen` lists (path, headers) of every request.

    An honest file is `file`, one that leads elsewhere `redirect`; what goes wrong only now and then is `at_first`.
    """

    def __init__(self, folder: Path, beside: Server | None = None) -> None:
        """`beside` = a server whose certificate this one bears too, so that one CA is enough for both."""
        self.ca = beside.ca if beside else folder / "ca.pem"
        self._chain = beside._chain if beside else _certificate(self.ca, folder / "server.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._chain)
        self._http = _Listening(("127.0.0.1", 0), Request)
        self._http.answers, self._http.seen = {}, []
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def seen(self) -> list[tuple[str, dict[str, str]]]:
        return self._http.seen

    def asked(self, path: str) -> int:
        """How often a path was asked for since `seen` was cleared."""
        return sum(one == path for one, _ in self.seen)

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self._http.server_address[1]}{path}"

    def on(self, path: str, answer: Answer) -> str:
        self._http.answers[path] = answer
        return self.url(path)

    def file(self, path: str, body: bytes, etag: str = '"one"') -> str:
        """An honest file, with ranges."""
        return self.on(path, lambda request: honest(request, body, etag))

    def redirect(self, path: str, to: str, code: int = 302) -> str:
        """Lead from one path to another one, or to an address."""
        target = to if "://" in to else self.url(to)
        return self.on(path, lambda request: request.give(b"", code, Location=target))

    def at_first(self, path: str, answer: Answer, times: int = 1) -> str:
        """A fault that passes: `times` requests get this answer, later ones what the path had before."""
        answers = itertools.chain(itertools.repeat(answer, times), itertools.repeat(self._http.answers[path]))

        def whoever_is_next(request: Request) -> None:
            next(answers)(request)

        return self.on(path, whoever_is_next)

    def forget(self) -> None:
        """Nothing is here any more, and nothing was asked."""
        self._http.answers.clear()
        self._http.seen.clear()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def honest(request: Request, body: bytes, etag: str) -> None:
    """As a good server does, RFC 9110: ranges, If-Range, 416."""
    start = request.asked_from()
    if not start or request.headers.get("If-Range", etag) != etag:
        request.give(body, ETag=etag)
    elif start >= len(body):
        request.give(b"", 416, Content_Range=f"bytes */{len(body)}")
    else:
        request.give(body[start:], 206, ETag=etag, Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}")


def breaking_off(body: bytes, after: int, then: Answer) -> Answer:
    """The first answer ends after `after` bytes though it promised all; later ones are `then`."""
    calls: list[int] = []

    def answer(request: Request) -> None:
        calls.append(1)
        if len(calls) > 1:
            then(request)
            return
        request.give(body[:after], ETag='"one"', Content_Length=str(len(body)))
        request.hang_up()

    return answer


def slowly(body: bytes, piece: int, pause_s: float) -> Answer:
    """Bytes in small pieces with pauses."""

    def answer(request: Request) -> None:
        request.give(b"", Content_Length=str(len(body)))
        for start in range(0, len(body), piece):
            request.wfile.write(body[start : start + piece])
            request.wfile.flush()
            time.sleep(pause_s)

    return answer


def _certificate(ca_path: Path, chain_path: Path) -> Path:
    now = datetime.datetime.now(datetime.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    ca_path.write_bytes(pem)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain_path.write_bytes(pem + secret)
    return chain_path
