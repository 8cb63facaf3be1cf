"""The certificate authorities that a k3s cluster is founded with, laid out as k3s's own example script does.

    root (7300 days) -> intermediate (3700) -> server-ca, client-ca, request-header-ca, etcd/peer-ca, etcd/server-ca
                                               (3700 each; their files hold the three certificates, lowest first)

Called by `vault` (which draws and seals) and `workflow` (the founding server's files, the kubeconfig). Touches nothing.
Who may hold which key is in the types. `VaultKey` is a root's or an intermediate's: it signs, it is sealed, and it has
no way to become a `Secret`, which is what files of nodes are made of. `Authorities` is what a founding server gets and
holds neither. The root's certificate is in every bundle, and its digest is in every token (`identity.tokens`): of the
same key, serial number and time it is the same to the byte, today and with later releases, and a test pins that down.

Source: contrib/util/generate-custom-ca-certs.sh and docs/cli/certificate.md of k3s. Its root and intermediate have RSA
keys of 4096 bits; here they are on P-256 like the five below them, and drawn in a thousandth of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from imagesmith.errors import ContentMalformed
from imagesmith.identity import certificates
from imagesmith.identity.certificates import Drawn, Issuer
from imagesmith.secret import Secret

TLS_FOLDER = "/var/lib/rancher/k3s/server/tls"
"""Where the founding server has the files of `Authorities`, before k3s starts for the first time."""
ROOT_DAYS, DAYS = 7300, 3700
SERVICE_KEY = "service.key"
SERVICE_KEY_BITS = 2048
"""As k3s makes it itself; tokens of service accounts are signed with it, RS256."""


class Ca(StrEnum):
    """An authority that k3s uses, by its name in TLS_FOLDER: `<name>.crt`, `<name>.key`."""

    SERVER = "server-ca"
    CLIENT = "client-ca"
    REQUEST_HEADER = "request-header-ca"
    ETCD_PEER = "etcd/peer-ca"
    ETCD_SERVER = "etcd/server-ca"


class VaultKey:
    """The key of a root or an intermediate authority. It stays in the vault: it is no Secret and becomes no file."""

    __slots__ = ("_key",)

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    @classmethod
    def read(cls, unsealed: Secret, where: str = "") -> VaultKey:
        """Of PEM, as it comes out of the vault. Raises ContentMalformed."""
        return cls(certificates.read_key(unsealed, where))

    def drawn(self, not_before: datetime) -> Drawn[VaultKey]:
        """With the serial number that comes from key and time, see `certificates.serial_of`."""
        return Drawn(self, certificates.serial_of(self._key, not_before), not_before)

    def to_seal(self) -> bytes:
        """PEM (PKCS#8), for the vault to encrypt. Nobody else calls this; a test of the whole package sees to it."""
        return self._key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())

    def __repr__(self) -> str:
        return "VaultKey(***)"

    def __reduce__(self) -> str:
        raise TypeError("a VaultKey is not pickled")


@dataclass(frozen=True, slots=True)
class Upper:
    """A root or an intermediate authority."""

    chain: bytes
    """PEM: its certificate, and those above it, to the root."""
    key: VaultKey


@dataclass(frozen=True, slots=True)
class Authority:
    """One of the five, as its two files."""

    bundle: bytes
    """PEM, public: its own certificate, the intermediate's, the root's."""
    key: Secret
    """PEM (SEC 1), of its own certificate."""

    def issuer(self) -> Issuer:
        return Issuer(certificates.read(self.bundle)[0], certificates.read_key(self.key))


@dataclass(frozen=True, slots=True)
class Authorities:
    """What the founding server gets, and nobody below it: whoever holds this is the cluster."""

    leaves: Mapping[Ca, Authority]
    service_key: Secret
    """PEM (PKCS#1)."""

    def public(self) -> dict[str, bytes]:
        """The certificates by their names in TLS_FOLDER; 0644."""
        return {f"{ca}.crt": leaf.bundle for ca, leaf in self.leaves.items()}

    def private(self) -> dict[str, Secret]:
        """The keys by their names in TLS_FOLDER; 0600."""
        return {f"{ca}.key": leaf.key for ca, leaf in self.leaves.items()} | {SERVICE_KEY: self.service_key}


