"""The hash of a CA bundle and the tokens that carry it, written from k3s's published rule alone.

One certificate: SHA-256 over the bytes of the file. More: SHA-256 over the DER of the root that the first one leads to;
when none is found, the bytes of the file again. A root has no authority key id, or its own.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from .words import Fatal

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SUBJECT_KEY, _AUTHORITY_KEY = bytes.fromhex("551d0e"), bytes.fromhex("551d23")


@dataclass(frozen=True)
class Certificate:
    """What a chain is followed by."""

    der: bytes
    subject: bytes
    issuer: bytes
    subject_key: bytes
    authority_key: bytes

    @property
    def is_root(self) -> bool:
        return not self.authority_key or self.authority_key == self.subject_key


@dataclass(frozen=True)
class Token:
    """A token taken apart: hash (or nothing), user (or nothing, with a short token), password."""

    hash: str
    user: str
    password: str


def bundle(pem: str) -> list[Certificate]:
    return [_certificate(base64.b64decode(body)) for body in _PEM.findall(pem)]


def ca_hash(pem: str) -> str:
    found = bundle(pem)
    if not found:
        raise Fatal("the CA bundle holds no certificate")
    root = _root_of(found) if len(found) > 1 else None
    return hashlib.sha256(root.der if root else pem.encode()).hexdigest()


def parse_token(text: str) -> Token:
    if not text:
        raise Fatal("token must not be empty")
    if not text.startswith("K10"):
        return Token("", "", text)
    digest, colons, credentials = text[3:].partition("::")
    if not colons:
        digest, credentials = "", text[3:]
    if len(digest) not in (0, 64):
        raise Fatal("invalid token CA hash length")
    user, colon, password = credentials.partition(":")
    if not colon or not password:
        raise Fatal("invalid token format")
    return Token(digest, user, password)


def _root_of(found: list[Certificate]) -> Certificate | None:
    current = found[0]
    for _ in found:
        above = [one for one in found[1:] if one.subject == current.issuer and _fits(current, one)]
        if not above:
            return None
        current = above[0]
        if current.is_root:
            return current
    return None


def _fits(below: Certificate, above: Certificate) -> bool:
    return not below.authority_key or not above.subject_key or below.authority_key == above.subject_key


def _certificate(der: bytes) -> Certificate:
    inner = _items(_items(_items(der)[0][1])[0][1])
    if inner[0][0] == 0xA0:  # the version is optional
        inner = inner[1:]
    keys = {_SUBJECT_KEY: b"", _AUTHORITY_KEY: b""}
    for tag, value in inner[6:]:
        if tag == 0xA3:
            for _, extension in _items(_items(value)[0][1]):
                parts = _items(extension)
                keys[parts[0][1]] = parts[-1][1]
    authority = (
        [item for tag, item in _items(_items(keys[_AUTHORITY_KEY])[0][1]) if tag == 0x80]
        if keys[_AUTHORITY_KEY]
        else []
    )
    subject_key = _items(keys[_SUBJECT_KEY])[0][1] if keys[_SUBJECT_KEY] else b""
    return Certificate(der, inner[4][1], inner[2][1], subject_key, authority[0] if authority else b"")


def _items(data: bytes) -> list[tuple[int, bytes]]:
    """The DER values that lie one after the other in `data`: tag and content."""
    found, at = [], 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        found.append((tag, data[at : at + length]))
        at += length
    return found
