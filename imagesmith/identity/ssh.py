"""SSH host keys as files: OpenSSH's, Dropbear's, the public line, the fingerprint, lines of known_hosts.

Called by `vault` (keys drawn there are encoded here) and `workflow` (a node's files, `known-hosts`). Touches nothing.
Two kinds of keys. Ed25519 is what every client since OpenSSH 6.5 and Dropbear 2020.79 takes first; ECDSA (P-256) is
for those that know no other, a FIPS build for one. RSA is left out: no client needs it that knows SHA-2 signatures,
and drawing one key of it takes longer than all others of a rack together.

Sources: PROTOCOL.key and PROTOCOL of OpenSSH (files), RFC 4253, 5656 and 8709 (public keys), sshd(8) (known_hosts).
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from imagesmith.errors import ContentMalformed
from imagesmith.secret import Secret

PORT = 22
"""Where known_hosts names no port."""
_MAGIC = b"openssh-key-v1\0"
_BEGIN, _END = b"-----BEGIN OPENSSH PRIVATE KEY-----\n", b"-----END OPENSSH PRIVATE KEY-----\n"
_ARMOUR = re.compile(re.escape(_BEGIN.strip()) + rb"[ \t]*\r?\n(.*?)" + re.escape(_END.strip()), re.DOTALL)
_LINE = 70
"""Characters of a line of the armour, as ssh-keygen breaks them."""
_BLOCK = 8
"""What an unencrypted key is padded to."""
_CURVE = b"nistp256"
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")

PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey


class Kind(StrEnum):
    """A kind of host key, by the name that it has in file names: `ssh_host_<kind>_key`."""

    ED25519 = "ed25519"
    ECDSA = "ecdsa"

    @property
    def algorithm(self) -> str:
        """The name on the wire, and in public lines."""
        return "ssh-ed25519" if self is Kind.ED25519 else "ecdsa-sha2-nistp256"


@dataclass(frozen=True, slots=True)
class HostKey:
    """A host's private key. Equal keys and comments give equal bytes."""

    key: PrivateKey
    comment: str = ""
    """One line; who the key belongs to, `root@node-1`."""

    def __post_init__(self) -> None:
        if isinstance(self.key, ec.EllipticCurvePrivateKey) and not isinstance(self.key.curve, ec.SECP256R1):
            raise ValueError(f"an ECDSA host key is on the curve P-256, not on {self.key.curve.name}")
        if not isinstance(self.key, PrivateKey):
            raise TypeError("a host key is an Ed25519 or an ECDSA key")
        if not self.comment.isprintable():
            raise ValueError("the comment of a host key is one line")

    @property
    def kind(self) -> Kind:
        return Kind.ED25519 if isinstance(self.key, Ed25519PrivateKey) else Kind.ECDSA

    def __repr__(self) -> str:
        return f"HostKey({self.fingerprint()})"

    def public_line(self) -> bytes:
        """The `.pub` file: one line, with its end."""
        words = (self.kind.algorithm, base64.b64encode(self._public()).decode(), self.comment)
        return (" ".join(word for word in words if word) + "\n").encode()

    def fingerprint(self) -> str:
        """`SHA256:` and 43 characters of base64, as clients show it."""
        digest = hashlib.sha256(self._public()).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def openssh(self) -> Secret:
        """OpenSSH's own private key file, unencrypted: `/etc/ssh/ssh_host_<kind>_key`."""
        public, private = self._public(), self._private()
        # Two equal numbers tell, after decryption, that the passphrase was right. ssh-keygen draws them; here they
        # come from the key, so that the same key is the same file.
        check = hashlib.sha256(b"check" + private).digest()[:4]
        inner = check * 2 + private + _string(self.comment.encode())
        inner += bytes(range(1, 1 + -len(inner) % _BLOCK))
        plain = _string(b"none")
        whole = _MAGIC + plain + plain + _string(b"") + struct.pack(">I", 1) + _string(public) + _string(inner)
        text = base64.b64encode(whole)
        lines = [text[start : start + _LINE] + b"\n" for start in range(0, len(text), _LINE)]
        return Secret(_BEGIN + b"".join(lines) + _END)

    def dropbear(self) -> Secret:
        """Dropbear's private key file: `/etc/dropbear/dropbear_<kind>_host_key`. It has no place for a comment."""
        if isinstance(self.key, Ed25519PrivateKey):
            return Secret(_string(self.kind.algorithm.encode()) + _string(self._seed() + self._public()[-32:]))
        return Secret(self._public() + _number(self.key.private_numbers().private_value))

    def _public(self) -> bytes:
        """The public key as it goes over the wire."""
        name = _string(self.kind.algorithm.encode())
        public = self.key.public_key()
        if isinstance(public, ec.EllipticCurvePublicKey):
            point = public.public_bytes(form.Encoding.X962, form.PublicFormat.UncompressedPoint)
            return name + _string(_CURVE) + _string(point)
        return name + _string(public.public_bytes_raw())

    def _private(self) -> bytes:
        """What ssh-agent's protocol calls the private key blob, without the comment."""
        if isinstance(self.key, Ed25519PrivateKey):
            return self._public() + _string(self._seed() + self._public()[-32:])
        return self._public() + _number(self.key.private_numbers().private_value)

    def _seed(self) -> bytes:
        assert isinstance(self.key, Ed25519PrivateKey)
        return self.key.private_bytes_raw()


