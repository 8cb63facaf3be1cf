"""X.509 certificates, one at a time: of an authority, and of a client; PEM in and out.

Called by `identity.authorities` and `identity.kubeconfig`; `identity.tokens` reads bundles with it. Touches nothing:
keys, serial numbers and times are given, and ECDSA signatures are the deterministic ones of RFC 6979, so the same
inputs are the same bytes. Profiles of certificates: RFC 5280.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from imagesmith.errors import ContentMalformed, UsageError
from imagesmith.secret import Secret

Key = TypeVar("Key")
Extension = TypeVar("Extension", bound=x509.ExtensionType)
_BLOCK = re.compile(
    rb"^-----BEGIN CERTIFICATE-----[ \t]*\r?\n(.*?)^-----END CERTIFICATE-----", re.DOTALL | re.MULTILINE
)
_SERIAL_BITS = 159
"""20 bytes with the sign (RFC 5280, 4.1.2.2)."""
_NAME_LENGTH = 64
"""What fits into a CN or an O (RFC 5280, appendix A)."""


@dataclass(frozen=True, slots=True)
class Drawn(Generic[Key]):
    """What is drawn for one certificate, by the vault."""

    key: Key
    serial: int
    """No two of an authority are the same. Drawn, 64 bits or more, or that of `serial_of`."""
    not_before: datetime
    """Whole seconds, with a time zone. A clock behind it finds the certificate not yet valid."""

    def __post_init__(self) -> None:
        if not 0 < self.serial < 1 << _SERIAL_BITS:
            raise ValueError("a serial number is above 0 and has 20 bytes at most")
        if self.not_before.tzinfo is None or self.not_before.microsecond:
            raise ValueError("a certificate begins at a whole second, in a known time zone")


def serial_of(key: ec.EllipticCurvePrivateKey, not_before: datetime) -> int:
    """A serial number that comes from the key and the time, for who keeps these two and no number.

    127 bits of a digest: two are the same where key and time are, and then the certificate is too.
    """
    public = key.public_key().public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.sha256(public + int(not_before.timestamp()).to_bytes(8, "big")).digest()
    return int.from_bytes(digest[:16], "big") >> 1 or 1


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs: an authority's certificate and the key that belongs to it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def authority(
    drawn: Drawn[ec.EllipticCurvePrivateKey], name: str, days: int, issuer: Issuer | None
) -> x509.Certificate:
    """The certificate of an authority; self-signed without an issuer. `name` is its CN.

    It ends after `days`, or with its issuer where that ends before: one that is renewed under an old issuer.
    """
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (_usage(signs_certificates=True), True),
    ]
    lifetime = timedelta(days=days)
    if issuer is not None:
        lifetime = min(lifetime, issuer.certificate.not_valid_after_utc - drawn.not_before)
    return _signed(drawn, own, lifetime, issuer, extensions)


def client(
    drawn: Drawn[ec.EllipticCurvePrivateKey], name: str, groups: Sequence[str], lifetime: timedelta, issuer: Issuer
) -> x509.Certificate:
    """A certificate for logging in: `name` is the CN, which Kubernetes takes for the user, `groups` are the O's.

    Raises UsageError where it would outlive its issuer, and where a name has more than 64 characters.
    """
    named = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, _fitting(group)) for group in groups]
    own = x509.Name([*named, x509.NameAttribute(NameOID.COMMON_NAME, _fitting(name))])
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(signs_certificates=False), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
    ]
    return _signed(drawn, own, lifetime, issuer, extensions)


def pem(*certificates: x509.Certificate) -> bytes:
    """Certificates one after the other, as `openssl x509` writes each and `cat` joins them."""
    return b"".join(certificate.public_bytes(form.Encoding.PEM) for certificate in certificates)


def key_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> Secret:
    """The traditional, unencrypted form: SEC 1 (`EC PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`)."""
    return Secret(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, form.NoEncryption()))


def read_key(content: Secret, where: str = "") -> ec.EllipticCurvePrivateKey:
    """An elliptic key from PEM, traditional or PKCS#8. Raises ContentMalformed, and never shows what it read."""
    try:
        key = form.load_pem_private_key(content.reveal(), password=None)
    except (ValueError, TypeError) as error:
        hint = "it is PEM, unencrypted; openssl ec -in FILE takes a passphrase off"
        raise ContentMalformed("this is no private key that can be read", where=where, hint=hint) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        hint = "authorities have elliptic keys here; make a new set with the vault"
        raise ContentMalformed("this key is on no elliptic curve", where=where, hint=hint)
    return key


def read(bundle: bytes, where: str = "") -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM file, in its order; what stands between them is passed over, as Go's reader does.

    `where` names the file in complaints. Raises ContentMalformed where there is none, or one can't be read.
    """
    found = []
    for number, block in enumerate(_BLOCK.finditer(bundle), start=1):
        if b":" in block[1]:
            continue  # headers: Go's x509 takes such a block for none of its own
        try:
            found.append(x509.load_der_x509_certificate(base64.b64decode(b"".join(block[1].split()), validate=True)))
        except (binascii.Error, ValueError) as error:
            raise ContentMalformed(f"certificate {number} can't be read", where=where) from error
    if not found:
        hint = "it begins with -----BEGIN CERTIFICATE-----"
        raise ContentMalformed("this file holds no certificate", where=where, hint=hint)
    return tuple(found)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(form.Encoding.DER)


def extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    """The certificate's extension of this kind, if it has one."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _signed(
    drawn: Drawn[ec.EllipticCurvePrivateKey],
    own: x509.Name,
    lifetime: timedelta,
    issuer: Issuer | None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    begin = drawn.not_before.astimezone(UTC)
    end = begin + lifetime
    public = drawn.key.public_key()
    ski = x509.SubjectKeyIdentifier.from_public_key(public)
    if issuer is None:
        signer, above, aki = drawn.key, own, x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski)
    else:
        _check_within(end, begin, issuer.certificate)
        signer, above = issuer.key, issuer.certificate.subject
        theirs = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        aki = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(theirs)
    builder = x509.CertificateBuilder(above, own, public, drawn.serial, begin, end)
    builder = builder.add_extension(ski, critical=False).add_extension(aki, critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer, hashes.SHA256(), ecdsa_deterministic=True)


def _check_within(end: datetime, begin: datetime, issuer: x509.Certificate) -> None:
    first, last = issuer.not_valid_before_utc, issuer.not_valid_after_utc
    if end <= begin:
        raise UsageError("a certificate must last a while", hint="give a lifetime above zero")
    if begin < first or end > last:
        raise UsageError(
            f"the certificate would be valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}, "
            f"its authority is from {first:%Y-%m-%d} to {last:%Y-%m-%d}",
            hint="choose a shorter lifetime, or check this machine's clock",
        )


def _fitting(name: str) -> str:
    if not 0 < len(name) <= _NAME_LENGTH:
        raise UsageError(
            f"the name {name!r} can't stand in a certificate", hint=f"names have 1 to {_NAME_LENGTH} characters there"
        )
    return name


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """What k3s's script and its own issuing set. Encipherment means nothing for elliptic keys, and hurts nothing."""
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=True,
        key_cert_sign=signs_certificates,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
