"""How long the identities of five nodes take beside the bare drawing of their keys, which anybody has to do.

Called by `bench.__main__`. Each run draws the keys of a cluster and then makes everything of them that goes into images
and to the operator; the ratio is (drawing + making) / drawing of the same keys, since an RSA key takes five times as
long when luck is bad. Sealing is the vault's and is not in it.
"""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.made_base import Base
from bench.row import Row
from imagesmith.identity import authorities, kubeconfig, ssh, tokens
from imagesmith.identity.authorities import Ca, VaultKey
from imagesmith.identity.certificates import Drawn
from imagesmith.secret import Secret

LIMIT = 1.2
_LEAST_RUNS = 51
"""A run takes a thirtieth of a second, and drawing an RSA key is a matter of luck."""
NODES = tuple(f"node-{number}" for number in range(1, 6))


@dataclass(frozen=True, slots=True)
class Keys:
    """What is drawn for a cluster of five."""

    authorities: tuple[ec.EllipticCurvePrivateKey, ...]
    """Root, intermediate, the five of k3s, the admin's."""
    service: rsa.RSAPrivateKey
    hosts: Mapping[str, tuple[ssh.PrivateKey, ...]]
    passwords: tuple[bytes, ...]
    """The server's, the agents', each node's."""
    serials: tuple[int, ...]


def rows(base: Base, folder: Path, runs: int) -> list[Row]:
    """Means. Neither `base` nor `folder` is used: nothing here reads or writes a file."""
    drawing, both = [], []
    make(draw())  # what is loaded at the first use is no part of it
    for _ in range(max(runs, _LEAST_RUNS)):
        start = time.perf_counter()
        keys = draw()
        drawn = time.perf_counter()
        make(keys)
        both.append((time.perf_counter() - start) * 1000)
        drawing.append((drawn - start) * 1000)
    # Of the same keys, so the mean is fair; medians of two such crooked distributions are not to be compared.
    own, peer = statistics.mean(both), statistics.mean(drawing)
    return [Row("identities of five nodes", own, "drawing their keys alone", peer, LIMIT, unit="ms")]


def draw() -> Keys:
    """Keys and numbers alone, by the same library that the vault has."""
    elliptic = [ec.generate_private_key(ec.SECP256R1()) for _ in range(len(Ca) + 3)]
    service = rsa.generate_private_key(65537, authorities.SERVICE_KEY_BITS)
    hosts = {name: (Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())) for name in NODES}
    passwords = tuple(secrets.token_bytes(tokens.PASSWORD_BYTES) for _ in range(len(NODES) + 2))
    return Keys(tuple(elliptic), service, hosts, passwords, tuple(1 + secrets.randbits(127) for _ in elliptic))


def make(keys: Keys) -> list[bytes | Secret]:
    """Every file and line that the five images and the operator get."""
    begin = datetime.now(UTC).replace(microsecond=0)
    drawn = [Drawn(key, serial, begin) for key, serial in zip(keys.authorities, keys.serials, strict=True)]
    root, middle = (Drawn(VaultKey(one.key), one.serial, begin) for one in drawn[:2])
    above = authorities.intermediate(middle, authorities.root(root))
    found = authorities.found(dict(zip(Ca, drawn[2:-1], strict=True)), keys.service, above)
    server_ca = found.leaves[Ca.SERVER].bundle
    words = [tokens.password(one) for one in keys.passwords]
    made: list[bytes | Secret] = [*found.public().values(), *found.private().values()]
    made += [tokens.server_token(server_ca, words[0]), tokens.agent_token(server_ca, words[1])]
    made += [tokens.node_password_file(word) for word in words[2:]]
    admin = kubeconfig.admin(found.leaves[Ca.CLIENT], drawn[-1])
    made.append(kubeconfig.kubeconfig(admin, server_ca, "https://192.0.2.10:6443", "rack"))
    for name, pair in keys.hosts.items():
        hosts = [ssh.HostKey(key, f"root@{name}") for key in pair]
        made += [made_one for key in hosts for made_one in (key.openssh(), key.dropbear(), key.public_line())]
        made += [ssh.known_hosts(hosts, [name]), ssh.known_hosts(hosts, [name], 2222)]
    return made
