"""Detached OpenPGP signatures, checked by `gpgv` against a keyring of ours and a pinned primary fingerprint.

gpgv's exit code is not asked: it is 0 for expired and revoked keys too. What counts are its status lines. Called by
`keys`; reads the file and the keyring.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagesmith import tools
from imagesmith.errors import SignatureInvalid

# Status words (GnuPG's doc/DETAILS) that spoil a signature, and what to tell a person.
_SPOILED = {
    "BADSIG": "the signature does not fit the file: one of the two was altered",
    "EXPSIG": "the signature has expired",
    "EXPKEYSIG": "it was made with a key that has expired",
    "REVKEYSIG": "it was made with a key that was revoked",
}


@dataclass(frozen=True, slots=True)
class Signed:
    """Who made a good signature, and when."""

    fingerprint: str
    """Of the primary key, one of those that were pinned."""
    at: int
    """Seconds since 1970, as the signer's clock told; 0 when gpgv does not tell."""


def signed(data: Path, signature: bytes, keyring: Path, fingerprints: Iterable[str], *, where: str = "") -> Signed:
    """Which of the primary keys `fingerprints` made the detached `signature` over the file `data`, and when.

    `where` names the file in messages. Raises SignatureInvalid with the reason, ToolMissing.
    """
    where = where or str(data)
    check_ready(keyring, where)
    pinned = {fingerprint.replace(" ", "").upper() for fingerprint in fingerprints}
    with tempfile.TemporaryDirectory() as folder:
        detached = Path(folder) / "signature"
        detached.write_bytes(signature)
        # Both files are named: with one, gpgv would take a signature that carries its own text.
        argv = gpgv_argv(data, detached, keyring)
        # A home of its own, so that nothing of the user's decides.
        done = tools.run(argv, env={"GNUPGHOME": folder}, expect=None)
    return _judge(done.text.splitlines(), pinned, where, done.complaint)


def check_ready(keyring: Path, where: str) -> None:
    """Refuse at once what could not be checked later, after a download. Raises SignatureInvalid, ToolMissing."""
    if not keyring.is_file():
        raise SignatureInvalid(
            f"the key that signs it is not bundled: there is no {keyring.name}",
            where=where,
            hint=f"keyrings/README.md tells where the key is found; put it at {keyring}, "
            "or give the image's digest in the profile",
        )
    tools.find("gpgv")


def gpgv_argv(data: Path, signature: Path, keyring: Path) -> tuple[str, ...]:
    return (
        "gpgv", "--status-fd", "1", "--keyring", str(keyring.absolute()),
        "--", str(signature.absolute()), str(data.absolute()),
    )  # fmt: skip


def _judge(lines: Sequence[str], pinned: set[str], where: str, complaint: str) -> Signed:
    status = [line.split()[1:] for line in lines if line.startswith("[GNUPG:] ") and len(line.split()) > 1]
    words = {fields[0] for fields in status}
    good = [fields for fields in status if fields[0] == "GOODSIG"]
    valid = [fields for fields in status if fields[0] == "VALIDSIG"]
    hint = "do not use this file; the publisher's page tells which key signs it"
    for word, reason in _SPOILED.items():
        # Several signatures may be there; all must be good that our keyring knows.
        if word in words:
            raise SignatureInvalid(reason, where=where, hint=hint)
    if len(good) != len(valid) or not good:
        unknown = [fields[1] for fields in status if fields[0] in ("NO_PUBKEY", "ERRSIG") and len(fields) > 1]
        if unknown:
            raise SignatureInvalid(f"signed with a key that is not pinned ({unknown[0]})", where=where, hint=hint)
        raise SignatureInvalid(f"no valid signature: {complaint or 'gpgv says nothing'}", where=where, hint=hint)
    for fields in valid:
        # VALIDSIG's last field is the primary key's fingerprint, its first the signing (sub)key's.
        if fields[-1].upper() in pinned:
            return Signed(fields[-1].upper(), int(fields[3]) if len(fields) > 4 and fields[3].isdecimal() else 0)
    raise SignatureInvalid(f"signed with a key that is not pinned ({valid[0][-1]})", where=where, hint=hint)
