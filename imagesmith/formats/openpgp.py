"""OpenPGP keys as publishers give them (RFC 9580): armour off, cut into keys, each named by its fingerprint.

A fingerprint is a digest of the primary key's packet, so a key of the right fingerprint is the right key whoever
brought it. What follows that packet (user ids, subkeys, signatures) is not covered by it: gpgv checks that by the
primary key's own signatures. Called by `sources.keys`. Touches nothing; raises ContentMalformed only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from imagesmith.errors import ContentMalformed

_PUBLIC_KEY = b"PUBLIC KEY BLOCK"
_ARMOUR_LINE = re.compile(rb"-----(BEGIN|END) PGP ([A-Z0-9 ,/]+)-----[ \t]*")
_ARMOUR_HEADER = re.compile(rb"[!-9;-~]+: .*|[!-9;-~]+:[ \t]*")
_CHECKSUM = re.compile(rb"=[A-Za-z0-9+/]{4}[ \t]*")
# Packet types (RFC 9580, 5).
_SIGNATURE, _SECRET_KEY, _PUBLIC_KEY_PACKET, _USER_ID, _SUBKEY, _USER_ATTRIBUTE = 2, 5, 6, 13, 14, 17
_OF_A_KEY = {_SIGNATURE, _USER_ID, _SUBKEY, _USER_ATTRIBUTE}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A primary key with its user ids, subkeys and signatures."""

    fingerprint: str
    """Of the primary key, upper-case hex: 40 digits (version 4) or 64 (version 6); empty for other versions."""
    packets: bytes
    """As they came; a keyring is such packets in a row."""


def public_keys(data: bytes) -> tuple[PublicKey, ...]:
    """The keys of a key file, in its order: binary, or armoured in one or several blocks.

    Packets that are no part of a public key are left out. Raises ContentMalformed when there is no key, or when the
    file ends in the middle.
    """
    found: list[tuple[str, list[bytes]]] = []
    parts: list[bytes] = []
    for kind, whole, body in _packets(_dearmoured(data)):
        if kind == _PUBLIC_KEY_PACKET:
            parts = [whole]
            found.append((_fingerprint(body), parts))
        elif kind == _SECRET_KEY:
            parts = []  # it begins a key of its own, and what follows belongs to that
        elif kind in _OF_A_KEY:
            parts.append(whole)
    if not found:
        raise ContentMalformed("holds no OpenPGP public key")
    return tuple(PublicKey(fingerprint, b"".join(parts)) for fingerprint, parts in found)


def _fingerprint(body: bytes) -> str:
    """RFC 9580, 5.5.4."""
    version = body[0] if body else 0
    if version == 4 and len(body) < 1 << 16:
        return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=True).hexdigest().upper()
    if version == 6:
        return hashlib.sha256(b"\x9b" + len(body).to_bytes(4, "big") + body).hexdigest().upper()
    return ""


# -- packets --------------------------------------------------------------------------------------


def _packets(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Type, whole packet and body of each packet (RFC 9580, 4.2)."""
    at = 0
    while at < len(data):
        kind, start, size = _header(data, at)
        if start + size > len(data):
            raise _cut_off(at)
        yield kind, data[at : start + size], data[start : start + size]
        at = start + size


def _header(data: bytes, at: int) -> tuple[int, int, int]:
    """Type of the packet at `at`, where its body starts, and the body's size."""
    first = data[at]
    if not first & 0x80:
        raise ContentMalformed(f"is no OpenPGP file: no packet starts at byte {at}")
    if not first & 0x40:  # the old format: the length's size is in the first byte
        kind, octets = (first >> 2) & 0x0F, (1, 2, 4, 0)[first & 3]
        if not octets:
            raise _no_length(at)
        return kind, at + 1 + octets, _number(data, at + 1, octets, at)
    kind, head = first & 0x3F, _number(data, at + 1, 1, at)
    if head < 192:
        return kind, at + 2, head
    if head < 224:
        return kind, at + 3, ((head - 192) << 8) + _number(data, at + 2, 1, at) + 192
    if head < 255:  # parts of unknown number, which only data may come in
        raise _no_length(at)
    return kind, at + 6, _number(data, at + 2, 4, at)


def _number(data: bytes, start: int, octets: int, at: int) -> int:
    if start + octets > len(data):
        raise _cut_off(at)
    return int.from_bytes(data[start : start + octets], "big")


def _cut_off(at: int) -> ContentMalformed:
    return ContentMalformed(f"ends in the middle of the OpenPGP packet at byte {at}")


def _no_length(at: int) -> ContentMalformed:
    return ContentMalformed(f"the OpenPGP packet at byte {at} does not tell its length, as a key's must")


# -- armour ---------------------------------------------------------------------------------------


def _dearmoured(data: bytes) -> bytes:
    """The bytes of all public key blocks in a row; binary data as it is. Text around the blocks is left out."""
    if data[:1] >= b"\x80":
        return data
    lines = iter(data.splitlines())
    blocks = []
    for line in lines:
        begun = _ARMOUR_LINE.fullmatch(line)
        if begun and begun[1] == b"BEGIN":
            block = _block(lines, begun[2])
            if begun[2] == _PUBLIC_KEY:
                blocks.append(block)
    if not blocks:
        raise ContentMalformed("holds no OpenPGP public key")
    return b"".join(blocks)


def _block(lines: Iterator[bytes], kind: bytes) -> bytes:
    """The bytes of one block (RFC 9580, 6.2); `lines` go on behind its last one."""
    for line in lines:  # headers, up to an empty line
        if not line.strip():
            break
        if not _ARMOUR_HEADER.fullmatch(line):
            raise ContentMalformed("its OpenPGP armour is damaged: no empty line ends the headers")
    encoded = bytearray()
    summed = False
    for line in lines:
        ended = _ARMOUR_LINE.fullmatch(line)
        if ended:
            if ended[1] != b"END" or ended[2] != kind:
                break
            return _decoded(bytes(encoded))
        # The checksum is not asked: RFC 9580, 6.1 wants it ignored, and it vouches for nothing.
        if not summed and _CHECKSUM.fullmatch(line):
            summed = True
        elif summed and line.strip():
            raise ContentMalformed("its OpenPGP armour is damaged: there is more after the checksum")
        else:
            encoded += b"".join(line.split())
    raise ContentMalformed("its OpenPGP armour is cut off: the END line is missing")


def _decoded(encoded: bytes) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ContentMalformed(f"its OpenPGP armour is damaged: {error}") from error
