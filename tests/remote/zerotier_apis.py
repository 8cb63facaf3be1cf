"""Central and a controller of one's own on loopback, with the answers that they give, good and bad."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

TOKEN = "t0ken-nobody-has"


@dataclass
class Fake:
    """`members` are the network's, as the kind of API has them; `fail` are (status, headers) of the next answers."""

    kind: str
    network: str
    url: str = ""
    routes: tuple[str, ...] = ("10.147.17.0/24",)
    members: dict[str, dict[str, object]] = field(default_factory=dict)
    fail: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    raw: bytes = b""
    """What is answered in place of all else."""

    def allowed(self, headers: object) -> bool:
        name, value = ("Authorization", f"token {TOKEN}") if self.kind == "central" else ("X-ZT1-Auth", TOKEN)
        return headers.get(name) == value  # type: ignore[attr-defined]

    def answer(self, method: str, path: str, body: dict[str, object]) -> tuple[int, object]:
        top = f"/{'' if self.kind == 'central' else 'controller/'}network/{self.network}"
        if not path.startswith(top):
            return 404, {"type": "notFound"}
        rest = path.removeprefix(top)
        if rest == "":
            routes = {"name": "home", "routes": [{"target": one, "via": None} for one in self.routes]}
            return 200, {"id": self.network, "config": routes} if self.kind == "central" else routes
        if rest == "/member":
            listed = [{"nodeId": one, **told} for one, told in self.members.items()]
            return 200, listed if self.kind == "central" else dict.fromkeys(self.members, 1)
        address = rest.removeprefix("/member/")
        if method == "POST":
            self.members[address] = {**self.members.get(address, {}), **body}
        return (200, self.members[address]) if address in self.members else (404, {})


@contextmanager
def serving_api(fake: Fake) -> Iterator[Fake]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length) or b"{}")
            fake.seen.append(f"{self.command} {self.path}")
            headers: dict[str, str] = {}
            if fake.fail:
                (code, headers), answer = fake.fail.pop(0), {}
            elif not fake.allowed(self.headers):
                code, answer = 403, {}
            else:
                code, answer = fake.answer(self.command, self.path, body)
            data = fake.raw or json.dumps(answer).encode()
            self.send_response(code)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _do  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
