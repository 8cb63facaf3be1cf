"""Keys drawn for the tests, as the vault draws them, and programs asked about what is made of them."""

from __future__ import annotations

import secrets
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from imagesmith.identity import authorities
from imagesmith.identity.authorities import Authorities, Ca, Upper, VaultKey
from imagesmith.identity.certificates import Drawn
from imagesmith.secret import Secret

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)


def elliptic(begin: datetime = NOW) -> Drawn[ec.EllipticCurvePrivateKey]:
    return Drawn(ec.generate_private_key(ec.SECP256R1()), 1 + secrets.randbits(100), begin)


def kept(begin: datetime = NOW) -> Drawn[VaultKey]:
    drawn = elliptic(begin)
    return Drawn(VaultKey(drawn.key), drawn.serial, begin)


def uppers(begin: datetime = NOW) -> tuple[Upper, Upper]:
    """A root and an intermediate."""
    root = authorities.root(kept(begin))
    return root, authorities.intermediate(kept(begin), root)


def cluster(begin: datetime = NOW) -> Authorities:
    leaves = {ca: elliptic(begin) for ca in Ca}
    return authorities.found(leaves, rsa.generate_private_key(65537, 2048), uppers(begin)[1])


def laid_out(found: Authorities, folder: Path) -> Path:
    """The files, as the founding server has them."""
    for name, content in (found.public() | found.private()).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.reveal() if isinstance(content, Secret) else content)
    return folder


def said(*words: object, given: bytes = b"") -> str:
    """What a program says; it must be content."""
    done = subprocess.run([str(word) for word in words], input=given, check=False, capture_output=True)
    assert done.returncode == 0, f"{words}: {done.stdout.decode()}{done.stderr.decode()}"
    return done.stdout.decode()
