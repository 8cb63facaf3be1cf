"""Join tokens of k3s: the hash of a cluster's authorities, `K10<hash>::<user>:<password>`, and its passwords.

Called by `vault` and `workflow`. Touches nothing; passwords are drawn by the caller.
Source: pkg/clientaccess/token.go, pkg/daemons/control/deps/deps.go and pkg/agent/config/config.go of k3s.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from imagesmith.errors import ContentMalformed
from imagesmith.identity import certificates
from imagesmith.secret import Secret

SERVER, AGENT = "server", "node"
"""The users that k3s knows: who may join as a server, who as an agent."""
NODE_PASSWORD_FILE = "/etc/rancher/node/password"
PASSWORD_BYTES = 32
"""Drawn for each password here; k3s draws 16. The server token is the key of the bootstrap data too."""
_LEAST_BYTES = 16
_PREFIX = "K10"
_HASH = re.compile(r"[0-9a-f]{64}")
_BOOTSTRAP = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_PASSWORD = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Token:
    """A join token, taken apart."""

    password: Secret
    user: str = ""
    """`server`, `node`, or none in the short form, which is a password alone."""
    ca_hash: str = ""
    """64 hex digits; without it an agent trusts whatever server answers."""

    def text(self) -> Secret:
        """The full form, `K10<hash>::<user>:<password>`."""
        return Secret(f"{_PREFIX}{self.ca_hash}::{self.user}:".encode() + self.password.reveal())


@dataclass(frozen=True, slots=True)
class BootstrapToken:
    """A token of kubeadm's kind, made by a running cluster (`k3s token create`) and good for a while."""

    identifier: str
    secret: Secret
    ca_hash: str = ""


def ca_hash(bundle: bytes) -> str:
    """The hash that a token carries of the file `server-ca.crt`: 64 hex digits.

    Of a file with one certificate it is that of the file, byte by byte, so a line end more is another hash. Of a file
    with several it is that of the root's DER that the first one chains to; where it chains to none, again that of the
    file. Dates are not looked at: k3s does look, at the time when a node joins, and where a certificate is not valid
    then it refuses the connection before it compares hashes. Raises ContentMalformed where there is no certificate.
    """
    first, *rest = certificates.read(bundle, "server-ca.crt")
    roots = [certificate for certificate in rest if _is_root(certificate)]
    others = [certificate for certificate in rest if not _is_root(certificate)]
    for chain in _chains((first,), roots, others):
        if all(_may_serve(certificate) for certificate in chain):
            return hashlib.sha256(certificates.der(chain[-1])).hexdigest()
    return hashlib.sha256(bundle).hexdigest()


def server_token(server_ca: bytes, password: Secret) -> Secret:
    """What a joining server gets. `server_ca` is the file `server-ca.crt`."""
    return Token(password, SERVER, ca_hash(server_ca)).text()


def agent_token(server_ca: bytes, password: Secret) -> Secret:
    """What an agent gets, and what servers have as `agent-token`: never the server's, which lets in servers too."""
    return Token(password, AGENT, ca_hash(server_ca)).text()


def password(drawn: bytes) -> Secret:
    """A password of random bytes, in hex, as k3s writes those that it draws itself. Fewer than 16 are a ValueError."""
    if len(drawn) < _LEAST_BYTES:
        raise ValueError(f"a password is made of {_LEAST_BYTES} random bytes or more")
    return Secret(drawn.hex().encode())


def node_password_file(value: Secret) -> Secret:
    """The content of NODE_PASSWORD_FILE (0600): the password and a line end, which k3s cuts off again."""
    return Secret(value.reveal() + b"\n")


def check_password(value: Secret, where: str = "") -> None:
    """Whether a password that came from elsewhere can stand in a token. Raises ContentMalformed, without showing it."""
    text = value.reveal().decode("ascii", errors="replace")
    problem = ""
    if not _PASSWORD.fullmatch(text):
        problem = "a password in a token is printable ASCII without spaces"
    elif text.startswith(_PREFIX):
        problem = "this is a whole token, not a password alone"
    elif _BOOTSTRAP.fullmatch(text):
        problem = "k3s would take this password for a bootstrap token"
    if problem:
        hint = "of K10<hash>::<user>:<password> it is what stands after the user"
        raise ContentMalformed(problem, where=where, hint=hint)


