"""A node's certificate to drain itself by, with its key: signed by the cluster's client authority, renewed by builds.

Called by `workflow.vault` and `workflow.rotate`. It is drawn together with the authorities where these are; else the
vault is opened for the client authority's key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from imagesmith.identity import certificates
from imagesmith.identity.authorities import Authority
from imagesmith.identity.kubeconfig import drain
from imagesmith.secret import Secret
from imagesmith.vault import authorities
from imagesmith.vault.draw import Drawn, fingerprint_of
from imagesmith.vault.index import Entry
from imagesmith.vault.names import CERTIFICATE, CLIENT_CA, is_signed

KIND = "client-key"
LIFETIME = timedelta(days=3 * 365)
"""A node is not built anew every year, and nobody but a build gives it another one; it can't be revoked either, so what
it may do is little. Never longer than its authority."""
RENEWED = timedelta(days=365)
"""A build makes another where the one that is kept ends within this."""


def due(kept: Mapping[str, Entry], names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names that are to be signed: not there, soon at their end, or of authorities of before."""
    bundle = kept[CLIENT_CA].public if CLIENT_CA in kept else ""
    if CERTIFICATE not in bundle:
        return ()
    wanted = [name for name in names if is_signed(name)]
    root = certificates.read(bundle.encode())[-1] if wanted else None
    found = []
    for name in wanted:
        chain = certificates.read(kept[name].public.encode(), name) if name in kept else ()
        if not chain or chain[-1] != root or chain[0].not_valid_after_utc - datetime.now(UTC) < RENEWED:
            found.append(name)
    return tuple(found)


def client_authority(bundle: str, key: Secret) -> Authority:
    """Who signs, of what a vault has of it."""
    return Authority(bundle.encode(), key)


def signed(name: str, client: Authority) -> Drawn:
    """The secret of that name, as the vault keeps it: the key sealed, the certificate for everybody to see."""
    own = certificates.read(client.bundle)[0]
    # As early as its authority, and for the same reason: a node's clock may be behind.
    begin = max(authorities.begins(), own.not_valid_before_utc)
    until = min(datetime.now(UTC).replace(microsecond=0) + LIFETIME, own.not_valid_after_utc)
    drawn = authorities.lone_key(begin)
    files = drain(client, drawn, name.split("/")[1], until - begin)
    return Drawn(KIND, files.key, files.certificate.decode(), fingerprint_of(drawn.key.public_key()))
