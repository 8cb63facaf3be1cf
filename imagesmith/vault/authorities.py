"""The certificate authorities of a cluster as a vault has them: drawn together, and one of them anew.

Called by `workflow.vault`. What certificates look like is `identity.authorities`'; here keys are drawn, and a key and
its bundle become what the vault keeps: the key sealed, the bundle in the index, where everybody may read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec

from imagesmith.identity import authorities, certificates, tokens
from imagesmith.identity.authorities import Authority, Ca, Upper, VaultKey
from imagesmith.secret import Secret
from imagesmith.vault import founding
from imagesmith.vault.draw import Drawn, fingerprint_of
from imagesmith.vault.names import BEGINS, CA_HASH, LEAVES, ROTATING, SERVER_CA, UPPER
from imagesmith.vault.store import Change

KIND = "ca-key"
SLACK = timedelta(days=1)
"""How long before it was drawn a certificate begins. A machine whose clock holds local time for UTC is up to 14 hours
behind, and would find the whole cluster not yet valid; and clients may begin as early as their authority."""
ROOT, INTERMEDIATE = UPPER


def begins() -> datetime:
    """When a certificate that is drawn now begins to be valid."""
    return datetime.now(UTC).replace(microsecond=0) - SLACK


def drawn(not_before: datetime) -> dict[str, Drawn]:
    """All seven of a new cluster, by their names in the vault."""
    root = authorities.root(_new_upper().drawn(not_before))
    middle = authorities.intermediate(_new_upper().drawn(not_before), root)
    made = {ROOT: upper(root.key, root.chain), INTERMEDIATE: upper(middle.key, middle.chain)}
    return made | {LEAVES[ca]: leaf(ca, middle, not_before) for ca in Ca}


def leaf(ca: Ca, above: Upper, not_before: datetime) -> Drawn:
    """One of the five, drawn anew under the intermediate; it begins with that one where that begins later."""
    not_before = max(not_before, certificates.read(above.chain)[0].not_valid_before_utc)
    return kept(authorities.leaf(ca, lone_key(not_before), above))


def kept(authority: Authority) -> Drawn:
    """One of the five as the vault has it. Raises ContentMalformed where its bundle can't be read."""
    return _as_drawn(authority.key, authority.bundle)


def upper(key: VaultKey, chain: bytes) -> Drawn:
    """The root or the intermediate as the vault has it."""
    return _as_drawn(Secret(key.to_seal()), chain)


def put_all(change: Change, made: Mapping[str, Drawn]) -> None:
    """All authorities of a cluster, together with what tokens carry of them. What was there is kept under NAME.old.

    That a cluster of others was founded counts no more, and no node waits for one of these.
    """
    founding.bind(change)
    for name, one in made.items():
        if name in change.index.secrets:
            change.keep_old(name)
        change.put(name, one)
    change.remember(facts_of(made) | {ROTATING + name: "" for name in made})


def facts_of(made: Mapping[str, Drawn]) -> dict[str, str]:
    """What the index remembers of the server's authority, so that a plan need not read certificates: what tokens carry
    of it, and since when it is valid."""
    own = made[SERVER_CA]
    bundle = own.public.encode()
    begins = max(int(one.not_valid_before_utc.timestamp()) for one in certificates.read(bundle))
    return {CA_HASH: tokens.ca_hash(bundle), BEGINS: f"{own.fingerprint} {begins}"}


def lone_key(not_before: datetime) -> certificates.Drawn[ec.EllipticCurvePrivateKey]:
    """A key for one certificate, of an authority or of somebody who logs in; what is drawn with it comes from it.

    So the same key and time give the same certificate again.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    return certificates.Drawn(key, certificates.serial_of(key, not_before), not_before)


def _new_upper() -> VaultKey:
    return VaultKey(ec.generate_private_key(ec.SECP256R1()))


def _as_drawn(key: Secret, bundle: bytes) -> Drawn:
    return Drawn(KIND, key, bundle.decode(), fingerprint_of(certificates.read(bundle)[0].public_key()))
