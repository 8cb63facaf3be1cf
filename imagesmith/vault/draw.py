"""What is drawn for a node and for a cluster, by the secret's name. The one place where chance makes a key.

Called by `workflow.vault`, through `store`. The forms of files are `identity`'s; here is only the drawing, and what of
a secret everybody may know.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from imagesmith.errors import ContentMalformed, UsageError
from imagesmith.identity.ssh import HostKey, Kind, read_openssh
from imagesmith.secret import Secret

AUTHORITIES = ("root", "intermediate", "server", "client", "request-header", "etcd-peer", "etcd-server")
"""The keys of a k3s cluster's certificate authorities: the first two sign the other five and never leave the vault."""
TOKENS = ("server-token", "agent-token")
_HOST_KEY = re.compile(r"nodes/([^/]+)/host-key\.(ed25519|ecdsa)")
_NODE_PASSWORD = re.compile(r"nodes/[^/]+/node-password")
_PASSWORD_BYTES = 32
_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class Drawn:
    kind: str
    content: Secret
    public: str = ""
    fingerprint: str = ""


def host_key_name(node: str, kind: Kind) -> str:
    return f"nodes/{node}/host-key.{kind}"


def of_node(node: str) -> tuple[str, ...]:
    """The names of all that one node has in a vault."""
    return (*(host_key_name(node, kind) for kind in Kind), f"nodes/{node}/node-password")


def of_cluster() -> tuple[str, ...]:
    """The names of all that a k3s cluster has in a vault, beside its nodes' own."""
    return (
        *(f"cluster/{token}" for token in TOKENS),
        *(f"cluster/ca/{authority}" for authority in AUTHORITIES),
        "cluster/service-account-key",
    )


def draw(name: str) -> Drawn:
    """A new secret of the kind that the name says. Raises UsageError for a name that says none."""
    if host := _HOST_KEY.fullmatch(name):
        key = Ed25519PrivateKey.generate() if host[2] == Kind.ED25519 else ec.generate_private_key(ec.SECP256R1())
        return _host_key(HostKey(key, f"root@{host[1]}"))
    if _NODE_PASSWORD.fullmatch(name) or name in [f"cluster/{token}" for token in TOKENS]:
        return Drawn("password", Secret(secrets.token_hex(_PASSWORD_BYTES).encode()))
    if name in [f"cluster/ca/{authority}" for authority in AUTHORITIES]:
        return _pem("ca-key", ec.generate_private_key(ec.SECP256R1()))
    if name == "cluster/service-account-key":
        # As k3s reads it (RSA, PKCS#1).
        return _pem("signing-key", rsa.generate_private_key(65537, _RSA_BITS))
    raise UsageError(f"nobody knows how to draw {name!r}", hint="imagesmith vault import NAME FILE takes what you have")


def taken(name: str, content: Secret, where: str) -> Drawn:
    """A secret that was made elsewhere, as `draw` gives it. Raises ContentMalformed where it can't be one."""
    if host := _HOST_KEY.fullmatch(name):
        key = read_openssh(content, where)
        if key.kind != host[2]:
            raise ContentMalformed(f"it is a key of the kind {key.kind}, and {name} is {host[2]}", where=where)
        return _host_key(HostKey(key.key, f"root@{host[1]}"))
    if name.startswith("cluster/ca/") or name == "cluster/service-account-key":
        return _pem("ca-key" if name.startswith("cluster/ca/") else "signing-key", _loaded(content, where))
    if _NODE_PASSWORD.fullmatch(name) or name in [f"cluster/{token}" for token in TOKENS]:
        line = content.reveal().removesuffix(b"\n")
        if not re.fullmatch(rb"[!-9;-~]{16,256}", line):
            what = "a password here is 16 to 256 printable ASCII characters on one line, with no colon or space"
            raise ContentMalformed(what, where=where)
        return Drawn("password", Secret(line))
    return Drawn("imported", content)


def public_of(kind: str, content: Secret, where: str) -> str:
    """The public part that belongs to a secret, as the index has it; empty where it has none."""
    if kind == "ssh-host-key":
        return _host_key(read_openssh(content, where)).public
    if kind in ("ca-key", "signing-key"):
        return _pem(kind, _loaded(content, where)).public
    return ""


def _host_key(key: HostKey) -> Drawn:
    return Drawn("ssh-host-key", key.openssh(), key.public_line().decode().rstrip("\n"), key.fingerprint())


def _pem(kind: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> Drawn:
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, form.NoEncryption())
    public = key.public_key()
    text = public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo).decode()
    der = public.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    shown = base64.b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")
    return Drawn(kind, Secret(private), text, f"SHA256:{shown}")


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
