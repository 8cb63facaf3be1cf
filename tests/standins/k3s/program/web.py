"""The server's door: TLS with client certificates where they are shown, one thread for each connection."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import socketserver
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .words import VERSION, Fatal, say


@dataclass(frozen=True)
class Who:
    """Who asks: by a client certificate (name and groups) or by user and password (not judged yet)."""

    name: str
    groups: tuple[str, ...] = ()
    password: str | None = None


@dataclass(frozen=True)
class Call:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: Any
    body: bytes
    who: Who | None

    def document(self) -> dict[str, Any]:
        found = json.loads(self.body or b"{}")
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Answer:
    """One answer, whole or as a stream of lines."""

    code: int
    body: Any = ""
    kind: str = "application/json"
    stream: Iterator[Any] | None = None

    def content(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


def text(code: int, body: str) -> Answer:
    return Answer(code, body, "text/plain")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = f"k3s/{VERSION}"
    sys_version = ""
    wbufsize = -1
    disable_nagle_algorithm = True
    server: Door

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        call = Call(self.command, unquote(parts.path).rstrip("/") or "/", query, self.headers, body, self._who())
        try:
            answer = self.server.answer(call)
        except (ValueError, KeyError, TypeError) as error:
            answer = text(400, f"stand-in k3s does not understand this request: {error!r}")
        self.send_response(answer.code)
        self.send_header("Content-Type", answer.kind)
        if answer.stream is None:
            content = answer.content()
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in answer.stream:
            content = json.dumps(line).encode() + b"\n" if line else b""
            if content:
                self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  (the base class's own names)

    def _who(self) -> Who | None:
        kind, _, credentials = (self.headers.get("Authorization") or "").partition(" ")
        if kind.lower() == "basic":
            with contextlib.suppress(ValueError):
                user, _, password = base64.b64decode(credentials).decode().partition(":")
                return Who(user, password=password)
        shown = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        if not shown:
            return None
        words: Any = [pair for part in shown.get("subject", ()) for pair in part]
        names = [value for key, value in words if key == "commonName"]
        return Who(names[-1] if names else "", tuple(v for key, v in words if key == "organizationName"))

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: what matters is said where it is decided."""


class Door(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Listens at once; `serve_forever` answers."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(
        self, address: str, port: int, pair: tuple[Path, Path], clients: Path, answer: Callable[[Call], Answer]
    ) -> None:
        self.answer = answer
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*pair)
        self.context.load_verify_locations(clients)
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if ":" in address:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((address, port), _Handler)
        except OSError as error:
            raise Fatal(f"failed to listen on {address}:{port}: {error.strerror}") from error

    def finish_request(self, request: Any, client_address: Any) -> None:
        """The handshake happens in the connection's own thread, so that nobody can hold the others up."""
        request.settimeout(15)
        with contextlib.suppress(OSError), self.context.wrap_socket(request, server_side=True) as door:
            door.settimeout(120)
            _Handler(door, client_address, self)
            door.settimeout(0)  # says goodbye, as TLS wants it, and waits for no answer
            with contextlib.suppress(ssl.SSLError, OSError):
                door.unwrap()

    def handle_error(self, request: Any, client_address: Any) -> None:
        import traceback

        say(f"request of {client_address[0]} failed: {traceback.format_exc()}", "error")
