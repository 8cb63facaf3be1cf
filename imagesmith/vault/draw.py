"""What is drawn for a node and for a cluster, by the secret's name. The one place where chance makes a key.

Called by `workflow.vault`, through `store`. The forms of files are `identity`'s; here is only the drawing, and what of
a secret everybody may know.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes as Public

from imagesmith.errors import ContentMalformed, UsageError
from imagesmith.events import Listener, unheard
from imagesmith.formats.zerotier import Member
from imagesmith.identity import certificates, tokens, zerotier
from imagesmith.identity.authorities import SERVICE_KEY_BITS
from imagesmith.identity.ssh import HostKey, Kind, read_openssh
from imagesmith.secret import Secret
from imagesmith.vault import proofs, sealing
from imagesmith.vault.names import CA, CERTIFICATE, SERVICE_KEY, TOKENS, is_signed

_HOST_KEY = re.compile(r"nodes/([^/]+)/host-key\.(ed25519|ecdsa)")
_ADDON_PASSWORD = re.compile(r"addons/[a-z0-9-]+/[a-z0-9-]+")
_NODE_PASSWORD = re.compile(r"nodes/[^/]+/node-password")
_UPS_PASSWORD = re.compile(r"cluster/ups-(primary|secondary)-password")
_ZEROTIER = re.compile(r"nodes/[^/]+/zerotier-identity")
_BACKUP_KEY = re.compile(r"nodes/([^/]+)/backup-key")
_BACKUP_IDENTITY = re.compile(r"nodes/[^/]+/backup-identity")
_ADDON_BYTES = 16


@dataclass(frozen=True, slots=True)
class Drawn:
    kind: str
    content: Secret
    public: str = ""
    fingerprint: str = ""


def draw_all(names: Iterable[str], listener: Listener = unheard) -> dict[str, Drawn]:
    """New secrets by their names. Those that take a search are searched for together, and that alone is told.

    Raises what `draw` does.
    """
    names = tuple(names)
    searched = [name for name in names if _ZEROTIER.fullmatch(name)]
    identities = dict(zip(searched, proofs.found(len(searched), listener), strict=True))
    return {name: _identity(*identities[name]) if name in identities else draw(name) for name in names}


def draw(name: str, listener: Listener = unheard) -> Drawn:
    """A new secret of the kind that the name says; of a search `listener` hears. Raises UsageError for another name."""
    if host := _HOST_KEY.fullmatch(name):
        key = Ed25519PrivateKey.generate() if host[2] == Kind.ED25519 else ec.generate_private_key(ec.SECP256R1())
        return _host_key(HostKey(key, f"root@{host[1]}"))
    if _NODE_PASSWORD.fullmatch(name) or _UPS_PASSWORD.fullmatch(name) or name in TOKENS:
        return Drawn("password", tokens.password(secrets.token_bytes(tokens.PASSWORD_BYTES)))
    if _ZEROTIER.fullmatch(name):
        return _identity(*proofs.found(1, listener)[0])
    if _ADDON_PASSWORD.fullmatch(name):
        # Shorter: people type some of them.
        return Drawn("password", tokens.password(secrets.token_bytes(_ADDON_BYTES)))
    if name == SERVICE_KEY:
        # As k3s reads it (RSA, PKCS#1).
        return _pem("signing-key", rsa.generate_private_key(65537, SERVICE_KEY_BITS))
    if backup := _BACKUP_KEY.fullmatch(name):
        return _backup_key(HostKey(Ed25519PrivateKey.generate(), f"imagesmith-backup@{backup[1]}"))
    if _BACKUP_IDENTITY.fullmatch(name):
        return _age_identity(sealing.new_identity())
    raise UsageError(f"nobody knows how to draw {name!r}", hint="imagesmith vault import NAME FILE takes what you have")


def taken(name: str, content: Secret, where: str) -> Drawn:
    """A secret that was made elsewhere, as `draw` gives it. Raises ContentMalformed where it can't be one."""
    if host := _HOST_KEY.fullmatch(name):
        key = read_openssh(content, where)
        if key.kind != host[2]:
            raise ContentMalformed(f"it is a key of the kind {key.kind}, and {name} is {host[2]}", where=where)
        return _host_key(HostKey(key.key, f"root@{host[1]}"))
    if name.startswith(f"{CA}/"):
        raise UsageError(
            "an authority's key is nothing without its certificate, nor one of them without the others",
            hint=f"imagesmith vault import {CA} FOLDER takes all of them, as a server has them in its folder tls",
        )
    if is_signed(name):
        raise UsageError("it is signed by the vault's own client authority", hint="imagesmith build makes what is due")
    if name == SERVICE_KEY:
        return service_key(content, where)
    if _NODE_PASSWORD.fullmatch(name) or _ADDON_PASSWORD.fullmatch(name) or name in TOKENS:
        return _password(content, where)
    if _ZEROTIER.fullmatch(name):
        return _taken_identity(content, where)
    if backup := _BACKUP_KEY.fullmatch(name):
        return _backup_key(HostKey(read_openssh(content, where).key, f"imagesmith-backup@{backup[1]}"))
    if _BACKUP_IDENTITY.fullmatch(name):
        return _age_identity(sealing.identity_in(content, where))
    if _UPS_PASSWORD.fullmatch(name):
        return _ups_password(content, where)
    return Drawn("imported", content)