def parse(content: Secret, where: str = "") -> Token | BootstrapToken:
    """A token taken apart: full, short (a password alone), or kubeadm's. One line end at its end is passed over.

    `where` names its source in complaints. Raises ContentMalformed, and never shows the token. Stricter than k3s in
    two things that no token of k3s has: the hash is hex, and the password printable without spaces.
    """
    text = content.reveal().decode("ascii", errors="replace").removesuffix("\n").removesuffix("\r")
    if not text:
        raise ContentMalformed("the token is empty", where=where)
    if not _PASSWORD.fullmatch(text):
        hint = "it is one line without spaces; was it cut off, or copied with a line break?"
        raise ContentMalformed("this is no token", where=where, hint=hint)
    ca, rest = "", f":{text}"
    if text.startswith(_PREFIX):
        ca, separator, rest = text.removeprefix(_PREFIX).partition("::")
        if not separator:
            ca, rest = "", ca
    elif _BOOTSTRAP.fullmatch(text):
        rest = text
    if ca and not _HASH.fullmatch(ca):
        hint = "64 hex digits stand between K10 and ::; copy the whole line of the server's file `token`"
        raise ContentMalformed("the hash in the token is cut off or altered", where=where, hint=hint)
    if bootstrap := _BOOTSTRAP.fullmatch(rest):
        return BootstrapToken(bootstrap[1], Secret(bootstrap[2].encode()), ca)
    user, separator, value = rest.partition(":")
    if not separator or not value:
        hint = "after the hash it reads ::<user>:<password>"
        raise ContentMalformed("the token has no password", where=where, hint=hint)
    return Token(Secret(value.encode()), user, ca)


def _is_root(certificate: x509.Certificate) -> bool:
    aki = _aki(certificate)
    return not aki or aki == _ski(certificate)


def _chains(
    chain: tuple[x509.Certificate, ...], roots: Sequence[x509.Certificate], others: Sequence[x509.Certificate]
) -> Iterator[tuple[x509.Certificate, ...]]:
    """Every chain to a root, in the order in which Go's `x509.Certificate.Verify` finds them."""
    last = chain[-1]
    if len(chain) == 1 and last in roots:
        yield chain
        return
    for upper in _parents(last, roots, chain):
        yield (*chain, upper)
    for upper in _parents(last, others, chain):
        yield from _chains((*chain, upper), roots, others)


def _parents(
    lower: x509.Certificate, among: Sequence[x509.Certificate], chain: Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    """Who signed it, those with the fitting key identifier first."""
    fit = [upper for upper in among if not _is_in(chain, upper) and _signed_by(lower, upper, len(chain) - 1)]
    return sorted(fit, key=lambda upper: _identifiers_differ(lower, upper))


def _is_in(chain: Sequence[x509.Certificate], upper: x509.Certificate) -> bool:
    """Whether one of this name and key is in the chain: a renewed certificate is nobody new."""
    return any(one.subject == upper.subject and one.public_key() == upper.public_key() for one in chain)


def _signed_by(lower: x509.Certificate, upper: x509.Certificate, between: int) -> bool:
    """Whether `upper` may sign and did. `between` counts the authorities below it, for its limit."""
    constraints = certificates.extension(upper, x509.BasicConstraints)
    usage = certificates.extension(upper, x509.KeyUsage)
    # The first version of X.509 has no extensions; such an old root may sign.
    if not (constraints.ca if constraints else upper.version is x509.Version.v1):
        return False
    if usage and not usage.key_cert_sign:
        return False
    if constraints and constraints.path_length is not None and between > constraints.path_length:
        return False
    if isinstance(lower.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
        return False
    try:
        lower.verify_directly_issued_by(upper)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _identifiers_differ(lower: x509.Certificate, upper: x509.Certificate) -> int:
    wanted, has = _aki(lower), _ski(upper)
    if wanted == has:
        return 0
    return 2 if wanted and has else 1


def _may_serve(certificate: x509.Certificate) -> bool:
    """Verify asks for chains that may serve TLS; an authority that names no usage may do everything."""
    usages = certificates.extension(certificate, x509.ExtendedKeyUsage)
    return usages is None or any(
        usage in usages for usage in (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    )


def _aki(certificate: x509.Certificate) -> bytes:
    found = certificates.extension(certificate, x509.AuthorityKeyIdentifier)
    return (found.key_identifier or b"") if found else b""


def _ski(certificate: x509.Certificate) -> bytes:
    found = certificates.extension(certificate, x509.SubjectKeyIdentifier)
    return found.digest if found else b""
