"""All publishers of the shipped bases at once: a server on loopback in the place of each host, with its indexes.

For the number of questions that `update` asks: every base follows the index that its document names, on another host.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from publishers import houses, indexes
from publishers.houses import Key
from publishers.server import Server

from imagesmith.model import Base, Board, HttpSource

Bases = tuple[tuple[Board, Base], ...]
SERIALS = {"ubuntu": "20261005", "debian": "20261005-2262"}


@dataclass
class Everywhere:
    """The servers by the host that each stands for, and the bases as they lead to them."""

    servers: dict[str, Server]
    bases: Bases

    def requests(self) -> dict[str, int]:
        """How many each server got, redirects counted, since `seen` was cleared."""
        return {host: len(server.seen) for host, server in self.servers.items() if server.seen}

    def forget_requests(self) -> None:
        for server in self.servers.values():
            server.seen.clear()


@contextmanager
def everywhere(
    bases: Iterable[tuple[Board, Base]], folder: Path, key: Key, *, day: str = "2026-10-06"
) -> Iterator[Everywhere]:
    """Servers for all hosts that the indexes of these bases lie on; REQUESTS_CA_BUNDLE has to be `folder`/ca.pem."""
    followed = [(board, base) for board, base in bases if isinstance(base.source, HttpSource) and base.source.follow]
    hosts = sorted({urlsplit(url).netloc for _, base in followed for url in _addresses(base)})
    servers: dict[str, Server] = {}
    try:
        folder.mkdir(parents=True)
        for host in hosts:
            servers[host] = Server(folder, next(iter(servers.values()), None))
        led = tuple((board, _led(base, servers, key)) for board, base in followed)
        made = Everywhere(servers, led)
        _publish([base for _, base in led], made, key, day)
        yield made
    finally:
        for server in servers.values():
            server.close()


def _addresses(base: Base) -> list[str]:
    source = base.source
    assert isinstance(source, HttpSource)
    assert source.follow
    signature = [source.signature.url] if source.signature else []
    return [source.url, source.follow.index, *signature]


def _led(base: Base, servers: dict[str, Server], key: Key) -> Base:
    """The base with every address on loopback, and with the test's key pinned."""
    source = base.source
    assert isinstance(source, HttpSource)
    assert source.follow

    def at(url: str) -> str:
        parts = urlsplit(url)
        return servers[parts.netloc].url(parts.path) if url else ""

    signature = source.signature
    if signature:
        ring = key.signer.keyring(key.fingerprint).name
        signature = replace(signature, url=at(signature.url), fingerprints=(key.fingerprint,), keyring=ring, key_url="")
    return replace(
        base,
        source=replace(
            source,
            url=at(source.url),
            checksums_url=at(source.checksums_url),
            signature=signature,
            follow=replace(source.follow, index=at(source.follow.index)),
        ),
    )


def _publish(bases: Iterable[Base], made: Everywhere, key: Key, day: str) -> None:
    by_port = {urlsplit(server.url("/")).port: server for server in made.servers.values()}
    entries: dict[str, list[dict[str, object]]] = {}
    texts: dict[str, bytes] = {}
    for base in {str(base.source): base for base in bases}.values():
        source = base.source
        assert isinstance(source, HttpSource)
        assert source.follow
        follow, server = source.follow, by_port[urlsplit(source.follow.index).port]
        path, content = urlsplit(follow.index).path, f"{base.name} {day}".encode()
        folder = path.rpartition("/")[0]
        if follow.publisher == "raspberrypi":
            file = f"/images/{follow.choose['file'].replace('*', day)}"
            entry = {"name": follow.choose.get("name", "Legacy"), "url": server.url(file), "release_date": day}
            entries.setdefault(path, []).append({**entry, "init_format": follow.choose.get("init_format", "")})
            server.file(f"{file}.sha256", houses.line(content, file))
            server.file(path, indexes.os_list(*entries[path]))
        elif follow.publisher == "armbian":
            release = houses.armbian(content, key)
            release.put(server)
            server.file(path, indexes.armbian_list(indexes.armbian_entry(server, release)))
        else:
            kind = "sha512" if follow.publisher == "debian" else "sha256"
            name = follow.choose["file"].replace("*", ".5")
            texts[path] = texts.get(path, b"") + houses.line(content, name, kind)
            server.file(path, texts[path])
            server.file(f"{path}.gpg", key.sign(texts[path]))
            serial = SERIALS[follow.publisher]
            server.file(f"{folder}/unpacked/build-info.txt", indexes.build_info(serial))
            server.file(f"{folder}/{name.rpartition('.')[0]}.json", indexes.debian_description(serial))
