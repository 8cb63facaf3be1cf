"""Publishers' keys: the bundled keyring, else the publisher's key file, of which only pinned fingerprints are kept.

Called by `promise` and `follow`. Fetches the key file once and keeps the pinned keys in the cache (kind `keys`), for
use without a network. Why that is as good as a bundled file is in docs/adr/0008-keys-by-fingerprint.md.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imagesmith.errors import DigestMismatch, ImagesmithError, SignatureInvalid, SourceUnreachable
from imagesmith.events import Listener, Noted
from imagesmith.formats import openpgp
from imagesmith.model import Digest, Signature
from imagesmith.sources.cache import Cache
from imagesmith.sources.disk import failures
from imagesmith.sources.fetch import Patience, fetch_small
from imagesmith.sources.verify import Signed, check_ready, signed
from imagesmith.units import MiB

KIND = "keys"
_MOST = 1 * MiB
_HINT = "the publisher's page tells which keys sign; do not use this file until it and the profile agree"


@dataclass(frozen=True, slots=True)
class Keys:
    """Where keyrings come from, and the checks that use them."""

    bundled: Callable[[], Path]
    """The folder of the project's own keyrings."""
    cache: Cache
    patience: Patience
    listener: Listener

    def ring(self, signature: Signature, where: str, *, fresh: bool = False) -> Path:
        """A keyring for `signature`, before what it signs is fetched; `where` names that in messages.

        `fresh` asks the publisher for a key that was fetched before; offline the one at hand is good.
        Raises SignatureInvalid when there is none or no key of it is pinned, SourceUnreachable, ToolMissing.
        """
        bundled = self.bundled() / signature.keyring
        if bundled.is_file() or not signature.key_url:
            check_ready(bundled, where)
            return bundled
        try:
            ring = self._published(signature, fresh)
        except ImagesmithError as error:
            raise error.within("while getting the publisher's key") from error
        check_ready(ring, where)
        return ring

    def signer(self, data: Path, detached: bytes, signature: Signature, ring: Path, where: str) -> str:
        """The pinned fingerprint that made the detached signature over `data`. Raises what `verify.signed` raises."""
        return self.signed(data, detached, signature, ring, where).fingerprint

    def signed(self, data: Path, detached: bytes, signature: Signature, ring: Path, where: str) -> Signed:
        """Which pinned key made the detached signature over `data`, and when. Raises what `verify.signed` raises."""
        known = ring.read_bytes()
        try:
            return signed(data, detached, ring, signature.fingerprints, where=where)
        except SignatureInvalid:
            if not signature.key_url:
                raise
            # The key in the cache may be older than what it signs: prolonged since, or with a new subkey.
            with suppress(SourceUnreachable, DigestMismatch):
                ring = self.ring(signature, where, fresh=True)
            if ring.read_bytes() == known:
                raise
        return signed(data, detached, ring, signature.fingerprints, where=where)

    def _published(self, signature: Signature, fresh: bool) -> Path:
        """The pinned ones of the publisher's keys, out of the cache or fetched into it."""
        key = Digest.of(f"{signature.key_url} {' '.join(sorted(signature.fingerprints))}".encode()).hex
        with self.cache.hold(KIND, key, self.listener):
            entry = self.cache.get(KIND, key, self.listener)
            if entry and not fresh:
                return entry.path
            try:
                body = fetch_small(signature.key_url, limit=_MOST, patience=self.patience)
            except SourceUnreachable as error:
                if entry is None:
                    raise
                self.listener(Noted(f"{error}; the key fetched before is used"))
                return entry.path
            kept = pinned_keys(body, signature.fingerprints, signature.key_url)
            with self.cache.scratch(KIND, key) as folder:
                made = folder / "keyring"
                with failures(made):
                    made.write_bytes(kept)
                facts = {"url": signature.key_url, "fingerprints": sorted(signature.fingerprints)}
                self.listener(Noted(f"the publisher's key was fetched from {signature.key_url}"))
                return self.cache.publish(KIND, key, made, Digest.of(kept), facts).path


def pinned_keys(body: bytes, fingerprints: tuple[str, ...], where: str) -> bytes:
    """The keys of a key file whose fingerprints are among `fingerprints`, as a keyring; all others are left out.

    Raises SignatureInvalid, which names the fingerprints found, when none is; ContentMalformed for what is no key file.
    """
    try:
        found = openpgp.public_keys(body)
    except ImagesmithError as error:
        error.where, error.hint = where, "open the URL in a browser: a moved file, perhaps"
        raise
    kept = [key.packets for key in found if key.fingerprint in fingerprints]
    if not kept:
        names = [key.fingerprint or "a key of another version" for key in found]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        raise SignatureInvalid(
            f"no key of this file is pinned; it holds {', '.join(names[:5])}{more}, and the profile pins "
            f"{' or '.join(fingerprints)}",
            where=where,
            hint=_HINT,
        )
    return b"".join(kept)
