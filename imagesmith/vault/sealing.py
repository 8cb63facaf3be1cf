"""age, through pyrage: bytes sealed for a key and opened by it, and keys sealed by a passphrase.

Called by `store` and `backup`. A vault has one key (an X25519 identity): sealing needs only its public half, so that
secrets are drawn without a passphrase, and a passphrase is stretched once a command, however many secrets are opened.
"""

from __future__ import annotations

import re

import pyrage
from pyrage import passphrase as by_passphrase
from pyrage import x25519

from imagesmith.errors import ContentMalformed, UsageError, VaultLocked
from imagesmith.secret import Secret

SHORTEST = 8
"""Characters of a passphrase at least; what stretches it makes a guess cost a second, not a miracle."""
_LEAST_WORK = 15
"""log2 of scrypt's N. The library aims at a second's work, so that a machine under load would come out below."""
_TRIES = 5
_WORK = re.compile(rb"\n-> scrypt [^ \n]+ (\d+)\n")
_IDENTITY = re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]{58}")
_RESTORE = "restore the vault from a backup, see docs/vault.md"


def new_identity() -> Secret:
    """A key, as age-keygen writes it: AGE-SECRET-KEY-1..."""
    return Secret(str(x25519.Identity.generate()).encode())


def recipient_of(identity: Secret) -> str:
    """The public half: age1..."""
    return str(_identity(identity).to_public())


def identity_in(content: Secret, where: str) -> Secret:
    """The one key in a file as age-keygen writes it, comments left out. Raises VaultLocked."""
    lines = [line.strip() for line in content.reveal().decode("utf-8", "replace").splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if len(keys) != 1 or not _IDENTITY.fullmatch(keys[0]):
        raise VaultLocked(
            "there is not one key of age in it", where=where,
            hint="a vault's key is one line that begins with AGE-SECRET-KEY-1; age-keygen makes such files",
        )  # fmt: skip
    found = Secret(keys[0].encode())
    try:
        _identity(found)
    except pyrage.IdentityError:
        raise VaultLocked(
            "the key of age in it is cut off or mistyped", where=where, hint="take a copy of it"
        ) from None
    return found


def seal(content: Secret, recipient: str) -> bytes:
    """Sealed for the key whose public half is `recipient`. Raises ContentMalformed where that is none."""
    try:
        public = x25519.Recipient.from_str(recipient)
    except pyrage.RecipientError:
        raise ContentMalformed("the vault's index names no public key of age", hint=_RESTORE) from None
    return bytes(pyrage.encrypt(content.reveal(), [public]))


def unseal(data: bytes, identity: Secret, where: str) -> Secret:
    """The way back from `seal`. Raises VaultLocked for another key, ContentMalformed for damage."""
    try:
        return Secret(pyrage.decrypt(data, [_identity(identity)]))
    except pyrage.DecryptError as error:
        if "No matching keys" in str(error):
            raise VaultLocked("it is sealed for another key", where=where, hint="give the vault's own key") from None
        raise ContentMalformed(f"the sealed file is damaged or cut off ({error})", where=where, hint=_RESTORE) from None


def seal_by_passphrase(content: Secret, passphrase: Secret) -> bytes:
    """Sealed by a passphrase, stretched by scrypt. Raises UsageError for one that is too short or no text."""
    text = _text(passphrase)
    if len(text) < SHORTEST:
        raise UsageError(
            f"a passphrase has at least {SHORTEST} characters", hint="several words that nobody would guess"
        )
    sealed = bytes(by_passphrase.encrypt(content.reveal(), text))
    for _ in range(_TRIES):
        if work_of(sealed) >= _LEAST_WORK:
            break
        sealed = max(sealed, bytes(by_passphrase.encrypt(content.reveal(), text)), key=work_of)
    return sealed


def unseal_by_passphrase(data: bytes, passphrase: Secret, where: str) -> Secret:
    """The way back from `seal_by_passphrase`. Raises VaultLocked for a wrong passphrase, ContentMalformed."""
    if not data.startswith(b"age-encryption.org/v1\n") or work_of(data) == 0:
        raise ContentMalformed("it is not sealed by a passphrase of age", where=where, hint=_RESTORE)
    try:
        return Secret(by_passphrase.decrypt(data, _text(passphrase)))
    except pyrage.DecryptError as error:
        if "Decryption failed" in str(error):
            raise VaultLocked("the passphrase is wrong", where=where, hint="run the command again") from None
        raise ContentMalformed(f"the sealed key is damaged or cut off ({error})", where=where, hint=_RESTORE) from None


def work_of(sealed: bytes) -> int:
    """log2 of scrypt's N in a file sealed by a passphrase; 0 where it is none."""
    found = _WORK.search(sealed[:512])
    return int(found[1]) if found else 0


def _identity(identity: Secret) -> x25519.Identity:
    return x25519.Identity.from_str(identity.reveal().decode("ascii", "replace"))


def _text(passphrase: Secret) -> str:
    try:
        return passphrase.reveal().decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError("the passphrase is not text in UTF-8") from None