def root(drawn: Drawn[VaultKey]) -> Upper:
    """The root of a cluster. It is renewed only where every node joins anew."""
    certificate = certificates.authority(_open(drawn), _name("root", drawn), ROOT_DAYS, None)
    return Upper(certificates.pem(certificate), drawn.key)


def intermediate(drawn: Drawn[VaultKey], above: Upper) -> Upper:
    """The authority between the root and the five, so that the root's key is needed once."""
    certificate = certificates.authority(_open(drawn), _name("intermediate", drawn), DAYS, _issuer(above))
    return Upper(certificates.pem(certificate) + above.chain, drawn.key)


def found(
    leaves: Mapping[Ca, Drawn[ec.EllipticCurvePrivateKey]], service_key: rsa.RSAPrivateKey, above: Upper
) -> Authorities:
    """The five authorities under the intermediate `above`. Raises ValueError where one of the five is missing."""
    if set(leaves) != set(Ca):
        raise ValueError(f"k3s wants all of {', '.join(Ca)}")
    made = {ca: leaf(ca, leaves[ca], above) for ca in Ca}
    return Authorities(made, certificates.key_pem(service_key))


def leaf(ca: Ca, drawn: Drawn[ec.EllipticCurvePrivateKey], above: Upper) -> Authority:
    """One of the five alone, as a rotation makes it. `above` is the intermediate, which it does not outlive."""
    name = _name(ca.removesuffix("-ca").replace("/", "-"), drawn)
    certificate = certificates.authority(drawn, name, DAYS, _issuer(above))
    return Authority(certificates.pem(certificate) + above.chain, certificates.key_pem(drawn.key))


def check(found: Authorities) -> None:
    """Whether files that came from elsewhere (an import, a backup) are whole and belong together.

    Raises ContentMalformed, naming the file: k3s says only that its certificates are bad, and after a first start it
    is too late to give it others.
    """
    roots, chained = set(), False
    for ca in Ca:
        if ca not in found.leaves:
            raise ContentMalformed("this file is missing", where=f"{ca}.crt", hint="k3s wants it even without etcd")
        chain = certificates.read(found.leaves[ca].bundle, f"{ca}.crt")
        key = certificates.read_key(found.leaves[ca].key, f"{ca}.key")
        if key.public_key() != chain[0].public_key():
            hint = f"its first certificate has another public key; both files come from one run, with {ca}.key"
            raise ContentMalformed("the certificate is not that of the key", where=f"{ca}.crt", hint=hint)
        for lower, upper in zip(chain, (*chain[1:], chain[-1]), strict=True):
            try:
                lower.verify_directly_issued_by(upper)
            except (ValueError, TypeError, InvalidSignature) as error:
                hint = "the order is: own certificate, intermediate, root"
                raise ContentMalformed(
                    "its certificates don't sign each other in their order", where=f"{ca}.crt", hint=hint
                ) from error
        roots.add(chain[-1])
        chained |= len(chain) > 1
    # Those that k3s makes itself have no root above them: each signs itself, and is alone in its file.
    if chained and len(roots) > 1:
        raise ContentMalformed("the authorities have different roots", hint="take all files from one run")
    _check_service_key(found.service_key)


def _check_service_key(content: Secret) -> None:
    try:
        key = form.load_pem_private_key(content.reveal(), password=None)
    except (ValueError, TypeError) as error:
        raise ContentMalformed("this is no private key that can be read", where=SERVICE_KEY) from error
    if not isinstance(key, rsa.RSAPrivateKey) or b"BEGIN RSA PRIVATE KEY" not in content.reveal():
        hint = f"openssl rsa -traditional -in {SERVICE_KEY} writes it in the form that k3s has"
        raise ContentMalformed("this is no RSA key in its traditional form", where=SERVICE_KEY, hint=hint)


def _open(drawn: Drawn[VaultKey]) -> Drawn[ec.EllipticCurvePrivateKey]:
    return Drawn(drawn.key._key, drawn.serial, drawn.not_before)


def _issuer(above: Upper) -> Issuer:
    return Issuer(certificates.read(above.chain)[0], above.key._key)


def _name(kind: str, drawn: Drawn[VaultKey] | Drawn[ec.EllipticCurvePrivateKey]) -> str:
    """With the second that it begins at, as k3s has it, so that an authority and its successor have two names."""
    return f"k3s-{kind}-ca@{int(drawn.not_before.timestamp())}"