def service_key(content: Secret, where: str) -> Drawn:
    """The key that tokens of service accounts are signed with. Raises ContentMalformed where it is not RSA."""
    key = _loaded(content, where)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ContentMalformed(
            "k3s signs the tokens of service accounts with an RSA key, and this is none", where=where
        )
    return _pem("signing-key", key)


def belongs(kind: str, content: Secret, public: str, where: str) -> bool:
    """Whether a secret is the private half of what the index tells; true where it has no public half."""
    if kind in ("ssh-host-key", "ssh-key"):
        return _host_key(read_openssh(content, where)).public == public
    if kind == "zerotier-identity":
        return str(zerotier.read_secret(content, where)) == public
    if kind == "age-identity":
        return sealing.recipient_of(content) == public
    if kind not in ("ca-key", "signing-key", "client-key"):
        return True
    told = public
    if CERTIFICATE in public:
        told = _spki(certificates.read(public.encode(), where)[0].public_key())
    return _spki(_loaded(content, where).public_key()) == told


def fingerprint_of(public: Public) -> str:
    """`SHA256:` and base64, as ssh-keygen shows a key, of the key as certificates have it."""
    der = public.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    return "SHA256:" + base64.b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")


def _password(content: Secret, where: str) -> Drawn:
    line = Secret(content.reveal().removesuffix(b"\n"))
    tokens.check_password(line, where)
    if not re.fullmatch(rb"[!-9;-~]{16,256}", line.reveal()):
        what = "a password here is 16 to 256 printable ASCII characters on one line, with no colon or space"
        raise ContentMalformed(what, where=where)
    return Drawn("password", line)


def _ups_password(content: Secret, where: str) -> Drawn:
    drawn = _password(content, where)
    if not re.fullmatch(rb"[0-9A-Za-z._-]+", drawn.content.reveal()):
        raise ContentMalformed("NUT's files hold it without quotes: letters, digits, . _ and - alone", where=where)
    return drawn


def _host_key(key: HostKey) -> Drawn:
    return Drawn("ssh-host-key", key.openssh(), key.public_line().decode().rstrip("\n"), key.fingerprint())


def _identity(member: Member, private: bytes) -> Drawn:
    return Drawn("zerotier-identity", zerotier.secret_text(member, private), str(member))


def _taken_identity(content: Secret, where: str) -> Drawn:
    member, private = zerotier.read_secret(content, where), zerotier.private_of(content, where)
    if zerotier.tried(private) != member:
        raise ContentMalformed(
            f"its address {member.address} is not the one that its key proves", where=where,
            hint="other nodes would not talk to it; zerotier-idtool validate says the same",
        )  # fmt: skip
    return _identity(member, private)


def _backup_key(key: HostKey) -> Drawn:
    return replace(_host_key(key), kind="ssh-key")


def _age_identity(identity: Secret) -> Drawn:
    return Drawn("age-identity", identity, sealing.recipient_of(identity))


def _pem(kind: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> Drawn:
    return Drawn(kind, certificates.key_pem(key), _spki(key.public_key()), fingerprint_of(key.public_key()))


def _spki(public: Public) -> str:
    return public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo).decode()


def _loaded(content: Secret, where: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    try:
        key = form.load_pem_private_key(content.reveal(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ContentMalformed(
            "it is no private key in PEM, or one locked with a passphrase", where=where,
            hint="it begins with -----BEGIN EC PRIVATE KEY-----, or with RSA, or without either",
        ) from None  # fmt: skip
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ContentMalformed("the key is neither of an elliptic curve nor RSA", where=where)
    return key