def read_openssh(content: Secret, where: str = "") -> HostKey:
    """The way back from `HostKey.openssh`, and from a node's own file, with its comment.

    `where` names the file in complaints. Raises ContentMalformed, with a hint, on a key that is encrypted, of another
    kind, cut off, or no key at all.
    """
    data = content.reveal()
    if data.lstrip().startswith(b"ssh-") or data.lstrip().startswith(b"ecdsa-"):
        raise ContentMalformed(
            "this is the public half of a host key", where=where, hint="give the file without .pub at its end"
        )
    armour = _ARMOUR.search(data)
    try:
        if armour is None:
            raise ValueError("no armour")
        key = form.load_ssh_private_key(armour[0], password=None)
    except TypeError as error:
        hint = "sshd can't read it either; take the passphrase off with: ssh-keygen -p -N '' -f FILE"
        raise ContentMalformed("the host key is locked with a passphrase", where=where, hint=hint) from error
    except (ValueError, UnsupportedAlgorithm, NotImplementedError) as error:
        hint = (
            "it begins with -----BEGIN OPENSSH PRIVATE KEY-----; an older form is converted by: ssh-keygen -p -f FILE"
        )
        raise ContentMalformed(
            "this is no private key of OpenSSH, or not a whole one", where=where, hint=hint
        ) from error
    is_p256 = isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
    if not (is_p256 or isinstance(key, Ed25519PrivateKey)):
        hint = "host keys are ed25519, or ecdsa on P-256; leave this one out"
        raise ContentMalformed("this kind of host key is not kept", where=where, hint=hint)
    assert isinstance(key, PrivateKey)
    return HostKey(key, _comment(base64.b64decode(armour[1]), where))


def known_hosts(keys: Sequence[HostKey], hosts: Sequence[str], port: int = PORT) -> bytes:
    """Lines of known_hosts, one a key, with their ends, in the given order, plain and not hashed.

    `hosts` are names and addresses; another port than 22 makes each `[host]:port`. An IPv6 address is written in its
    short form, as ssh does before it looks it up. Raises ValueError on what can't stand there: a pattern, a space.
    """
    names = ",".join(dict.fromkeys(_named(host, port) for host in hosts))
    if not names:
        raise ValueError("a line of known_hosts needs a name or an address")
    lines = (f"{names} {key.kind.algorithm} {base64.b64encode(key._public()).decode()}\n" for key in keys)
    return "".join(lines).encode()


def _named(host: str, port: int) -> str:
    if not 0 < port < 65536:
        raise ValueError(f"{port} is no port")
    try:
        host = str(ipaddress.ip_address(host))
    except ValueError:
        if not _HOST.fullmatch(host):
            raise ValueError(f"{host!r} is neither a host's name nor an address") from None
        # ssh lowers what is typed before it looks a name up.
        host = host.lower()
    return host if port == PORT else f"[{host}]:{port}"


def _comment(whole: bytes, where: str) -> str:
    """The last string of the private part of a good file, which cryptography reads but does not give."""
    rest = whole[len(_MAGIC) :]
    for _ in range(3):
        _, rest = _cut(rest)
    _, rest = _cut(rest[4:])
    inner, _ = _cut(rest)
    name, inner = _cut(inner[8:])
    for _ in range(2 if name == Kind.ED25519.algorithm.encode() else 3):
        _, inner = _cut(inner)
    comment = _cut(inner)[0].decode(errors="replace")
    if not comment.isprintable():
        raise ContentMalformed("the comment of the host key is not one line of text", where=where)
    return comment


def _cut(data: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack(">I", data[:4])
    return data[4 : 4 + length], data[4 + length :]


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _number(value: int) -> bytes:
    """An mpint (RFC 4251, 5): big-endian with a sign bit, in as few bytes as hold it."""
    return _string(value.to_bytes(value.bit_length() // 8 + 1, "big"))
