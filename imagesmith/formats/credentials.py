"""Hashes of passwords, keys of Wi-Fi networks, quoted secrets: told from what only looks like them, put into texts.

Called by `workflow.secrets` (before anything is fetched) and by `image.draft`. Pure. No complaint shows a secret.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from imagesmith.secret import PasswordHash, Quoted, Secret, SecretRef, SecretText, WpaKey

OpenSecret = Callable[[SecretRef], Secret]

_B64 = "[./0-9A-Za-z]"
_HASHES = tuple(
    re.compile(pattern.encode())
    for pattern in (
        rf"\$6\$(rounds=[0-9]{{4,9}}\$)?{_B64}{{1,16}}\${_B64}{{86}}",
        rf"\$5\$(rounds=[0-9]{{4,9}}\$)?{_B64}{{1,16}}\${_B64}{{43}}",
        rf"\$g?y\${_B64}+\${_B64}{{1,86}}\${_B64}{{43}}",
        rf"\$7\${_B64}{{11,97}}\${_B64}{{43}}",
        rf"\$2[aby]\$[0-9]{{2}}\${_B64}{{53}}",
    )
)
"""SHA-512, SHA-256, yescrypt, scrypt and bcrypt, see crypt(5)."""
_MD5 = b"$1$"
_HEX_KEY = re.compile(rb"[0-9A-Fa-f]{64}")
_ROUNDS = 4096
_KEY_BYTES = 32


def password_hash(value: bytes) -> bytes:
    """The hash, as it came. Raises ValueError on anything else, a plain password first of all."""
    if any(pattern.fullmatch(value) for pattern in _HASHES):
        return value
    if value.startswith(_MD5):
        raise ValueError("it holds an MD5 hash, which is guessed in hours")
    if value.startswith((b"!", b"*")):
        raise ValueError("it holds a locked password, which opens nothing")
    if re.match(rb"[a-z_][a-z0-9_-]*:", value):
        raise ValueError(
            "it holds more than a hash, as a line of /etc/shadow does; only its second field belongs there"
        )
    if value.startswith(b"$"):
        raise ValueError("it holds a hash of an unknown kind, or one that is cut off")
    raise ValueError("it holds no password hash; a plain password never goes into an image")


def wpa_key(value: bytes, ssid: str) -> bytes:
    """The key of the network `ssid`, 64 hex digits: of a passphrase, or the very key where `value` is one already.

    PBKDF2-HMAC-SHA1 with the network's name as salt, as IEEE 802.11i has it (H.4 of the standard, with test vectors).
    Raises ValueError on what is neither.
    """
    if _HEX_KEY.fullmatch(value):
        return value.lower()
    if any(not 32 <= byte <= 126 for byte in value):
        raise ValueError("it holds more than printable ASCII characters, which a Wi-Fi passphrase can't have")
    if len(value) < 8:
        raise ValueError("it holds fewer than the 8 characters that a Wi-Fi passphrase has at least")
    if len(value) > 63:
        raise ValueError("it holds more than a Wi-Fi passphrase of 63 characters, and no key of 64 hex digits")
    return hashlib.pbkdf2_hmac("sha1", value, ssid.encode(), _ROUNDS, _KEY_BYTES).hex().encode()


def quoted(value: bytes) -> bytes:
    """The text as it stands between double quotes in YAML (5.7 of its specification, 1.2.2), in ASCII.

    Raises ValueError on what is no text.
    """
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise ValueError("it holds no text in UTF-8") from None
    return "".join(_escaped(letter) for letter in text).encode()


def _escaped(letter: str) -> str:
    code = ord(letter)
    if letter in '"\\':
        return f"\\{letter}"
    if 32 <= code <= 126:
        return letter
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def revealed(content: SecretRef | SecretText, open_secret: OpenSecret) -> Secret:
    """The content as it is to be written. Raises ValueError where a secret is not what it must be."""
    parts = content.parts if isinstance(content, SecretText) else (content,)
    return Secret(b"".join(_part(part, open_secret) for part in parts))


def named_in(content: SecretText) -> tuple[SecretRef, ...]:
    """The secrets that a text is made of."""
    return tuple(named_by(part) for part in content.parts if not isinstance(part, bytes))


def _part(part: bytes | SecretRef | PasswordHash | WpaKey | Quoted, open_secret: OpenSecret) -> bytes:
    match part:
        case bytes():
            return part
        case SecretRef():
            return open_secret(part).reveal()
        case PasswordHash():
            return password_hash(open_secret(part.ref).reveal())
        case WpaKey():
            return wpa_key(open_secret(part.passphrase).reveal(), part.ssid)
        case Quoted():
            return quoted(open_secret(part.ref).reveal())


def named_by(part: SecretRef | PasswordHash | WpaKey | Quoted) -> SecretRef:
    """The secret that a piece of a text is made of."""
    match part:
        case SecretRef():
            return part
        case PasswordHash() | Quoted():
            return part.ref
        case WpaKey():
            return part.passphrase
