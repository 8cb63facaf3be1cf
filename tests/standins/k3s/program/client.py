"""Requests over TLS to a server: verified by a bundle, by the machine's own store, or (at first sight) not at all."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .words import Refused

TIMEOUT_S = 10.0
HOST_STORE = None
"""Verify by the machine's own certificate authorities."""


class Caller:
    """One identity's requests; connections are kept open, one for each server."""

    def __init__(
        self, bundle: str | None, user: str = "", password: str = "", pair: tuple[Path, Path] | None = None
    ) -> None:
        self.context = _context(bundle)
        self.headers = {}
        if pair:
            self.context.load_cert_chain(*pair)
        if user:
            self.headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._open: dict[str, http.client.HTTPSConnection] = {}

    def ask(
        self, url: str, path: str, method: str = "GET", body: Any = None, timeout: float = TIMEOUT_S, **headers: str
    ) -> str:
        """The answer's body; `Refused` for any other code than 2xx, OSError when nobody answers."""
        sent = None if body is None else json.dumps(body).encode()
        for again in (False, True):
            known = url in self._open
            try:
                code, reason, text = self._once(url, path, method, sent, timeout, headers)
            except (http.client.HTTPException, OSError) as error:
                self.close(url)
                if known and not again and not isinstance(error, TimeoutError):
                    continue  # a kept connection may have been closed by the other side long ago
                raise error if isinstance(error, OSError) else ConnectionError(str(error)) from None
            if 200 <= code < 300:
                return text
            raise Refused(f"{url}{path}: {code} {reason}", code, text)
        raise AssertionError

    def _once(
        self, url: str, path: str, method: str, sent: bytes | None, timeout: float, headers: dict[str, str]
    ) -> tuple[int, str, str]:
        connection = self._open.get(url)
        if connection is None:
            parts = urlsplit(url)
            connection = http.client.HTTPSConnection(
                parts.hostname or "", parts.port or 443, timeout=timeout, context=self.context
            )
            self._open[url] = connection
        wanted = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        if sent is not None:
            wanted.setdefault("Content-Type", "application/json")
        connection.request(method, path, body=sent, headers=wanted)
        answer = connection.getresponse()
        return answer.status, answer.reason, answer.read().decode(errors="replace")

    def close(self, url: str = "") -> None:
        for one in [url] if url else list(self._open):
            if one in self._open:
                self._open.pop(one).close()


def unverified() -> Caller:
    """For `/cacerts` alone, which is judged by its hash."""
    caller = Caller("")
    caller.context.check_hostname = False
    caller.context.verify_mode = ssl.CERT_NONE
    return caller


def _context(bundle: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if bundle is HOST_STORE:
        context.load_default_certs()
    elif bundle:
        context.load_verify_locations(cadata=bundle)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
